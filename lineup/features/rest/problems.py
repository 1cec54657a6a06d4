"""Errors as problem details (RFC 9457), with the four parts of Lineup's messages as members of their own."""

import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from lineup.errors import (
    PROBLEM_TYPE,
    BackboneError,
    BusyError,
    ClassesOnlyError,
    ClientDisconnected,
    FeaturesOnlyError,
    ForwardTimeout,
    HubError,
    ImageError,
    LineupError,
    UnknownBackboneError,
)

_MAX_RETRY_AFTER_S = 60
_STATUS: dict[type[LineupError], int] = {  # the first class that an error is an instance of
    ImageError: 422,
    UnknownBackboneError: 404,
    FeaturesOnlyError: 422,
    ClassesOnlyError: 422,
    ForwardTimeout: 504,
    HubError: 503,
    BusyError: 503,
    BackboneError: 500,  # of the config: neither the request nor a retry can change it
    ClientDisconnected: 499,  # which nothing receives
    LineupError: 400,
}


class RequestError(LineupError):
    """A request that is refused with a status of its own.

    Args:
        status: the status.
        error: what is wrong with the request.
        headers: more headers of the response.
    """

    def __init__(self, status: int, error: LineupError, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error.where, error.expected, error.got, error.remedy)
        self.status, self.headers = status, dict(headers or {})


def details(error: LineupError) -> dict[str, Any]:
    """Return an error as problem details, with the status of its response."""
    return error.to_problem(_status(error))


def _status(error: LineupError) -> int:
    if isinstance(error, RequestError):
        return error.status
    return next(status for kind, status in _STATUS.items() if isinstance(error, kind))


def response(error: LineupError, retry_after_s: float = 1) -> JSONResponse:
    """Return an error as a response.

    Args:
        error: the error.
        retry_after_s: after how long a retry may succeed, if it may.
    """
    status, headers = _status(error), dict(error.headers) if isinstance(error, RequestError) else {}
    if status == 503:
        headers["Retry-After"] = str(min(_MAX_RETRY_AFTER_S, max(1, math.ceil(retry_after_s))))
    return JSONResponse(error.to_problem(status), status, headers, media_type=PROBLEM_TYPE)
