"""The JSON answers of the middleware."""

from collections.abc import Mapping

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from lineup.errors import LineupError
from lineup.page.clients import client_of


class _Detail(JSONResponse):
    """A response ``{"detail": …}``, which a feature's middleware may replace: the client has the error itself."""

    def __init__(self, status: int, problem: str | LineupError, headers: Mapping[str, str]) -> None:
        self._problem = problem
        super().__init__({"detail": str(problem)}, status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client_of(scope).refusal = self._problem
        await super().__call__(scope, receive, send)


def detail(status: int, problem: str | LineupError, retry_after_s: int = 0) -> JSONResponse:
    """Return a response ``{"detail": …}``, with a Retry-After header unless that is 0."""
    return _Detail(status, problem, {"Retry-After": str(retry_after_s)} if retry_after_s else {})
