"""Allowlist of routes: those that the page, Gradio's clients and MCP clients request."""

API = "/gradio_api/"
# Gradio's other routes return 404.
GET = ("/", "/config", "/favicon.ico", "/manifest.json", "/robots.txt", "/theme.css", "/login_check", "/token", "/user")
GET_UNDER = ("/assets/", "/static/", "/svelte/")
API_GET: tuple[str, ...] = ("app_id", "info", "openapi.json", "queue/data", "queue/status", "startup-events")
API_GET += ("login_check", "theme.css", "token", "upload_progress", "user")
API_GET_UNDER = ("call/", "file=", "heartbeat/")
API_POST = ("upload", "queue/join", "cancel", "reset")
API_POST_UNDER = ("call/",)
MCP = "/gradio_api/mcp"


def is_allowed(method: str, path: str) -> bool:
    """Return whether a route is served."""
    if path == MCP or path.startswith(f"{MCP}/"):
        return True
    endpoint = path.removeprefix(API) if path.startswith(API) else ""
    if method in ("GET", "HEAD"):
        if endpoint:
            allowed = endpoint.rstrip("/") in API_GET or endpoint.startswith(API_GET_UNDER)
            return allowed and not endpoint.startswith(("file=http:", "file=https:"))
        return path in GET or path.startswith(GET_UNDER)
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
