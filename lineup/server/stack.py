"""The middleware in front of Gradio, and its order.

Gradio reads a request's body before it rejects the request, and serves routes that are not needed here. This
middleware decides first.
"""

from collections.abc import Sequence

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from lineup.page.connections import Connections
from lineup.server.admission import Admission, AdmissionMiddleware
from lineup.server.allowlist import AllowlistMiddleware
from lineup.server.body_limit import BodyLimitMiddleware
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
        Middleware(AdmissionMiddleware, admission, connections, sessions),
        Middleware(BodyLimitMiddleware, service, admission, routes),
        Middleware(MalformedBodyMiddleware),
        Middleware(PreviewsMiddleware, service),
        Middleware(AddRootPathMiddleware),
    ]
