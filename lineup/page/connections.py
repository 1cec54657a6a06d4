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

COMPUTE_ID = "compute"  # Gradio's concurrency_id of the events that run backbones
CONNECT_TIMEOUT_S = 5.0  # a client that has not connected for so long counts as disconnected
DISCONNECT_GRACE_S = 1.0  # a client may close one connection and open the next
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
        clients that never connect take no turn. The call is cancelled as soon as the client disconnects, and begins
        again if it connects within DISCONNECT_GRACE_S. A request without a session, as of MCP, is never cancelled.

        Raises:
            ClientDisconnected: when the client does not connect in time, or the call raises it for another reason.
        """
        session = getattr(LocalContext.request.get(None), "session_hash", None)
        if not isinstance(session, str):
            return await self._on_thread(call, never_cancelled)
        connected, deadline = not self._running, time.monotonic() + CONNECT_TIMEOUT_S
        while True:
            while not (connected or self.is_open(session)):  # an idle server is no reason: many may be waiting
                if time.monotonic() > deadline:
                    raise ClientDisconnected
                await asyncio.sleep(_POLL_S)
            cancelled = self.cancel_flag(session)
            try:
                return await self._on_thread(call, cancelled)
            except ClientDisconnected:
                if not cancelled():
                    raise
            connected, deadline = False, time.monotonic() + DISCONNECT_GRACE_S

    async def _on_thread(self, call: Callable[[Cancelled], T], cancelled: Cancelled) -> T:
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
        """Return a flag for a call that begins now: True once its client was seen disconnected, or never connected."""
        began_at, was_cancelled = time.monotonic(), False

        def cancelled() -> bool:
            nonlocal was_cancelled
            if not was_cancelled and not self.is_open(session):
                disconnected = self._closed_at.get(session, 0.0) > began_at
                was_cancelled = disconnected or time.monotonic() - began_at > CONNECT_TIMEOUT_S
            return was_cancelled

        return cancelled
