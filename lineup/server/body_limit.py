"""Limits the size of a request's body, and the time to receive it."""

import asyncio
import math
import time

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lineup.server.allowlist import API, MCP
from lineup.server.responses import detail
from lineup.service import Service

SPARE_BYTES = 1 << 16  # allowed for the rest of a body, in addition to an image
BODY_TIMEOUT_S = 60.0  # to receive the whole body


class BodyLimitMiddleware:
    """Rejects a body that is too large with 413, and one that does not arrive in time with 408.

    Args:
        app: the app to pass requests on to.
        service: the service, for its limit on images.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    def _max_bytes(self, path: str) -> int:
        image_bytes = self._service.config.limits.max_upload_mb * 10**6
        # an image is an upload, or base64 in an MCP client's JSON, which is a third longer
        if path == f"{API}upload":
            return SPARE_BYTES + image_bytes
        return SPARE_BYTES + (math.ceil(image_bytes * 4 / 3) if path.startswith(MCP) else 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with a body that is limited whatever its stated length."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        body = _LimitedBody(receive, send, scope, self._max_bytes(scope["path"]))
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > body.max_bytes:
            await detail(413, body.problem)(scope, receive, send)
            return
        try:
            await self._app(scope, body.receive, body.send)
        except HTTPException:
            if body.rejection is None or body.answered:
                raise
            await body.answer()


class _LimitedBody:
    """An ASGI `receive` and `send`: limits the body, and replaces the app's answer to a rejected one."""

    def __init__(self, receive: Receive, send: Send, scope: Scope, max_bytes: int) -> None:
        self._receive, self._send, self._scope, self.max_bytes = receive, send, scope, max_bytes
        self._n_bytes, self._deadline = 0, time.monotonic() + BODY_TIMEOUT_S
        self._complete = self.answered = False
        self.rejection: HTTPException | None = None
        self.problem = f"request: expected at most {max_bytes / 1e6:.1f} MB; got more; send a smaller image"

    async def receive(self) -> Message:
        """Return the next ASGI message of the body.

        Raises:
            HTTPException: 413 when the body is too large, 408 when it is not complete within BODY_TIMEOUT_S.
        """
        if self._complete:
            return await self._receive()  # a disconnect
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            problem = f"request: expected its body within {BODY_TIMEOUT_S:g} s; got a part; try again"
            self.rejection = HTTPException(408, problem)
            raise self.rejection from None
        self._n_bytes += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._n_bytes > self.max_bytes:
            self.rejection = HTTPException(413, self.problem)
            raise self.rejection
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the response, or the rejection if the body was rejected meanwhile."""
        if self.rejection is None:
            self.answered = True
            await self._send(message)
        elif not self.answered:
            await self.answer()

    async def answer(self) -> None:
        """Send the rejection."""
        assert self.rejection is not None
        self.answered = True
        await detail(self.rejection.status_code, self.rejection.detail)(self._scope, self._receive, self._send)
