"""Runs forward passes with a timeout. A call that exceeds it keeps its thread; later calls get a new one."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lineup.errors import ForwardTimeout

T = TypeVar("T")


class Watchdog:
    """Runs calls on one thread of its own; callers of `run` take turns.

    Args:
        timeout_s: returns how long a call may take for each of its images.
        on_timeout: called with the name of a call that exceeds the timeout, and its error; returns a function that is
            called once the call has returned.
    """

    def __init__(
        self, timeout_s: Callable[[], float], on_timeout: Callable[[str, ForwardTimeout], Callable[[], None]]
    ) -> None:
        self._timeout_s, self._on_timeout = timeout_s, on_timeout
        self._thread = _one_thread()
        self._lock, self._hanging = threading.Lock(), 0

    @property
    def hanging(self) -> int:
        """Return the number of calls that exceeded the timeout and are still running."""
        return self._hanging

    def run(self, name: str, call: Callable[[], T], n_images: int = 1) -> T:
        """Return what a call returns.

        Raises:
            ForwardTimeout: when it takes too long; it goes on in its thread.
        """
        running, timeout_s = self._thread.submit(call), self._timeout_s() * n_images
        try:
            return running.result(timeout_s)
        except TimeoutError:
            if running.done():  # just now, or the call itself raised TimeoutError
                return running.result()
        error = ForwardTimeout(
            name,
            f"an answer within {timeout_s:g} s",
            "it is still computing, and is unavailable until it has finished",
            "choose another backbone",
        )
        with self._lock:
            self._hanging += 1
        on_return = self._on_timeout(name, error)
        self._thread.shutdown(wait=False)
        self._thread = _one_thread()
        running.add_done_callback(lambda _: self._returned(on_return))  # called at once if it has returned meanwhile
        raise error

    def _returned(self, on_return: Callable[[], None]) -> None:
        with self._lock:
            self._hanging -= 1
        on_return()


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "forward")
