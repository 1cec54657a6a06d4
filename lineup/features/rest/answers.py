"""What a client accepts, and answers in Hugging Face's schema or in the fuller one."""

from typing import Any

from starlette.requests import Request

from lineup.errors import LineupError
from lineup.features.rest.problems import RequestError
from lineup.results import Classification

JSON, DETAILS = "application/json", "application/vnd.lineup+json"


def accepted(request: Request) -> str:
    """Return the type of the answer that a client prefers: JSON, or DETAILS.

    Clients of Hugging Face ask for images where they send some, and get JSON.

    Raises:
        RequestError: when it accepts neither.
    """
    header = ",".join(request.headers.getlist("accept"))
    ranges = [_range(text) for text in header.split(",")[:100] if text.strip()] or [("*/*", 1.0)]
    weights = {kind: _weight(ranges, kind) for kind in (JSON, DETAILS)}
    if not any(weights.values()):
        got = f"got Accept: {header[:100]}"
        raise RequestError(406, LineupError("Accept", f"{JSON} or {DETAILS}", got, "accept one of them, or */*"))
    return DETAILS if weights[DETAILS] > weights[JSON] else JSON


def _range(text: str) -> tuple[str, float]:
    """Return a media range of an Accept header, and its weight from 0 to 1."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, min(1.0, max(0.0, float(value)))
            except ValueError:
                return name, 1.0
    return name, 1.0


def _weight(ranges: list[tuple[str, float]], kind: str) -> float:
    """Return the weight of the most specific range that has a media type; 0 if none has it."""
    for name in (kind, "application/*", "*/*"):
        if found := [weight for range_, weight in ranges if range_ == name]:
            return max(found)
    return max((weight for range_, weight in ranges if range_.startswith("image/")), default=0.0) if kind == JSON else 0


def scored(answer: Classification) -> list[dict[str, Any]]:
    """Return an answer in Hugging Face's schema, with the WordNet id of each class, if it has one."""
    return [{"label": each.label, "score": each.probability, "id": each.id} for each in answer.predictions]
