"""ASGI middleware in front of Gradio: route allowlist, body limit, admission control and graceful shutdown.

Gradio reads a request's body before it rejects the request, and serves routes that are not needed here. This
middleware decides first.
"""

import json
import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from gradio.route_utils import FnIndexInferError
from gradio.utils import get_upload_folder

from lineup.config import Limits
from lineup.errors import INTERNAL_ERROR
from lineup.page.connections import COMPUTE_ID, Connections
from lineup.server.allowlist import API, MCP, is_allowed, normalized
from lineup.server.body_limit import SPARE_BYTES, App, LimitedBody, Message, Receive, Send, answer, content_length
from lineup.server.uploads import SPARE_DISK_BYTES, SWEEP_S, UPLOAD_MAX_AGE_S, free_bytes
from lineup.service import Service

_log = logging.getLogger(__name__)
_requests = logging.getLogger("lineup.requests")


CONNECT_GRACE_S = 2.0  # a new event takes a queue slot for so long although its client has not connected yet
UPLOAD_SLOT_S = 5.0  # how long a queue slot is reserved for the request that follows an upload
EVENTS_PER_SLOT = 4  # bound on all events, with those of disconnected clients, as a multiple of the queue slots
DRAIN_S = 10.0  # how long running requests may take after SIGTERM

# What Gradio raises for a malformed body.
_CLIENT_ERRORS = (AttributeError, TypeError, ValueError, LookupError, FnIndexInferError)


class AdmissionMiddleware:
    """Rejects requests, where possible before their bodies are read, and passes the others on to Gradio.

    Args:
        service: the service, for its readiness and limits.
        blocks: Gradio's Blocks, for its event queue.
        connections: the open connections of each session, which this middleware updates.
    """

    def __init__(self, service: Service, blocks: Any, connections: Connections) -> None:
        self._service, self._blocks, self._connections = service, blocks, connections
        self._reading, self._reserved = 0, deque[float]()  # posts being read; times at which uploads ended
        self.draining = False
        limits = service.config.limits
        self._slots, self._max_upload_bytes = limits.queue_size, limits.max_upload_mb * 10**6

    @staticmethod
    def max_events(limits: Limits) -> int:
        """Return the bound on Gradio's events, with those of disconnected clients."""
        return EVENTS_PER_SLOT * limits.queue_size

    def wrap(self, app: App) -> "AdmissionMiddleware":
        """Set the app to pass requests on to; Starlette calls this as a middleware's factory."""
        self._app = app
        return self

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on to Gradio."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], normalized(scope["path"])
        if path in ("/healthz", "/readyz"):
            problem = self._service.not_ready_reason if path == "/readyz" else ""
            await answer(send, 503 if problem else 200, problem or "ok")
        elif not is_allowed(method, path):
            problem = f"{path[:100]}: expected a path that is served; got an unknown one; see / or {API}info"
            await answer(send, 404, problem)
        elif method != "POST":
            await self._get(path, scope, receive, send)
        else:
            await self._post(path, scope, receive, send)

    async def _post(self, path: str, scope: Message, receive: Receive, send: Send) -> None:
        upload, mcp = path == f"{API}upload", path.startswith(MCP)
        # an image is an upload, or base64 in an MCP client's JSON, which is a third longer
        image_bytes = self._max_upload_bytes if upload else math.ceil(self._max_upload_bytes * 4 / 3) if mcp else 0
        max_bytes = SPARE_BYTES + image_bytes
        body = LimitedBody(receive, send, max_bytes)
        if int(content_length(scope, b"content-length") or 0) > max_bytes:
            await answer(send, 413, body.problem)
        elif path in (f"{API}cancel", f"{API}reset"):
            await self._read(body, scope)
        elif problem := self._rejection(upload, mcp):
            await self._answer_busy(send, problem)
        else:
            with self._slot(upload, body):
                await self._read(body, scope)

    async def _read(self, body: LimitedBody, scope: Message) -> None:
        try:
            await self._app(scope, body.receive, body.send)
        except Exception as error:
            if body.answered:
                raise
            if body.refused is None and not isinstance(error, _CLIENT_ERRORS):
                _log.exception("%s failed", scope["path"])
                body.refused = 500, INTERNAL_ERROR
            elif body.refused is None:
                _log.warning("rejected: %s: %s: %.200s", scope["path"], type(error).__name__, error)
            detail = (
                f"request: expected the fields of this endpoint; got others ({type(error).__name__}); see {API}info"
            )
            await answer(body.raw_send, *(body.refused or (400, detail)))

    # --- admission ---

    def _events(self) -> list[Any]:
        """Return Gradio's queued and running events."""
        return list(self._blocks._queue.event_ids_to_events.values())

    def pending(self) -> int:
        """Return the number of occupied queue slots: events with a connected client, or newer than CONNECT_GRACE_S."""
        now, is_open = time.monotonic(), self._connections.is_open
        return sum(
            event.fn.concurrency_id == COMPUTE_ID
            and (is_open(event.session_hash) or now - event.enqueue_time < CONNECT_GRACE_S)
            for event in self._events()
        )

    def _rejection(self, upload: bool, mcp: bool) -> str:
        """Return why a request is rejected (load shedding), or an empty string; may use up a reserved slot."""
        while self._reserved and time.monotonic() - self._reserved[0] > UPLOAD_SLOT_S:
            self._reserved.popleft()
        if self.draining:
            return "the server is shutting down"
        if (upload or mcp) and free_bytes() < SPARE_DISK_BYTES:
            _log.error("the disk with the uploads is full: uploads are rejected")
            return "there is no disk space for images"
        waiting = self.pending() + self._reading + len(self._reserved)
        if len(self._events()) < self.max_events(self._service.config.limits):
            if not upload and not mcp and self._reserved:
                self._reserved.popleft()
                return ""
            if waiting < self._slots:
                return ""
        return f"{waiting} requests are waiting already"

    @contextmanager
    def _slot(self, upload: bool, body: LimitedBody) -> Iterator[None]:
        """Occupy a queue slot while a request is read; after an upload, reserve it for the request that follows."""
        self._reading += 1
        try:
            yield
        finally:
            self._reading -= 1
            if upload and body.status == 200:
                self._reserved.append(time.monotonic())

    async def _answer_busy(self, send: Send, problem: str) -> None:
        """Answer 503 with a Retry-After of the queue's expected length, 1 to 60 s."""
        retry_after_s = min(60, max(1, math.ceil(self.pending() * self._service.mean_compute_s)))
        _requests.info(json.dumps({"outcome": "busy", "retry_after_s": retry_after_s}))
        await answer(send, 503, f"busy: {problem}; try again in {retry_after_s} s", retry_after_s)

    # --- connections ---

    async def _get(self, path: str, scope: Message, receive: Receive, send: Send) -> None:
        """Pass on a request without a body; record when a connection that receives answers opens and closes."""
        session = self._session(path, scope)
        if session is None:
            await answer(send, 404, f"{path[:100]}: expected a pending event; got an unknown one; send a new request")
            return
        if not session:
            await self._app(scope, receive, send)
            return
        self._connections.opened(session)
        try:
            await self._app(scope, receive, send)
        finally:
            self._connections.closed(session)

    def _session(self, path: str, scope: Message) -> str | None:
        """Return the session whose answers a request receives; empty if it receives none, None if it is unknown.

        The query has the session, or the path has an event of it.
        """
        if path == f"{API}queue/data":
            with suppress(UnicodeDecodeError):
                return parse_qs(scope["query_string"].decode()).get("session_hash", [""])[0]
        if not path.startswith(f"{API}call/"):
            return ""
        name = path.rstrip("/").rpartition("/")[2]
        pending: dict[str, set[str]] = self._blocks._queue.pending_event_ids_session
        return next((session for session, events in list(pending.items()) if name in events), None)

    def sweep(self) -> None:
        """Remove uploads older than UPLOAD_MAX_AGE_S, also of earlier processes, but not files that the page shows.

        Remove sessions without a connection or an event, too, which Gradio would keep for ever.
        """
        pending, busy = self._blocks._queue.pending_event_ids_session, {event.session_hash for event in self._events()}
        for session in list(pending):
            if session not in busy and not self._connections.is_open(session):
                pending.pop(session, None)
        shown = set().union(*(getattr(block, "keep_in_cache", ()) for block in self._blocks.blocks.values()))
        for path in Path(get_upload_folder()).rglob("*"):
            with suppress(OSError):  # another process may have removed it
                if path.is_dir():
                    path.rmdir()  # only if it is empty
                elif str(path) not in shown and time.time() - path.lstat().st_ctime > UPLOAD_MAX_AGE_S:
                    path.unlink()

    def sweep_for_ever(self) -> None:
        """Sweep every SWEEP_S seconds; runs on a thread of its own."""
        while True:
            try:
                self.sweep()
            except Exception:  # a folder was removed during the walk; retried at the next sweep
                _log.exception("old uploads could not be removed")
            time.sleep(SWEEP_S)

    def drain(self) -> None:
        """Shut down gracefully: reject new requests, and wait up to DRAIN_S for pending ones to be answered."""
        self.draining, deadline = True, time.monotonic() + DRAIN_S
        while self.pending() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)  # the last answer may still be in transmission
