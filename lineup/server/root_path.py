"""Serves the page under a sub-path of a reverse proxy, which `GRADIO_ROOT_PATH` names.

FastAPI sets `root_path` to it, and Starlette then expects it at the beginning of each path, as ASGI has it: without it,
routes below a mount are not found, and redirects lead out of the sub-path. Some proxies remove it, others do not.
"""

from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send


class RemoveRootPathMiddleware:
    """Removes the sub-path from a request's path, for the middleware that follows.

    Args:
        app: the app to pass requests on to.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the path that it has without a proxy."""
        prefix = urlsplit(scope.get("root_path", "")).path.rstrip("/")  # the setting may be a whole URL
        if prefix and scope["type"] == "http":
            path = scope["path"]
            if path == prefix or path.startswith(f"{prefix}/"):
                path = path.removeprefix(prefix) or "/"
            scope = {**scope, "path": path, "root_path": "", "app_root_path": prefix}
        await self._app(scope, receive, send)


class AddRootPathMiddleware:
    """Adds the sub-path to a request's path again, for the routes of Gradio.

    Args:
        app: the app to pass requests on to.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the path that ASGI demands."""
        if prefix := scope.get("app_root_path", ""):
            scope = {**scope, "path": prefix + scope["path"], "root_path": prefix}
        await self._app(scope, receive, send)
