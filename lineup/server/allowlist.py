"""Which addresses exist: what the page, Gradio's clients and MCP clients ask for."""

API = "/gradio_api/"
# Everything that the page, Gradio's clients and MCP clients ask for; what else Gradio serves does not exist here.
GET = ("/", "/config", "/favicon.ico", "/manifest.json", "/robots.txt", "/theme.css", "/login_check", "/token", "/user")
GET_UNDER = ("/assets/", "/static/", "/svelte/")
API_GET: tuple[str, ...] = ("app_id", "info", "openapi.json", "queue/data", "queue/status", "startup-events")
API_GET += ("login_check", "theme.css", "token", "upload_progress", "user")
API_GET_UNDER = ("call/", "file=", "heartbeat/")
API_POST = ("upload", "queue/join", "cancel", "reset")
API_POST_UNDER = ("call/",)
MCP = "/gradio_api/mcp"


def exists(method: str, path: str) -> bool:
    """Tell whether an address is one of those that are served here."""
    if path == MCP or path.startswith(f"{MCP}/"):
        return True
    below = path.removeprefix(API) if path.startswith(API) else ""
    if method in ("GET", "HEAD"):
        if below:
            served = below.rstrip("/") in API_GET or below.startswith(API_GET_UNDER)
            return served and not below.startswith(("file=http:", "file=https:"))
        return path in GET or path.startswith(GET_UNDER)
    if method == "OPTIONS":
        return True  # answered by Gradio's CORS rules
    return method == "POST" and bool(below) and (below.rstrip("/") in API_POST or below.startswith(API_POST_UNDER))


def normalized(path: str) -> str:
    return path if len(path) == 1 or not path.endswith("/") or path.startswith((API, *GET_UNDER)) else path.rstrip("/")
