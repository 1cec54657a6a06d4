"""Runs forward passes with a timeout. A call that exceeds it keeps its thread; later calls get others."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lineup.engines import devices
from lineup.errors import ForwardTimeout

T = TypeVar("T")


class Watchdog:
    """Runs calls on threads of its own, which are kept for later calls: one for each that runs at the same time.

    Args:
        timeout_s: returns how long a call may take for each of its images.
        on_timeout: called with the name of a call that exceeds the timeout, and its error; returns a function that is
            called once the call has returned.
    """

    def __init__(
        self, timeout_s: Callable[[], float], on_timeout: Callable[[str, ForwardTimeout], Callable[[], None]]
    ) -> None:
        self._timeout_s, self._on_timeout = timeout_s, on_timeout
        self._idle: list[ThreadPoolExecutor] = []
        self._lock, self._hanging = threading.Lock(), Counter[str]()

    @property
    def hanging(self) -> int:
        """Return the number of names with calls that exceeded the timeout and are still running."""
        return len(self._hanging)

    def run(self, name: str, call: Callable[[], T], n_images: int = 1) -> T:
        """Return what a call returns.

        Raises:
            ForwardTimeout: when it takes too long; it goes on in its thread.
        """
        with self._lock:
            thread = self._idle.pop() if self._idle else ThreadPoolExecutor(1, "forward", devices.lower_priority)
        running, timeout_s, is_free = thread.submit(call), self._timeout_s() * n_images, True
        try:
            return running.result(timeout_s)
        except TimeoutError:
            if running.done():  # just now, or the call itself raised TimeoutError
                return running.result()
            is_free = False
        finally:
            if is_free:
                with self._lock:
                    self._idle.append(thread)
        error = ForwardTimeout(
            name,
            f"an answer within {timeout_s:g} s",
            "it is still computing, and is unavailable until it has finished",
            "choose another backbone",
        )
        with self._lock:
            self._hanging[name] += 1
        on_return = self._on_timeout(name, error)
        thread.shutdown(wait=False)
        running.add_done_callback(lambda _: self._returned(name, on_return))  # at once if it has returned meanwhile
        raise error

    def _returned(self, name: str, on_return: Callable[[], None]) -> None:
        with self._lock:
            self._hanging[name] -= 1
            self._hanging += Counter()  # without those that have reached 0
        on_return()
