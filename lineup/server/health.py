"""The routes of liveness and readiness."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lineup.server.responses import detail
from lineup.service import Service


def routes(service: Service) -> list[Route]:
    """Return ``/healthz``, which answers 200, and ``/readyz``: 503 until the default backbone is ready."""

    async def healthz(_: Request) -> Response:
        return detail(200, "ok")

    async def readyz(_: Request) -> Response:
        problem = service.not_ready_reason
        return detail(503, problem) if problem else detail(200, "ok")

    return [Route("/healthz", healthz), Route("/readyz", readyz)]
