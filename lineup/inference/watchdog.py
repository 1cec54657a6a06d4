"""Runs forward passes under a deadline: one that does not come back keeps its thread, and nobody else."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lineup.errors import ForwardTimeout

T = TypeVar("T")


class Watchdog:
    """Runs calls one after the other on a thread of its own; whoever calls `run` waits for his turn first.

    Args:
        timeout_s: how long a call may take.
        hangs: told the name of a call that takes longer, and what its visitor is told.
        returned: told the name once that call has come back after all.
    """

    def __init__(
        self, timeout_s: float, hangs: Callable[[str, ForwardTimeout], None], returned: Callable[[str], None]
    ) -> None:
        self._timeout_s, self._hangs, self._returned = timeout_s, hangs, returned
        self._thread = _one_thread()
        self._lock, self._hanging = threading.Lock(), 0

    @property
    def hanging(self) -> int:
        """Return how many calls have not come back in time, and still run."""
        return self._hanging

    def run(self, name: str, call: Callable[[], T]) -> T:
        """Return what a call returns.

        Raises:
            ForwardTimeout: when it takes too long; its thread is left to it.
        """
        running = self._thread.submit(call)
        try:
            return running.result(self._timeout_s)
        except TimeoutError:
            if running.done():  # just now; or it is the call's own
                return running.result()
        error = ForwardTimeout(
            name,
            f"an answer within {self._timeout_s:g} s",
            "it still computes, and is unavailable until it has finished",
            "choose another backbone",
        )
        with self._lock:
            self._hanging += 1
        self._hangs(name, error)
        self._thread.shutdown(wait=False)
        self._thread = _one_thread()
        running.add_done_callback(lambda _: self._back(name))  # at once, if it has come back meanwhile
        raise error

    def _back(self, name: str) -> None:
        with self._lock:
            self._hanging -= 1
        self._returned(name)


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "forward")
