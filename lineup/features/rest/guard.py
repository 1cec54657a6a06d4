"""What a request below /v1 passes first: origins of browsers' pages, a rate limit, and keys.

It is decided before a request takes a queue slot, and before its body is read. Refusals are problem details, also
those of the server's other middleware.
"""

import math
import os
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lineup.config.sections import Rest
from lineup.errors import INTERNAL_ERROR, PROBLEM_TYPE, LineupError
from lineup.features.rest import REST, problems
from lineup.features.rest.keys import KEYS, Keys
from lineup.features.rest.problems import RequestError
from lineup.hub import via
from lineup.page.client_address import Proxies
from lineup.page.clients import Client, client_of, from_client
from lineup.service import Service

if TYPE_CHECKING:
    from limits import RateLimitItem

PREFIX = "/v1"
DOCUMENTATION = f"{PREFIX}/openapi.json"
PUBLIC = (f"{PREFIX}/docs", DOCUMENTATION)  # without a key: a browser sends none when it opens a page
_ASKED = ("Authorization", "Content-Type")  # headers of a request from another origin
_SHOWN = ("Retry-After", "RateLimit", "RateLimit-Policy")  # headers of the response that a page of it can read


def middleware(service: Service) -> list[Middleware]:
    """Return the middleware of the routes below /v1; none if they are switched off."""
    settings, keys = service.config.rest, Keys(os.environ.get(KEYS, ""))
    proxies = Proxies(service.config.trusted_proxies)
    return [Middleware(GuardMiddleware, settings, keys, proxies)] if settings.enabled else []


class GuardMiddleware:
    """Guards the paths below /v1, and passes all other requests on.

    Args:
        app: the app to pass requests on to.
        settings: the section of the config.
        keys: the keys of which a request needs one.
        proxies: decide which address a request without one counts for.
    """

    def __init__(self, app: ASGIApp, settings: Rest, keys: Keys, proxies: Proxies) -> None:
        self._app, self._keys, self._proxies = app, keys, proxies
        self._limit = RateLimit(settings.rate_limit) if settings.rate_limit else None
        cors: dict[str, Any] = {"allow_methods": ("GET", "HEAD", "POST"), "allow_headers": _ASKED}
        self._guarded = CORSMiddleware(self._admit, settings.cors, expose_headers=_SHOWN, **cors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{PREFIX}/"):
            await self._app(scope, receive, send)
            return
        scope = from_client(scope, Client(REST, DOCUMENTATION))
        await self._guarded(scope, receive, _Problems(scope, send).send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = self._keys.number_of(Headers(scope=scope))
        added: dict[str, str] = {}
        if self._limit:
            caller = self._proxies.address_of(HTTPConnection(scope)) if key is None else f"key {key}"
            added = await self._limit.hit(caller)
        if retry_after_s := added.get("Retry-After"):
            remedy = f"try again in {retry_after_s} s"
            error = RequestError(429, LineupError("rate limit", f"at most {self._limit}", "got more", remedy), added)
        elif self._keys and key is None and scope["path"].rstrip("/") not in PUBLIC:
            expected, remedy = "Bearer and one of this server's keys", "ask its owner for one"
            refusal = LineupError("Authorization", expected, "got none of them", remedy)
            error = RequestError(401, refusal, {**added, "WWW-Authenticate": "Bearer"})
        elif via.is_loop(Headers(scope=scope).get(via.HEADER, "")):
            got, remedy = "this one has passed through it before, or through too many", "name another one"
            error = RequestError(508, LineupError("", "a Lineup that does not ask itself", got, remedy))
        else:
            await self._pass_on(scope, receive, send, added)
            return
        await problems.response(error)(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, added: Mapping[str, str]) -> None:
        async def limited(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(added)
            await send(message)

        # without the origin: Gradio's middleware would allow all
        headers = [(name, value) for name, value in scope["headers"] if name != b"origin"]
        await self._app({**scope, "headers": headers}, receive, limited)


class RateLimit:
    """Counts requests in windows that each begin with a client's first request.

    Args:
        text: the limit, in the notation of the library `limits`.
    """

    def __init__(self, text: str) -> None:
        from limits import aio, parse  # takes 0.1 s, and is seldom needed

        self._item: RateLimitItem = parse(text)
        self._limiter = aio.strategies.FixedWindowRateLimiter(aio.storage.MemoryStorage())

    def __str__(self) -> str:
        return f"{self._item.amount} requests in {self._item.get_expiry()} s"

    async def hit(self, client: str) -> dict[str, str]:
        """Count a request, and return headers of its response: with Retry-After if it is one too many."""
        is_allowed = await self._limiter.hit(self._item, client)
        stats = await self._limiter.get_window_stats(self._item, client)
        reset_s = max(1, math.ceil(stats.reset_time - time.time()))
        headers = {
            "RateLimit-Policy": f'"default";q={self._item.amount};w={self._item.get_expiry()}',
            "RateLimit": f'"default";r={stats.remaining};t={reset_s}',
        }
        return headers if is_allowed else {**headers, "Retry-After": str(reset_s)}


class _Problems:
    """An ASGI `send` that turns refusals of the server's other middleware into problem details."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            headers = Headers(raw=message["headers"])
            self._start = message if headers.get("content-type") != PROBLEM_TYPE else None
        if self._start is None:
            await self._send(message)
        elif message["type"] == "http.response.body":
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._replace(self._start)

    async def _replace(self, start: Message) -> None:
        status, refusal, headers = start["status"], client_of(self._scope).refusal, MutableHeaders(raw=start["headers"])
        error = refusal if isinstance(refusal, LineupError) else LineupError("", "", self._text(status, headers))
        replaced = JSONResponse(error.to_problem(status), status, media_type=PROBLEM_TYPE)
        del headers["Content-Encoding"]  # of the body that is replaced
        headers.update(replaced.headers)
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": replaced.body})

    def _text(self, status: int, headers: Headers) -> str:
        if status == 500:
            return INTERNAL_ERROR
        is_text = headers.get("content-type", "").startswith("text/plain") and "content-encoding" not in headers
        return self._body[:200].decode(errors="replace") if is_text else HTTPStatus(status).phrase
