"""Allowlist of routes: the pages, the added routes, and what the page, Gradio's clients and MCP clients request."""

from collections.abc import Iterable, Sequence

import gradio as gr
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from lineup.errors import LineupError
from lineup.page.clients import client_of
from lineup.server.responses import detail

API = "/gradio_api/"
# Gradio's other routes return 404.
GET = ("/config", "/favicon.ico", "/manifest.json", "/robots.txt", "/theme.css", "/login_check", "/token", "/user")
GET_UNDER = ("/assets/", "/static/", "/svelte/")
API_GET: tuple[str, ...] = ("app_id", "info", "openapi.json", "queue/data", "queue/status", "startup-events")
API_GET += ("login_check", "theme.css", "token", "upload_progress", "user")
API_POST = ("upload", "queue/join", "cancel", "reset")
MCP = "/gradio_api/mcp"
MCP_METHODS = {  # by the rest of the path
    **dict.fromkeys(("", "/http"), ("GET", "POST")),
    **dict.fromkeys(("/schema", "/sse"), ("GET",)),
    "/messages": ("POST",),
}


def page_paths(blocks: gr.Blocks) -> frozenset[str]:
    """Return the paths of the pages: ``/``, and one for each `Blocks.route`."""
    return frozenset(f"/{page[0]}" for page in blocks.pages)


def is_mcp(path: str) -> bool:
    """Return whether a path is that of MCP, or below it."""
    return path == MCP or path.startswith(f"{MCP}/")


def gradio_methods(path: str, pages: Iterable[str] = ("/",)) -> tuple[str, ...]:
    """Return the methods with which a route of Gradio's is served; none if it is not."""
    if is_mcp(path):
        return MCP_METHODS.get(path.removeprefix(MCP).rstrip("/"), ())
    if path.startswith(API):
        return _api_methods(path.removeprefix(API))
    if path == "/":
        return ("GET", "HEAD")
    return ("GET",) if path in pages or path in GET or path.startswith(GET_UNDER) else ()


def _api_methods(endpoint: str) -> tuple[str, ...]:
    name = endpoint.rstrip("/")
    if name in API_POST:
        return ("POST",)
    if endpoint.startswith("file="):
        return () if endpoint.startswith(("file=http:", "file=https:")) else ("GET", "HEAD")
    if call := name.removeprefix("call/").removeprefix("v2/") if name.startswith("call/") else "":
        return ("GET",) if "/" in call else ("POST",)  # an event of an endpoint, or the endpoint
    return ("GET",) if name in API_GET or endpoint.startswith("heartbeat/") else ()


def is_allowed(method: str, path: str, pages: Iterable[str] = ("/",)) -> bool:
    """Return whether a route of Gradio's is served with a method."""
    return method == "OPTIONS" or method in gradio_methods(path, pages)  # Gradio's CORS middleware answers OPTIONS


def normalized(path: str) -> str:
    """Return a path without its trailing slash, except for the API and static files."""
    return path if len(path) == 1 or not path.endswith("/") or path.startswith((API, *GET_UNDER)) else path.rstrip("/")


class AllowlistMiddleware:
    """Answers 404 unless a route is one of the pages, of the added routes, or of Gradio's that are needed.

    A known path with another method is answered with 405.

    Args:
        app: the app to pass requests on to.
        blocks: the pages.
        routes: the routes that are served beside them.
    """

    def __init__(self, app: ASGIApp, blocks: gr.Blocks, routes: Sequence[BaseRoute] = ()) -> None:
        self._app, self._pages, self._routes = app, page_paths(blocks), routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404 or 405, or pass the request on."""
        if scope["type"] == "http":
            path, method = normalized(scope["path"]), scope["method"]
            methods = {*gradio_methods(path, self._pages), *self._added_methods({**scope, "path": path})}
            if method not in methods and method != "OPTIONS":
                names, shown = ", ".join(sorted(methods)), path[:100]
                see = client_of(scope).documentation
                unknown = LineupError(shown, "a path that is served", "got an unknown one", f"see / or {see}")
                wrong = LineupError(shown, names.replace(", ", " or "), f"got {method[:20]}", f"see {see}")
                response = detail(405, wrong) if methods else detail(404, unknown)
                if methods:
                    response.headers["Allow"] = names
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _added_methods(self, scope: Scope) -> set[str]:
        matches = [(route, route.matches(scope)[0]) for route in self._routes]
        own = {method for route, match in matches if match is not Match.NONE for method in _methods_of(route)}
        return own | ({scope["method"]} if any(match is Match.FULL for _, match in matches) else set())


def _methods_of(route: BaseRoute) -> Iterable[str]:
    return getattr(route, "methods", None) or ()
