"""Allowlist of routes: the pages, the added routes, and what the page, Gradio's clients and MCP clients request."""

from collections.abc import Iterable, Sequence

import gradio as gr
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from lineup.server.responses import detail

API = "/gradio_api/"
# Gradio's other routes return 404.
GET = ("/config", "/favicon.ico", "/manifest.json", "/robots.txt", "/theme.css", "/login_check", "/token", "/user")
GET_UNDER = ("/assets/", "/static/", "/svelte/")
API_GET: tuple[str, ...] = ("app_id", "info", "openapi.json", "queue/data", "queue/status", "startup-events")
API_GET += ("login_check", "theme.css", "token", "upload_progress", "user")
API_GET_UNDER = ("call/", "file=", "heartbeat/")
API_POST = ("upload", "queue/join", "cancel", "reset")
API_POST_UNDER = ("call/",)
MCP = "/gradio_api/mcp"


def page_paths(blocks: gr.Blocks) -> frozenset[str]:
    """Return the paths of the pages: ``/``, and one for each `Blocks.route`."""
    return frozenset(f"/{page[0]}" for page in blocks.pages)


def is_allowed(method: str, path: str, pages: Iterable[str] = ("/",)) -> bool:
    """Return whether a route of Gradio's is served."""
    if path == MCP or path.startswith(f"{MCP}/"):
        return True
    endpoint = path.removeprefix(API) if path.startswith(API) else ""
    if method in ("GET", "HEAD"):
        if endpoint:
            allowed = endpoint.rstrip("/") in API_GET or endpoint.startswith(API_GET_UNDER)
            return allowed and not endpoint.startswith(("file=http:", "file=https:"))
        return path in pages or path in GET or path.startswith(GET_UNDER)
    if method == "OPTIONS":
        return True  # answered by Gradio's CORS middleware
    return (
        method == "POST"
        and bool(endpoint)
        and (endpoint.rstrip("/") in API_POST or endpoint.startswith(API_POST_UNDER))
    )


def normalized(path: str) -> str:
    """Return a path without its trailing slash, except for the API and static files."""
    return path if len(path) == 1 or not path.endswith("/") or path.startswith((API, *GET_UNDER)) else path.rstrip("/")


class AllowlistMiddleware:
    """Answers 404 unless a route is one of the pages, of the added routes, or of Gradio's that are needed.

    Args:
        app: the app to pass requests on to.
        blocks: the pages.
        routes: the routes that are served beside them.
    """

    def __init__(self, app: ASGIApp, blocks: gr.Blocks, routes: Sequence[BaseRoute] = ()) -> None:
        self._app, self._pages, self._routes = app, page_paths(blocks), routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404, or pass the request on."""
        if scope["type"] == "http":
            path = normalized(scope["path"])
            if not (is_allowed(scope["method"], path, self._pages) or self._is_added({**scope, "path": path})):
                problem = f"{path[:100]}: expected a path that is served; got an unknown one; see / or {API}info"
                await detail(404, problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_added(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self._routes)
