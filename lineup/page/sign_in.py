"""The owner's pages: signing in and out, and the routes that only the owner can use.

They are plain HTML, beside Gradio's pages. Gradio's server allows requests of other sites with credentials, so each
request is checked for where it comes from.
"""

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from lineup.errors import BusyError, LineupError
from lineup.page.client_address import Proxies
from lineup.page.owner_session import SESSION_S, VARIABLE, OwnerSession, Refusal
from lineup.page.templates import read_script, render

PATH = "/owner"
COOKIE = "lineup-owner"
MAX_FORM_BYTES = 4096
_STYLES = ("style.css", "owner.css")
_SELF = "'self'"
_POLICY = {
    "default-src": "'none'",
    "script-src": _SELF,
    "style-src": _SELF,
    "img-src": _SELF,
    "connect-src": _SELF,
    "form-action": _SELF,
    "base-uri": "'none'",
}
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class View:
    """A page that the navigation leads to.

    Attributes:
        address: below ``/owner``, with its query.
        text: of the link.
        count: how many things are there, if that is shown.
    """

    address: str
    text: str
    count: Callable[[], int] | None = None


class OwnerPages:
    """Creates the routes below ``/owner``.

    Attributes:
        views: what the navigation leads to, by address.

    Args:
        session: the owner's sessions.
        title: of the page.
        proxies: decide whose attempts are counted.
        space: whether this is a Space, which shows its app in a frame of huggingface.co.
    """

    def __init__(self, session: OwnerSession, title: str, proxies: Proxies, space: bool | None = None) -> None:
        self._session, self._title, self._proxies = session, title, proxies
        self.views = dict[str, View]()
        self._is_space = bool(os.environ.get("SPACE_ID")) if space is None else space
        ancestors = "https://huggingface.co" if self._is_space else "'none'"
        policy = _POLICY | {"frame-ancestors": ancestors}
        self._headers = {
            "Cache-Control": "no-store",
            "Content-Security-Policy": "; ".join(f"{key} {value}" for key, value in policy.items()),
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "same-origin",  # "no-referrer" would take the origin from a form
            "X-Content-Type-Options": "nosniff",
            "X-Robots-Tag": "noindex",
        }

    def add(self, view: View) -> None:
        """Add a view to the navigation of all."""
        self.views[view.address] = view

    def frame(self, request: Request, current: View) -> dict[str, Any]:
        """Return the values of the template ``owner_frame.html`` for a view."""
        views = [(view, view.count() if view.count else None, view == current) for view in self.views.values()]
        return {"title": self._title, "root": root_of(request), "heading": current.text, "navigation": views}

    def routes(self) -> list[Route]:
        """Return the routes of signing in and out, and of the files of all pages.

        If no view has the address ``/owner`` itself, it leads to the first one.
        """
        first = [] if "" in self.views else [*self.views][:1]
        here = Path(__file__).parent
        styles = "\n".join((here / name).read_text(encoding="utf-8") for name in _STYLES)
        script = read_script("owner") + "{ const element = document;" + read_script("copying") + "}"
        return [
            self._route("/sign-in", self._form, ("GET",), is_open=True),
            self._route("/sign-in", self._sign_in, ("POST",), is_open=True),
            self._route("/sign-out", self._sign_out, ("POST",), is_open=True),
            self.file("/style.css", styles, "text/css"),
            self.file("/owner.js", script, "text/javascript"),
            *(self._route("", partial(_lead, address), ("GET",), is_page=True) for address in first),
        ]

    def page(self, path: str, html: Callable[[Request], str]) -> Route:
        """Return the route of a page; without a session it leads to the sign-in.

        Args:
            path: below ``/owner``.
            html: renders it, on a thread; may raise LineupError, which is shown.
        """

        async def endpoint(request: Request) -> Response:
            try:
                return HTMLResponse(await run_sync(html, request))
            except LineupError as error:
                values = {"title": self._title, "root": root_of(request), "problem": error}
                return HTMLResponse(render("owner_problem.html", **values), 503)

        return self._route(path, endpoint, ("GET",), is_page=True)

    def get(self, path: str, endpoint: Endpoint) -> Route:
        """Return a route that is read."""
        return self._route(path, endpoint, ("GET",))

    def post(self, path: str, act: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Route:
        """Return a route that takes and returns a JSON object; `act` runs on a thread, and may raise LineupError."""

        async def endpoint(request: Request) -> Response:
            try:
                values = _json_object(request.headers.get("content-type", ""), await request.body())
                return JSONResponse(await run_sync(act, values))
            except LineupError as error:
                return JSONResponse({"detail": str(error)}, 503 if isinstance(error, BusyError) else 400)

        return self._route(path, endpoint, ("POST",))

    def file(self, path: str, text: str, media_type: str) -> Route:
        """Return the route of a file of the pages, which need not be hidden."""

        async def endpoint(_: Request) -> Response:
            return Response(text, media_type=media_type)

        return self._route(path, endpoint, ("GET",), is_open=True)

    def _route(
        self, path: str, endpoint: Endpoint, methods: tuple[str, ...], is_open: bool = False, is_page: bool = False
    ) -> Route:
        async def guarded(request: Request) -> Response:
            if _is_of_another_site(request):
                response: Response = _refused(
                    403, "one of this page", "it comes from another site", "open the page here"
                )
            elif is_open or self._session.is_signed_in(request.cookies.get(COOKIE, "")):
                response = await endpoint(request)
            elif is_page:
                response = RedirectResponse(f"{root_of(request)}{PATH}/sign-in", 303)
            else:
                response = _refused(401, "a signed-in owner", "there is no session, or it has ended", "sign in again")
            response.headers.update(self._headers)
            return response

        return Route(f"{PATH}{path}", guarded, methods=list(methods))

    async def _form(self, request: Request) -> Response:
        if self._session.is_signed_in(request.cookies.get(COOKIE, "")):
            return RedirectResponse(f"{root_of(request)}{PATH}", 303)
        return self._rendered(request)

    def _rendered(self, request: Request, refusal: Refusal | None = None) -> Response:
        values = {"title": self._title, "root": root_of(request), "variable": VARIABLE, "refusal": refusal}
        status = 200 if refusal is None else 429 if refusal.retry_after_s else 401
        response = HTMLResponse(render("sign_in.html", **values), status)
        if refusal and refusal.retry_after_s:
            response.headers["Retry-After"] = str(refusal.retry_after_s)
        return response

    async def _sign_in(self, request: Request) -> Response:
        token = _token_in(request.headers.get("content-type", ""), await request.body())
        outcome = self._session.login(token, self._proxies.address_of(request))
        if isinstance(outcome, Refusal):
            return self._rendered(request, outcome)
        response = RedirectResponse(f"{root_of(request)}{PATH}", 303)
        self._set_cookie(request, response, outcome, SESSION_S)
        return response

    async def _sign_out(self, request: Request) -> Response:
        self._session.logout(request.cookies.get(COOKIE, ""))
        response = RedirectResponse(f"{root_of(request)}{PATH}/sign-in", 303)
        self._set_cookie(request, response, "", 0)
        return response

    def _set_cookie(self, request: Request, response: Response, value: str, max_age_s: int) -> None:
        # in the frame of another site, browsers send no other cookies; Starlette knows Partitioned from Python 3.14
        site = "SameSite=None; Secure; Partitioned" if self._is_space else "SameSite=Strict"
        secure = "; Secure" if not self._is_space and _is_tls(request) else ""
        path = f"{root_of(request)}{PATH}"
        text = f"{COOKIE}={value}; HttpOnly; Max-Age={max_age_s}; Path={path}; {site}{secure}"
        response.headers.append("Set-Cookie", text)


async def _lead(address: str, request: Request) -> Response:
    return RedirectResponse(f"{root_of(request)}{PATH}{address}", 303)


def root_of(request: Request) -> str:
    """Return the sub-path of a reverse proxy, without a slash at its end; empty if there is none."""
    return urlsplit(request.scope.get("root_path", "")).path.rstrip("/")


def _is_tls(request: Request) -> bool:
    # a client that sends the header itself only restricts its own cookie
    proxied = request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    return "https" in (request.url.scheme, proxied)


def _is_of_another_site(request: Request) -> bool:
    """Return whether a page of another site caused a request; one that changes something has to show that none did."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    own = origin is not None and urlsplit(origin).netloc == request.headers.get("host", "")
    if request.method in ("GET", "HEAD"):
        return origin is not None and not own
    # browsers send the latter over TLS and on localhost only; `none` is a reload by the user
    return not own if site is None else site not in ("same-origin", "none")


def _token_in(content_type: str, body: bytes) -> str:
    """Return the token of a form; empty if there is none."""
    if content_type.split(";")[0].strip().lower() != "application/x-www-form-urlencoded" or len(body) > MAX_FORM_BYTES:
        return ""
    try:
        return parse_qs(body.decode(errors="replace"), max_num_fields=8).get("token", [""])[0].strip()
    except ValueError:  # more fields
        return ""


def _json_object(content_type: str, body: bytes) -> Mapping[str, Any]:
    """Read a body. Forms of other sites cannot send its content type."""
    if content_type.split(";")[0].strip().lower() != "application/json":
        raise LineupError("request", "application/json", f"got {content_type[:60]!r}", "reload the page")
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise LineupError("request", "a JSON object", "got something else", "reload the page")
    return values


def _refused(status: int, expected: str, got: str, remedy: str) -> JSONResponse:
    return JSONResponse({"detail": str(LineupError("request", expected, got, remedy))}, status)
