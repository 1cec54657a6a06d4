"""Runs requests on threads, each with a cancel flag that is set when its client disconnects.

A client of Gradio's queue posts a request, and opens a second connection to receive the answer. Both name the
same session.
"""

import asyncio
import contextvars
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import gradio as gr
from gradio.context import LocalContext
from starlette.requests import Request

from lineup.engines import devices
from lineup.errors import ClientDisconnected
from lineup.inference.queue import Cancelled, never_cancelled

T = TypeVar("T")

CONNECT_GRACE_S = 2.0  # a new request counts as pending for so long although its client has not connected yet
CONNECT_TIMEOUT_S = 5.0  # a client that has not connected for so long counts as disconnected
DISCONNECT_GRACE_S = 1.0  # a client may close one connection and open the next
_POLL_S = 0.02
_MAX_CLOSED = 2000  # sessions whose last disconnect is remembered; LRU eviction

# Started as needed; the server admits limits.queue_size requests.
_THREADS = ThreadPoolExecutor(4096, "request", devices.lower_priority)


def on_thread(function: Callable[..., T], *arguments: Any) -> "asyncio.Future[T]":
    """Begin to call a function on a thread, with the request's context: ZeroGPU charges its user's quota."""
    return asyncio.get_running_loop().run_in_executor(_THREADS, contextvars.copy_context().run, function, *arguments)


def charge(request: Request) -> None:
    """Charge to its user's quota of ZeroGPU what a route computes from now on, as Gradio's events are."""
    LocalContext.request.set(gr.Request(request))  # `spaces` reads the user's token from its headers


class _Request(NamedTuple):
    session: str | None  # None: of a client without sessions, which is always connected
    since: float  # time.monotonic()


class Connections:
    """Counts the open connections of each session, and the requests that compute.

    Methods are called on the event loop; `is_open`, `pending` and cancel flags on any thread.
    """

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._closed_at: OrderedDict[str, float] = OrderedDict()
        self._running = 0
        self._accepted: dict[str, _Request] = {}  # by event; their functions have not begun to compute
        self._calls: dict[object, _Request] = {}

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

    def accepted(self, event: str, session: str) -> None:
        """Note that an event was queued: it counts until it computes or ends, for at most CONNECT_TIMEOUT_S."""
        now = time.monotonic()
        for other, request in list(self._accepted.items()):  # the oldest first
            if now - request.since < CONNECT_TIMEOUT_S:
                break
            del self._accepted[other]
        self._accepted[event] = _Request(session, now)

    def ended(self, event: str | None) -> None:
        """Note that an event's function has ended, whether it has computed or not."""
        self._accepted.pop(event or "", None)

    def _requests(self) -> list[_Request]:
        oldest = time.monotonic() - CONNECT_TIMEOUT_S
        accepted = [request for request in list(self._accepted.values()) if request.since > oldest]
        return accepted + list(self._calls.values())

    @property
    def pending(self) -> int:
        """The number of requests whose client is connected, or that are younger than CONNECT_GRACE_S."""
        youngest = time.monotonic() - CONNECT_GRACE_S
        return sum(session is None or self.is_open(session) or since > youngest for session, since in self._requests())

    @property
    def n_requests(self) -> int:
        """The number of all requests, with those of disconnected clients whose threads still run."""
        return max(len(self._requests()), self._running)

    def sessions(self) -> set[str | None]:
        """Return the sessions with an open connection or a request."""
        return {*list(self._open), *(request.session for request in self._requests())}

    @contextmanager
    def _counted(self, session: str | None) -> Iterator[None]:
        """Count a call, in place of its event."""
        now, key = time.monotonic(), object()
        event = self._accepted.pop(LocalContext.event_id.get(None) or "", None)
        self._calls[key] = _Request(session, event.since if event else now)
        try:
            yield
        finally:
            del self._calls[key]

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
            with self._counted(None):
                return await self._on_thread(call, never_cancelled)
        with self._counted(session):
            return await self._run_while_connected(call, session)

    async def _run_while_connected(self, call: Callable[[Cancelled], T], session: str) -> T:
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
