"""The routes of liveness and readiness."""

import logging
from collections.abc import Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lineup.server.responses import detail
from lineup.service import Service

_log = logging.getLogger(__name__)

Warnings = Callable[[Service], list[str]]


def routes(service: Service, warnings: Iterable[Warnings] = ()) -> list[Route]:
    """Return ``/healthz``, which answers 200, and ``/readyz``: 503 until the default backbone is ready.

    Args:
        service: the service.
        warnings: functions that return problems in spite of which the server is ready; the detail names them.
    """
    warnings = tuple(warnings)

    async def healthz(_: Request) -> Response:
        return detail(200, "ok")

    async def readyz(_: Request) -> Response:
        problem = service.not_ready_reason
        return detail(503, problem) if problem else detail(200, "; ".join(_warnings(service, warnings)) or "ok")

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


def _warnings(service: Service, functions: Iterable[Warnings]) -> list[str]:
    """Return the warnings of all functions; one that fails must not end the server's readiness."""
    found = list[str]()
    for function in functions:
        try:
            found += function(service)
        except Exception:
            _log.exception("a feature cannot report its warnings")
    return found
