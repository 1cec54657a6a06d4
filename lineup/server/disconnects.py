"""Records which sessions have an open connection."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from lineup.page.connections import Connections
from lineup.server.allowlist import API
from lineup.server.responses import detail
from lineup.server.sessions import Sessions


class DisconnectsMiddleware:
    """Records when a connection that receives answers opens and closes; answers 404 for an unknown event.

    Args:
        app: the app to pass requests on to.
        connections: the open connections of each session.
        sessions: the session of each event.
    """

    def __init__(self, app: ASGIApp, connections: Connections, sessions: Sessions) -> None:
        self._app, self._connections, self._sessions = app, connections, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and record its connection while it is open."""
        session = self._session(scope) if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else ""
        if session is None:
            problem = f"{scope['path'][:100]}: expected a pending event; got an unknown one; send a new request"
            await detail(404, problem)(scope, receive, send)
            return
        if session:
            self._sessions.use(session)
            self._connections.opened(session)
        try:
            await self._app(scope, receive, send)
        finally:
            if session:
                self._connections.closed(session)
                self._sessions.use(session)

    def _session(self, scope: Scope) -> str | None:
        """Return the session whose answers a request receives; empty if it receives none, None if it is unknown.

        The query has the session, or the path has an event of it.
        """
        path = scope["path"].rstrip("/")
        if path == f"{API}queue/data":
            return Request(scope).query_params.get("session_hash", "")
        return self._sessions.of_event(path.rpartition("/")[2]) if path.startswith(f"{API}call/") else ""
