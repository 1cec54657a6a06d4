"""Runs requests on threads, each with a cancel flag that is set when its client disconnects.

A client of Gradio's queue posts a request, and opens a second connection to receive the answer. Both name the
same session.
"""

import asyncio
import contextvars
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from gradio.context import LocalContext

from lineup.errors import ClientDisconnected
from lineup.inference.queue import Cancelled, never_cancelled

T = TypeVar("T")

WORK = "work"  # Gradio's concurrency id of the events that compute
CONNECT_TIMEOUT_S = 5.0  # a client that has not connected for so long counts as disconnected
DISCONNECT_GRACE_S = 0.1  # the end of an earlier answer may be noted late; Gradio itself drops a session at once
_POLL_S = 0.02
_MAX_CLOSED = 2000  # sessions whose last disconnect is remembered; LRU eviction

_THREADS = ThreadPoolExecutor(4096, "request")  # started as needed; the server admits limits.queue_size requests


def on_thread(call: Callable[[], T]) -> "asyncio.Future[T]":
    """Begin to run a call on a thread, with the request's context: ZeroGPU charges its user's quota."""
    return asyncio.get_running_loop().run_in_executor(_THREADS, contextvars.copy_context().run, call)


class Connections:
    """Counts the open connections of each session.

    Methods are called on the event loop; `is_open` and cancel flags on any thread.
    """

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._closed_at: OrderedDict[str, float] = OrderedDict()
        self._running = 0

    def opened(self, session: str) -> None:
        """Note that a client has opened a connection to receive its answers."""
        self._open[session] += 1

    def closed(self, session: str) -> None:
        """Note that such a connection has ended."""
        self._open[session] -= 1
        if self._open[session] <= 0:
            self._closed_at[session] = time.monotonic()  # first: cancel flags are read on other threads
            self._closed_at.move_to_end(session)
            del self._open[session]
            if len(self._closed_at) > _MAX_CLOSED:
                self._closed_at.popitem(last=False)

    def is_open(self, session: str) -> bool:
        """Tell whether a session has an open connection."""
        return session in self._open

    async def run(self, call: Callable[[Cancelled], T]) -> T:
        """Run a call of the current request on a thread, with the request's cancel flag.

        An idle server begins at once; otherwise the call begins when the client is connected, so that requests of
        clients that never connect take no turn. A request without a session, as of MCP, is never cancelled.

        Raises:
            ClientDisconnected: when the client does not connect within CONNECT_TIMEOUT_S.
        """
        session = getattr(LocalContext.request.get(None), "session_hash", None)
        cancelled = never_cancelled
        if isinstance(session, str):
            cancelled, idle = self.cancel_flag(session), not self._running
            while not (idle or self.is_open(session)):  # not when it becomes idle: many may be waiting
                if cancelled():
                    raise ClientDisconnected
                await asyncio.sleep(_POLL_S)
        loop = asyncio.get_running_loop()

        def tracked() -> T:
            try:
                return call(cancelled)
            finally:
                loop.call_soon_threadsafe(self._finished)

        self._running += 1  # until the thread is done, which may be after this coroutine was cancelled
        return await on_thread(tracked)

    def _finished(self) -> None:
        self._running -= 1

    def cancel_flag(self, session: str) -> Cancelled:
        """Return a flag for a request that begins now: True once its client has disconnected, or never connected."""
        began_at = time.monotonic()

        def cancelled() -> bool:
            if self.is_open(session):
                return False
            closed_at, now = self._closed_at.get(session, 0.0), time.monotonic()
            return now - closed_at > DISCONNECT_GRACE_S if closed_at > began_at else now - began_at > CONNECT_TIMEOUT_S

        return cancelled
