"""A bounded FIFO queue: one request computes at a time, and cancelled requests are skipped."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lineup.errors import BusyError, ClientDisconnected

POLL_S = 0.25  # how often a queued request checks its cancel flag

Cancelled = Callable[[], bool]  # a request's cancel flag: True once its answer is no longer needed


def never_cancelled() -> bool:
    """Return False: the cancel flag of a caller that waits for its answer."""
    return False


@dataclass(eq=False)
class _Waiter:
    flag: Cancelled
    granted: threading.Event = field(default_factory=threading.Event)
    was_cancelled: bool = False

    def cancelled(self) -> bool:
        """Check the cancel flag; once set it stays set, although the client may connect again."""
        self.was_cancelled = self.was_cancelled or self.flag()
        return self.was_cancelled


class ComputeQueue:
    """Grants one request at a time the right to compute, in the order of arrival. Thread-safe.

    Args:
        max_requests: returns the bound of the queue, the computing request included.
    """

    def __init__(self, max_requests: Callable[[], int]) -> None:
        self._max_requests = max_requests
        self._lock = threading.Lock()
        self._queued: list[_Waiter] = []
        self._computing = False
        self.mean_compute_s = 0.1  # moving average of how long a request computes

    def __len__(self) -> int:
        """Return the number of requests, queued or computing."""
        return len(self._queued) + self._computing

    @contextmanager
    def turn(
        self, cancelled: Cancelled = never_cancelled, on_wait: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Wait until all earlier requests are done, and block later ones while the block runs.

        Args:
            cancelled: the request's cancel flag.
            on_wait: called once if the request has to wait, to free what it does not need meanwhile.

        Raises:
            BusyError: when the queue is full.
            ClientDisconnected: when the request is cancelled before its turn.
        """
        waiter = self._enqueue(cancelled)
        if not waiter.granted.is_set():
            on_wait()
        self._wait(waiter)
        started = time.monotonic()
        try:
            yield
        finally:
            self.mean_compute_s += 0.1 * (time.monotonic() - started - self.mean_compute_s)
            with self._lock:
                self._grant_next()

    def _enqueue(self, cancelled: Cancelled) -> _Waiter:
        waiter = _Waiter(cancelled)
        with self._lock:
            if not self._computing:
                self._computing = True
                waiter.granted.set()
            elif (waiting := 1 + sum(not other.cancelled() for other in self._queued)) >= self._max_requests():
                raise BusyError("busy", "", f"{waiting} requests are waiting already", "try again in some seconds")
            else:
                self._queued.append(waiter)
        return waiter

    def _wait(self, waiter: _Waiter) -> None:
        while not waiter.granted.wait(POLL_S):
            if waiter.cancelled():
                with self._lock:
                    if not waiter.granted.is_set():
                        self._queued.remove(waiter)
                        raise ClientDisconnected
        if waiter.cancelled():
            with self._lock:
                self._grant_next()
            raise ClientDisconnected

    def _grant_next(self) -> None:
        waiter = next((waiter for waiter in self._queued if not waiter.cancelled()), None)
        self._computing = waiter is not None
        if waiter:
            self._queued.remove(waiter)
            waiter.granted.set()
