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
class _Slot:
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
        max_requests: bound of the queue, the computing request included.
    """

    def __init__(self, max_requests: int) -> None:
        self._max_requests = max_requests
        self._lock = threading.Lock()
        self._queued: list[_Slot] = []
        self._computing = False
        self.mean_s = 0.1  # moving average of how long a request computes

    def __len__(self) -> int:
        """Return the number of requests, queued or computing."""
        return len(self._queued) + self._computing

    @contextmanager
    def turn(self, cancelled: Cancelled = never_cancelled) -> Iterator[None]:
        """Wait until all earlier requests are done, and block later ones while the block runs.

        Raises:
            BusyError: when the queue is full.
            ClientDisconnected: when the request is cancelled before its turn.
        """
        self._wait(self._enqueue(cancelled))
        started = time.monotonic()
        try:
            yield
        finally:
            self.mean_s += 0.1 * (time.monotonic() - started - self.mean_s)
            with self._lock:
                self._grant_next()

    def _enqueue(self, cancelled: Cancelled) -> _Slot:
        slot = _Slot(cancelled)
        with self._lock:
            if not self._computing:
                self._computing = True
                slot.granted.set()
            elif (waiting := 1 + sum(not other.cancelled() for other in self._queued)) >= self._max_requests:
                raise BusyError("busy", "", f"{waiting} requests are waiting already", "try again in some seconds")
            else:
                self._queued.append(slot)
        return slot

    def _wait(self, slot: _Slot) -> None:
        while not slot.granted.wait(POLL_S):
            if slot.cancelled():
                with self._lock:
                    if not slot.granted.is_set():
                        self._queued.remove(slot)
                        raise ClientDisconnected
        if slot.cancelled():
            with self._lock:
                self._grant_next()
            raise ClientDisconnected

    def _grant_next(self) -> None:
        slot = next((slot for slot in self._queued if not slot.cancelled()), None)
        self._computing = slot is not None
        if slot:
            self._queued.remove(slot)
            slot.granted.set()
