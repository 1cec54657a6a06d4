"""Admission control: rejects requests that would have to wait too long, before their bodies are read.

Each kind of clients has queue slots of its own, so that those of one kind do not take all.
"""

import json
import logging
import math
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lineup.config import Limits
from lineup.errors import BusyError
from lineup.inference.queue import PAGE
from lineup.page.client_address import Proxies
from lineup.page.clients import client_of
from lineup.page.connections import Connections
from lineup.server.allowlist import API, is_mcp
from lineup.server.bodies import LimitedBody
from lineup.server.responses import detail
from lineup.server.sessions import Sessions
from lineup.server.uploads import SPARE_DISK_BYTES, free_bytes
from lineup.service import Service

_log = logging.getLogger(__name__)
_requests = logging.getLogger("lineup.requests")

UPLOAD_SLOT_S = 5.0  # how long a queue slot is reserved for the request that follows an upload
REQUESTS_PER_SLOT = 4  # bound on all requests, with those of disconnected clients, as a multiple of the queue slots
DRAIN_S = 10.0  # how long running requests may take after SIGTERM


def max_requests(limits: Limits) -> int:
    """Return the bound on all requests, with those of disconnected clients."""
    return REQUESTS_PER_SLOT * limits.queue_size


def needs_slot(scope: Scope) -> bool:
    """Return whether a request is admitted to the queue, or rejected: all that compute or upload."""
    path = scope["path"].rstrip("/") if scope["type"] == "http" and scope["method"] == "POST" else ""
    return path not in ("", f"{API}cancel", f"{API}reset")


class Admission:
    """The queue slots: those of requests that compute, of bodies that are read, and reserved after uploads.

    A body that takes longer than SLOW_AFTER_S leaves its slot to others until it is complete. There are at most
    as many of such bodies as queue slots: for a further one, the slowest is rejected. Other kinds of clients than the
    page send one request, with the image, which occupies its slot until it is answered.

    Args:
        service: the service, for its limits and speed.
        connections: the requests.
    """

    def __init__(self, service: Service, connections: Connections) -> None:
        self._service, self._connections = service, connections
        self._bodies: dict[LimitedBody, bool] = {}  # and whether it occupies a slot only until it is complete
        self._reserved = deque[tuple[float, str]]()  # when uploads ended, and their clients' addresses
        self.draining = False

    @property
    def pending(self) -> int:
        """The number of requests that compute, or will."""
        return self._connections.pending

    @property
    def n_reading(self) -> int:
        """The number of bodies that are read and occupy a queue slot, of all kinds of clients."""
        return sum(map(self._n_reading, {body.kind for body in list(self._bodies)}))

    def _n_reading(self, kind: str) -> int:
        own = [(body, ends) for body, ends in list(self._bodies.items()) if body.kind == kind]
        return sum(not body.is_slow and not (ends and body.complete) for body, ends in own)

    @contextmanager
    def reading(self, body: LimitedBody, occupies: bool, ends_complete: bool) -> Iterator[None]:
        """Count a body that is read in the block.

        Args:
            body: the body.
            occupies: whether it occupies a queue slot.
            ends_complete: whether it does only until it is complete: a call over MCP then joins the queue itself.
        """
        if occupies:
            self._stop_slowest(body.kind)
            self._bodies[body] = ends_complete
        try:
            yield
        finally:
            self._bodies.pop(body, None)

    def _stop_slowest(self, kind: str) -> None:
        own = (body for body in self._bodies if body.is_slow and body.kind == kind)
        slow = sorted(own, key=lambda body: body.bytes_per_s)
        for body in slow[: max(0, len(slow) + 1 - self._service.config.limits.queue_size)]:
            retry_after_s = self.retry_after_s(kind)
            body.stop(
                _busy(f"{len(slow)} images are being received more slowly than most", retry_after_s), retry_after_s
            )

    def rejection(self, is_upload: bool, is_mcp: bool, client: str = "", kind: str = PAGE) -> str:
        """Return why a request is rejected (load shedding), or an empty string; may use up a slot of its client.

        Args:
            is_upload: whether it uploads an image for a request that follows.
            is_mcp: whether it is one over MCP.
            client: its client's address.
            kind: the kind of clients that it is from.
        """
        while self._reserved and time.monotonic() - self._reserved[0][0] > UPLOAD_SLOT_S:
            self._reserved.popleft()
        if self.draining:
            return "the server is shutting down"
        if (is_upload or is_mcp) and free_bytes() < SPARE_DISK_BYTES:
            _log.error("the disk with the uploads is full: uploads are rejected")
            return "there is no disk space for images"
        limits, waiting = self._service.config.limits, self._waiting(kind)
        if kind != PAGE or self._connections.n_requests < max_requests(limits):
            own = next((slot for slot in self._reserved if slot[1] == client), None)
            if own and kind == PAGE and not is_upload and not is_mcp:
                self._reserved.remove(own)
                return ""
            if waiting < limits.queue_size:
                return ""
        return f"{waiting} requests are waiting already"

    def _waiting(self, kind: str) -> int:
        return self._n_reading(kind) + (self.pending + len(self._reserved) if kind == PAGE else 0)

    def reserve(self, client: str) -> None:
        """Reserve a slot for the request of the same client that follows an upload."""
        self._reserved.append((time.monotonic(), client))

    def retry_after_s(self, kind: str = PAGE) -> int:
        """Return how long a queue of one kind of clients is expected to be, 1 to 60 s; it takes turns with others."""
        n_pending = {each: self._n_reading(each) for each in {body.kind for body in list(self._bodies)} - {PAGE}}
        n_pending[PAGE] = self.pending
        own = n_pending.get(kind, 0)
        n_turns = sum(min(own, others) for others in n_pending.values())
        return min(60, max(1, math.ceil(n_turns * self._service.mean_compute_s)))

    def drain(self) -> None:
        """Shut down gracefully: reject new requests, and wait up to DRAIN_S for pending ones to be answered."""
        self.draining, deadline = True, time.monotonic() + DRAIN_S
        while (self.pending or self.n_reading) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)  # the last answer may still be in transmission


def _busy(problem: str, retry_after_s: int) -> BusyError:
    return BusyError("busy", "", problem, f"try again in {retry_after_s} s")


class AdmissionMiddleware:
    """Answers 503 with Retry-After when no queue slot is free.

    Args:
        app: the app to pass requests on to.
        admission: the queue slots.
        connections: the requests; each queued event is added to them.
        sessions: the session of each event.
        proxies: decide whose a slot is that an upload has reserved.
    """

    def __init__(
        self, app: ASGIApp, admission: Admission, connections: Connections, sessions: Sessions, proxies: Proxies
    ) -> None:
        self._app, self._admission, self._connections, self._sessions = app, admission, connections, sessions
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it before its body is read."""
        if scope["type"] != "http" or not needs_slot(scope):
            await self._app(scope, receive, send)
            return
        path, kind = scope["path"].rstrip("/"), client_of(scope).kind
        client = self._proxies.address_of(HTTPConnection(scope)) if kind == PAGE else ""  # only the page reserves slots
        admission, is_upload = self._admission, path == f"{API}upload"
        if problem := admission.rejection(is_upload, is_mcp(path), client, kind):
            retry_after_s = admission.retry_after_s(kind)
            _requests.info(json.dumps({"outcome": "busy", "retry_after_s": retry_after_s}))
            await detail(503, _busy(problem, retry_after_s), retry_after_s)(scope, receive, send)
            return
        status, queues = 0, path == f"{API}queue/join" or path.startswith(f"{API}call/")

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            if queues and status == 200 and message["type"] == "http.response.body":
                self._accepted(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if is_upload and status == 200:
                admission.reserve(client)

    def _accepted(self, body: bytes) -> None:
        """Count the event that a response names. Its function has not begun: Gradio's queue has not run since."""
        with suppress(ValueError, TypeError, KeyError):
            event = json.loads(body)["event_id"]
            if session := self._sessions.of_event(event):
                self._connections.accepted(event, session)
