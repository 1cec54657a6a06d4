"""A bounded FIFO queue: one request computes at a time, and cancelled requests are skipped.

Jobs compute in slices between requests: a slice begins only while no request waits.
"""

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
    in_background: bool = False
    granted: threading.Event = field(default_factory=threading.Event)
    was_cancelled: bool = False

    def cancelled(self) -> bool:
        """Check the cancel flag; once set it stays set, although the client may connect again."""
        self.was_cancelled = self.was_cancelled or self.flag()
        return self.was_cancelled


class ComputeQueue:
    """Grants one request at a time the right to compute, in the order of arrival. Thread-safe.

    Args:
        max_requests: returns the bound of the queue, the computing request included; jobs do not count.
    """

    def __init__(self, max_requests: Callable[[], int]) -> None:
        self._max_requests = max_requests
        self._lock = threading.Lock()
        self._queued: list[_Waiter] = []  # requests, then jobs
        self._computing: _Waiter | None = None
        self.mean_compute_s = 0.1  # moving average of how long a request computes

    def __len__(self) -> int:
        """Return the number of requests, queued or computing."""
        waiters = [*self._queued, self._computing]
        return sum(waiter is not None and not waiter.in_background for waiter in waiters)

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
            self._grant_next()

    @contextmanager
    def background_turn(self, cancelled: Cancelled = never_cancelled) -> Iterator[None]:
        """Wait until no request computes or waits, and earlier jobs have had their turn; then block all others.

        A request that arrives while the block runs waits for its end. Therefore compute in slices, each about as long
        as the forward pass of one image, and take a turn for each. Under constant load, a job does not advance.

        Args:
            cancelled: the job's cancel flag.

        Raises:
            ClientDisconnected: when the job is cancelled before its turn.
        """
        self._wait(self._enqueue(cancelled, in_background=True))
        try:
            yield
        finally:
            self._grant_next()

    def _enqueue(self, cancelled: Cancelled, in_background: bool = False) -> _Waiter:
        waiter = _Waiter(cancelled, in_background)
        with self._lock:
            if not self._computing:
                self._computing = waiter
                waiter.granted.set()
            elif not in_background and (waiting := self._requests(self._computing)) >= self._max_requests():
                raise BusyError("busy", "", f"{waiting} requests are waiting already", "try again in some seconds")
            else:
                self._queued.append(waiter)
                self._queued.sort(key=lambda each: each.in_background)  # stable: the order of arrival is kept
        return waiter

    def _requests(self, computing: _Waiter) -> int:
        """Return the number of requests that are not cancelled; the computing one counts in any case."""
        queued = sum(not (waiter.in_background or waiter.cancelled()) for waiter in self._queued)
        return queued + (not computing.in_background)

    def _wait(self, waiter: _Waiter) -> None:
        while not waiter.granted.wait(POLL_S):
            if waiter.cancelled():
                with self._lock:
                    if not waiter.granted.is_set():
                        self._queued.remove(waiter)
                        raise ClientDisconnected
        if waiter.cancelled():
            self._grant_next()
            raise ClientDisconnected

    def _grant_next(self) -> None:
        with self._lock:
            self._computing = waiter = next((waiter for waiter in self._queued if not waiter.cancelled()), None)
            if waiter:
                self._queued.remove(waiter)
                waiter.granted.set()
