"""Serves routes without the middleware of Gradio's app, which takes longer than a small network.

Gradio's app has some twenty layers for its own routes: sessions, compression, CORS, pages. A route that has a guard of
its own needs none of them.
"""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from lineup.page.client_address import Proxies
from lineup.page.connections import Connections
from lineup.server.admission import Admission, AdmissionMiddleware
from lineup.server.body_limit import BodyLimitMiddleware
from lineup.server.root_path import AddRootPathMiddleware
from lineup.server.sessions import Sessions
from lineup.service import Service

_ROUTE = "lineup.route"  # of an ASGI scope


class DirectRoutesMiddleware:
    """Hands requests to the routes with a true attribute `is_direct`, through admission and body limit alone.

    Unknown paths and wrong methods are left to the app.

    Args:
        app: the app to pass all other requests on to.
        service: the service, for its limits.
        connections: the requests.
        admission: the queue slots.
        sessions: the sessions of the page's events.
        routes: the added routes.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        connections: Connections,
        admission: Admission,
        sessions: Sessions,
        routes: Sequence[BaseRoute],
    ) -> None:
        self._app, self._routes = app, [route for route in routes if getattr(route, "is_direct", False)]
        limited = BodyLimitMiddleware(AddRootPathMiddleware(_handle), service, admission, self._routes)
        proxies = Proxies(service.config.trusted_proxies)
        self._direct = AdmissionMiddleware(limited, admission, connections, sessions, proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to its route, or to the app."""
        if scope["type"] == "http":
            for route in self._routes:
                match, found = route.matches(scope)
                if match is Match.FULL:
                    await self._direct({**scope, **found, _ROUTE: route}, receive, send)
                    return
        await self._app(scope, receive, send)


async def _handle(scope: Scope, receive: Receive, send: Send) -> None:
    await scope[_ROUTE].handle(scope, receive, send)
