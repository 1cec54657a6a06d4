"""What stands before Gradio: which addresses exist, how much may be sent, and who is let in.

Gradio reads a request before it refuses it, and serves pages that nobody asked for. Here it is decided first.
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
from lineup.errors import WENT_WRONG
from lineup.page.connections import WORK, Connections
from lineup.server.allowlist import API, MCP, exists, normalized
from lineup.server.body_limit import SPARE_BYTES, App, LimitedBody, Message, Receive, Send, answer, content_length
from lineup.server.uploads import SPARE_DISK_BYTES, SWEEP_S, UPLOAD_KEPT_S, free_bytes
from lineup.service import Service

_log = logging.getLogger(__name__)
_requests = logging.getLogger("lineup.requests")


CONNECT_GRACE_S = 2.0  # an event counts so long although nobody listens for its answer yet
UPLOAD_SLOT_S = 5.0  # for which an upload keeps its sender's place
EVENTS_PER_SLOT = 4  # times the places: so many events may there be, of visitors who have gone
DRAIN_S = 10.0  # for which running requests may go on after SIGTERM


_SENDERS_FAULT = (
    AttributeError,
    TypeError,
    ValueError,
    LookupError,
    FnIndexInferError,
)  # what Gradio raises at odd bodies


class Gate:
    """A middleware that refuses what it can without reading it, and hands on the rest.

    Args:
        service: whose readiness is told, and whose visitors are counted.
        blocks: Gradio's page, whose events and uploads are looked after.
    """

    def __init__(self, service: Service, blocks: Any, connections: Connections) -> None:
        self._service, self._blocks, self._connections = service, blocks, connections
        self._reading, self._kept = 0, deque[float]()
        self.closing = False
        limits = service.config.limits
        self._places, self._most_bytes = limits.queue_size, limits.max_upload_mb * 10**6

    @staticmethod
    def most_events(limits: Limits) -> int:
        """Return how many events there may be, those of visitors who have gone included."""
        return EVENTS_PER_SLOT * limits.queue_size

    def before(self, app: App) -> "Gate":
        """Stand before an app, as Starlette asks a middleware to."""
        self._app = app
        return self

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or let Gradio do so."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], normalized(scope["path"])
        if path in ("/healthz", "/readyz"):
            problem = self._service.not_ready_reason if path == "/readyz" else ""
            await answer(send, 503 if problem else 200, problem or "ok")
        elif not exists(method, path):
            told = f"{path[:100]}: expected an address that is served here; this is none; see / or {API}info"
            await answer(send, 404, told)
        elif method != "POST":
            await self._listen(path, scope, receive, send)
        else:
            await self._post(path, scope, receive, send)

    async def _post(self, path: str, scope: Message, receive: Receive, send: Send) -> None:
        upload, mcp = path == f"{API}upload", path.startswith(MCP)
        # images come as uploads, or inside the JSON of MCP clients, a third longer
        most = SPARE_BYTES + (self._most_bytes if upload else math.ceil(self._most_bytes * 4 / 3) if mcp else 0)
        body = LimitedBody(receive, send, most)
        if int(content_length(scope, b"content-length") or 0) > most:
            await answer(send, 413, body.problem)
        elif path in (f"{API}cancel", f"{API}reset"):
            await self._read(body, scope)
        elif problem := self._no_place(upload, mcp):
            await self._busy(send, problem)
        else:
            with self._inside(upload, body):
                await self._read(body, scope)

    async def _read(self, body: LimitedBody, scope: Message) -> None:
        try:
            await self._app(scope, body.receive, body.send)
        except Exception as error:
            if body.answered:
                raise
            if body.refused is None and not isinstance(error, _SENDERS_FAULT):
                _log.exception("%s failed", scope["path"])
                body.refused = 500, WENT_WRONG
            elif body.refused is None:
                _log.warning("refused: %s: %s: %.200s", scope["path"], type(error).__name__, error)
            asked = f"request: expected the fields of this endpoint; got others ({type(error).__name__}); see {API}info"
            await answer(body.raw_send, *(body.refused or (400, asked)))

    # --- admission ---

    def _events(self) -> list[Any]:
        """Return Gradio's events that are waiting or running."""
        return list(self._blocks._queue.event_ids_to_events.values())

    def pending(self) -> int:
        """Return how many visitors have a place: their answer is waited for, or was asked for just now."""
        now, is_open = time.monotonic(), self._connections.is_open
        return sum(
            event.fn.concurrency_id == WORK
            and (is_open(event.session_hash) or now - event.enqueue_time < CONNECT_GRACE_S)
            for event in self._events()
        )

    def _no_place(self, upload: bool, mcp: bool) -> str:
        """Return why somebody cannot come in, or nothing. After an upload a place is kept for a question."""
        while self._kept and time.monotonic() - self._kept[0] > UPLOAD_SLOT_S:
            self._kept.popleft()
        if self.closing:
            return "the server is about to stop"
        if (upload or mcp) and free_bytes() < SPARE_DISK_BYTES:
            _log.error("the disk with the uploads is full: nobody can send an image")
            return "there is no room for images"
        waiting = self.pending() + self._reading + len(self._kept)
        if len(self._events()) < self.most_events(self._service.config.limits):
            if not upload and not mcp and self._kept:
                self._kept.popleft()
                return ""
            if waiting < self._places:
                return ""
        return f"{waiting} requests are waiting already"

    @contextmanager
    def _inside(self, upload: bool, body: LimitedBody) -> Iterator[None]:
        self._reading += 1
        try:
            yield
        finally:
            self._reading -= 1
            if upload and body.status == 200:
                self._kept.append(time.monotonic())

    async def _busy(self, send: Send, problem: str) -> None:
        wait_s = min(60, max(1, math.ceil(self.pending() * self._service.mean_answer_s)))
        _requests.info(json.dumps({"outcome": "busy", "retry_after_s": wait_s}))
        await answer(send, 503, f"busy: {problem}; try again in {wait_s} s", wait_s)

    # --- listening ---

    async def _listen(self, path: str, scope: Message, receive: Receive, send: Send) -> None:
        """Hand on a request without a body; note whether somebody listens for an answer, and when that ends."""
        session = self._session(path, scope)
        if session is None:
            await answer(send, 404, f"{path[:100]}: expected an event that was asked for; there is none; ask again")
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
        """Return whose answer a request waits for, empty if for none, None if Gradio does not know it.

        Gradio names the session in the query, or an event in the path.
        """
        if path == f"{API}queue/data":
            with suppress(UnicodeDecodeError):
                return parse_qs(scope["query_string"].decode()).get("session_hash", [""])[0]
        if not path.startswith(f"{API}call/"):
            return ""
        name = path.rstrip("/").rpartition("/")[2]
        asked: dict[str, set[str]] = self._blocks._queue.pending_event_ids_session
        return next((session for session, events in list(asked.items()) if name in events), None)

    def sweep(self) -> None:
        """Remove old uploads, also those of earlier processes; what the page itself shows stays.

        Forget sessions, too, whose answers nobody waits for: Gradio would remember each that ever asked.
        """
        asked, busy = self._blocks._queue.pending_event_ids_session, {event.session_hash for event in self._events()}
        for session in list(asked):
            if session not in busy and not self._connections.is_open(session):
                asked.pop(session, None)
        shown = set().union(*(getattr(part, "keep_in_cache", ()) for part in self._blocks.blocks.values()))
        for path in Path(get_upload_folder()).rglob("*"):
            with suppress(OSError):  # another process may have been faster
                if path.is_dir():
                    path.rmdir()  # only if it is empty
                elif str(path) not in shown and time.time() - path.lstat().st_ctime > UPLOAD_KEPT_S:
                    path.unlink()

    def sweep_for_ever(self) -> None:
        """Remove old uploads now and then, on a thread of its own."""
        while True:
            try:
                self.sweep()
            except Exception:  # a folder that vanishes while it is walked through: the next time
                _log.exception("old uploads could not be removed")
            time.sleep(SWEEP_S)

    def drain(self) -> None:
        """Let nobody in any more, and return once those inside have their answers, or time is up."""
        self.closing, until = True, time.monotonic() + DRAIN_S
        while self.pending() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.2)  # the last answer is on its way
