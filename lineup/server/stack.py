"""The middleware in front of Gradio, and its order.

Gradio reads a request's body before it rejects the request, and serves routes that are not needed here. This
middleware decides first.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from lineup.page.client_address import Proxies
from lineup.page.connections import Connections
from lineup.server.admission import Admission, AdmissionMiddleware
from lineup.server.allowlist import AllowlistMiddleware
from lineup.server.body_limit import BodyLimitMiddleware
from lineup.server.direct_routes import DirectRoutesMiddleware
from lineup.server.disconnects import DisconnectsMiddleware
from lineup.server.malformed_bodies import MalformedBodyMiddleware
from lineup.server.mcp_refusals import McpRefusalMiddleware
from lineup.server.previews import PreviewsMiddleware
from lineup.server.root_path import AddRootPathMiddleware, RemoveRootPathMiddleware
from lineup.server.sessions import Sessions
from lineup.service import Service


def middleware(
    service: Service,
    blocks: gr.Blocks,
    connections: Connections,
    admission: Admission,
    sessions: Sessions,
    routes: Sequence[BaseRoute],
) -> list[Middleware]:
    """Return the middleware, from the first that sees a request to the last."""
    return [
        Middleware(RemoveRootPathMiddleware),
        Middleware(AllowlistMiddleware, blocks, routes),
        Middleware(DisconnectsMiddleware, connections, sessions),
        Middleware(McpRefusalMiddleware),
        Middleware(AdmissionMiddleware, admission, connections, sessions, Proxies(service.config.trusted_proxies)),
        Middleware(BodyLimitMiddleware, service, admission, routes),
        Middleware(MalformedBodyMiddleware),
        Middleware(PreviewsMiddleware, service),
        Middleware(AddRootPathMiddleware),
    ]


def direct(
    service: Service,
    connections: Connections,
    admission: Admission,
    sessions: Sessions,
    routes: Sequence[BaseRoute],
) -> Middleware:
    """Return the middleware that serves routes without the rest, to come before it."""
    return Middleware(DirectRoutesMiddleware, service, connections, admission, sessions, routes)


Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


def outermost(added: Sequence[Middleware], lifespan: Lifespan) -> Lifespan:
    """Return a lifespan that puts middleware in front of all other, also of Gradio's own, whose CORS answers first.

    Gradio adds its own in front of all that it is given; Starlette has built the whole stack when the lifespan begins.

    Args:
        added: the middleware, from the first that sees a request; it sees paths without the sub-path of a proxy.
        lifespan: the lifespan of the app.
    """

    @asynccontextmanager
    async def started(app: Any) -> AsyncIterator[None]:
        front: ASGIApp = app.middleware_stack  # its last one adds the sub-path again
        for each in reversed(added):
            front = each.cls(front, *each.args, **each.kwargs)
        app.middleware_stack = RemoveRootPathMiddleware(front)
        async with lifespan(app):
            yield

    return started if added else lifespan
