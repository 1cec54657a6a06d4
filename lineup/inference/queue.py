"""A bounded queue: few requests compute at a time, and cancelled requests are skipped.

Each kind of clients has a FIFO queue of its own, and these take turns: many clients of one kind do not lock out
those of another. Jobs compute in slices between requests: a slice begins only while no request waits.

A request has a part that needs no turn, such as decoding. The next ones in line do it while another one computes: no
core is idle then, and only few decoded images are in memory.
"""

import itertools
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lineup.errors import BusyError, ClientDisconnected

POLL_S = 0.25  # how often a queued request checks its cancel flag
AHEAD = 2  # requests that prepare while others compute
PAGE = "page"  # the kind of clients of a request that names no other: the page, and Gradio's API

Cancelled = Callable[[], bool]  # a request's cancel flag: True once its answer is no longer needed


def never_cancelled() -> bool:
    """Return False: the cancel flag of a caller that waits for its answer."""
    return False


@dataclass(eq=False)
class _Waiter:
    flag: Cancelled
    client: str = PAGE
    in_background: bool = False
    is_alone: bool = True
    is_next: bool = False  # it may prepare
    is_granted: bool = False
    woken: threading.Event = field(default_factory=threading.Event)  # one of the two has changed
    was_cancelled: bool = False

    def cancelled(self) -> bool:
        """Check the cancel flag; once set it stays set, although the client may connect again."""
        self.was_cancelled = self.was_cancelled or self.flag()
        return self.was_cancelled


class ComputeQueue:
    """Grants requests the right to compute: one at a time, or several that do not need all cores. Thread-safe.

    Kinds of clients take turns, and the requests of each are granted in the order of arrival.

    Args:
        max_requests: returns the bound of each kind's queue, computing requests included; jobs do not count.
        concurrency: returns how many requests may compute at the same time.
    """

    def __init__(self, max_requests: Callable[[], int], concurrency: Callable[[], int] = lambda: 1) -> None:
        self._max_requests, self._concurrency = max_requests, concurrency
        self._lock = threading.Lock()
        self._queued: list[_Waiter] = []  # in the order of arrival
        self._n_turns, self._last_turn = 0, defaultdict[str, int](int)  # the number of the last one, by kind of clients
        self._computing: list[_Waiter] = []
        self.mean_compute_s = 0.1  # moving average of how long a request computes, divided by those that do so at once

    def __len__(self) -> int:
        """Return the number of requests, queued or computing."""
        return sum(not waiter.in_background for waiter in [*self._queued, *self._computing])

    @property
    def n_waiting(self) -> int:
        """Return the number of requests that wait for their turns."""
        return sum(not waiter.in_background for waiter in self._queued.copy())

    @contextmanager
    def turn(
        self,
        cancelled: Cancelled = never_cancelled,
        on_wait: Callable[[], None] = lambda: None,
        client: str = PAGE,
        prepare: Callable[[], object] = lambda: None,
        is_alone: bool = True,
    ) -> Iterator[None]:
        """Wait until all earlier requests of this kind of clients have had their turn, and block others meanwhile.

        Args:
            cancelled: the request's cancel flag.
            on_wait: called once if the request has to wait, to free what it does not need meanwhile.
            client: the kind of clients that the request is from.
            prepare: called once if the request has to wait, when it is one of the next ones; what it raises ends the
                wait.
            is_alone: whether nothing else may compute while the block runs; otherwise other requests that need not be
                alone may.

        Raises:
            BusyError: when the queue is full.
            ClientDisconnected: when the request is cancelled before its turn.
        """
        waiter = self._enqueue(_Waiter(cancelled, client, is_alone=is_alone))
        if not waiter.is_granted:
            on_wait()
        self._wait(waiter, prepare)
        started = time.monotonic()
        try:
            yield
        finally:
            elapsed_s = (time.monotonic() - started) / max(1, len(self._computing))
            self.mean_compute_s += 0.1 * (elapsed_s - self.mean_compute_s)
            self._end(waiter)

    @contextmanager
    def background_turn(self, cancelled: Cancelled = never_cancelled, is_alone: bool = True) -> Iterator[None]:
        """Wait until no request waits, none computes that has to be alone, and earlier jobs have had their turn.

        A request that arrives while the block runs waits for its end. Therefore compute in slices, each about as long
        as the forward pass of one image, and take a turn for each. Under constant load, a job does not advance.

        Args:
            cancelled: the job's cancel flag.
            is_alone: as for `turn`.

        Raises:
            ClientDisconnected: when the job is cancelled before its turn.
        """
        waiter = self._enqueue(_Waiter(cancelled, in_background=True, is_alone=is_alone))
        self._wait(waiter)
        try:
            yield
        finally:
            self._end(waiter)

    def _enqueue(self, waiter: _Waiter) -> _Waiter:
        with self._lock:
            if not waiter.in_background and (count := self._n_requests(waiter.client)) >= self._max_requests():
                raise BusyError("busy", "", f"{count} requests are waiting already", "try again in some seconds")
            self._queued.append(waiter)
            self._grant_waiting()
        return waiter

    def _n_requests(self, client: str) -> int:
        """Return the number of requests of a kind that are not cancelled; computing ones count in any case."""
        queued, computing = (
            [waiter for waiter in waiters if waiter.client == client and not waiter.in_background]
            for waiters in (self._queued, self._computing)
        )
        return sum(not waiter.cancelled() for waiter in queued) + len(computing)

    def _wait(self, waiter: _Waiter, prepare: Callable[[], object] = lambda: None) -> None:
        is_prepared = False
        try:
            while not waiter.is_granted:
                if not waiter.woken.wait(POLL_S) and waiter.cancelled():
                    raise ClientDisconnected
                waiter.woken.clear()
                if waiter.is_next and not is_prepared:
                    is_prepared = True
                    prepare()
            if waiter.cancelled():
                raise ClientDisconnected
        except BaseException:
            self._end(waiter)
            raise

    def _end(self, waiter: _Waiter) -> None:
        """End a turn, or the wait for it."""
        with self._lock:
            (self._computing if waiter.is_granted else self._queued).remove(waiter)
            self._grant_waiting()

    def _in_order(self) -> Iterator[_Waiter]:
        """Yield what waits in the order in which it is granted, unless something else arrives."""
        last_turn, kinds = self._last_turn.copy(), dict[str, deque[_Waiter]]()
        for waiter in self._queued:
            if not waiter.in_background:
                kinds.setdefault(waiter.client, deque()).append(waiter)
        for number in itertools.count(self._n_turns + 1):
            if not kinds:
                break
            kind = min(kinds, key=lambda kind: last_turn[kind])  # the first of equals is that of the earliest request
            yield kinds[kind].popleft()
            last_turn[kind] = number
            if not kinds[kind]:
                del kinds[kind]
        yield from (waiter for waiter in self._queued.copy() if waiter.in_background)

    def _grant_waiting(self) -> None:
        """Grant turns to the next ones in line, as long as each may compute beside those that do."""
        while self._has_room():
            waiter = next((waiter for waiter in self._in_order() if not waiter.cancelled()), None)
            if waiter is None or (waiter.is_alone and self._computing):
                break
            self._queued.remove(waiter)
            self._computing.append(waiter)
            if not waiter.in_background:
                self._n_turns += 1
                self._last_turn[waiter.client] = self._n_turns
            waiter.is_granted = True
            waiter.woken.set()
        self._wake_next()

    def _has_room(self) -> bool:
        is_any_alone = any(waiter.is_alone for waiter in self._computing)
        return not self._computing or (not is_any_alone and len(self._computing) < self._concurrency())

    def _wake_next(self) -> None:
        """Let the next requests prepare; one that is overtaken afterwards has done so earlier than necessary."""
        for waiter in itertools.islice(self._in_order(), AHEAD):
            if not waiter.is_next:
                waiter.is_next = True
                waiter.woken.set()
