"""The JSON answers of the middleware."""

from starlette.responses import JSONResponse

from lineup.errors import LineupError


def detail(status: int, problem: str | LineupError, retry_after_s: int = 0) -> JSONResponse:
    """Return a response ``{"detail": …}``, with an error's four parts, and a Retry-After header unless that is 0."""
    parts = problem.to_json() if isinstance(problem, LineupError) else {}
    parts.pop("error", "")
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else None
    return JSONResponse({"detail": str(problem), **parts}, status, headers)
