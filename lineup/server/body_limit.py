"""Limits the size of a request's body, pauses in it, and its average rate."""

import math
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from lineup.errors import LineupError
from lineup.server.admission import Admission, needs_slot
from lineup.server.allowlist import API, is_mcp
from lineup.server.bodies import LimitedBody
from lineup.server.responses import detail
from lineup.service import Service

SPARE_BYTES = 1 << 16  # allowed for the rest of a body, in addition to an image


def max_body_bytes(path: str, max_image_bytes: int) -> int:
    """Return the largest body of a POST request."""
    # an image is an upload, or base64 in an MCP client's JSON, which is a third longer
    if path.rstrip("/") == f"{API}upload":
        return SPARE_BYTES + max_image_bytes
    return SPARE_BYTES + (math.ceil(max_image_bytes * 4 / 3) if is_mcp(path) else 0)


class BodyLimitMiddleware:
    """Rejects a body that is too large with 413, and one that arrives too slowly with 408.

    Args:
        app: the app to pass requests on to.
        service: the service, for its limit on images.
        admission: the queue slots: bodies that are read occupy some.
        routes: the added routes; one may have a limit of its own as `max_body_bytes`.
    """

    def __init__(self, app: ASGIApp, service: Service, admission: Admission, routes: Sequence[BaseRoute] = ()) -> None:
        self._app, self._service, self._admission, self._routes = app, service, admission, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with a body that is limited whatever its stated length."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        max_bytes, too_large = self._limit(scope)
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > max_bytes:
            await detail(413, too_large)(scope, receive, send)
            return
        body = LimitedBody(receive, send, scope, max_bytes, too_large)
        try:
            with self._admission.reading(body, needs_slot(scope), is_mcp(path)):
                await self._app(scope, body.receive, body.send)
        except HTTPException:
            if body.rejection is None or body.answered:
                raise
            await body.answer()

    def _limit(self, scope: Scope) -> tuple[int, LineupError]:
        """Return the largest body of a request, and the error for a larger one."""
        for route in self._routes:
            if hasattr(route, "max_body_bytes") and route.matches(scope)[0] is Match.FULL:
                max_bytes = int(route.max_body_bytes)
                error = LineupError("files", f"at most {max_bytes / 1e6:.0f} MB", "got more", "choose fewer files")
                return max_bytes, error
        limit_mb = self._service.config.limits.max_upload_mb
        max_bytes = max_body_bytes(scope["path"], limit_mb * 10**6)
        if max_bytes > SPARE_BYTES:
            return max_bytes, LineupError("image", f"at most {limit_mb} MB", "got more", "send a smaller image")
        remedy = f"upload images to {API}upload"
        return max_bytes, LineupError("request", f"at most {max_bytes / 1e6:.1f} MB", "got more", remedy)
