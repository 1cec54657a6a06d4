"""The JSON answers of the middleware."""

from starlette.responses import JSONResponse


def detail(status: int, text: str, retry_after_s: int = 0) -> JSONResponse:
    """Return a response ``{"detail": …}``, with a Retry-After header unless that is 0."""
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else None
    return JSONResponse({"detail": text}, status, headers)
