"""The classes that the page suggests where it asks what an image is, and the route that searches them."""

import functools
from collections.abc import Sequence

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lineup.analysis.class_search import ClassSearch, FoundClass
from lineup.errors import LineupError
from lineup.registry.labels import LabelSet
from lineup.service import Service

MAX_SEARCHES = 16  # selections of backbones whose classes are kept; LRU eviction


class _Identified:
    """A set of labels that is equal to itself only: comparing thousands of labels takes long."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identified) and other.labels is self.labels

    def __hash__(self) -> int:
        return id(self.labels)


@functools.lru_cache(MAX_SEARCHES)
def _search(*sets: _Identified) -> ClassSearch:
    return ClassSearch(each.labels for each in sets)


def search(service: Service, names: Sequence[str]) -> ClassSearch:
    """Return the classes of backbones, whose names must be known."""
    return _search(*(_Identified(labels) for name in names if (labels := service.labels(name))))


class ClassRoute(Route):
    """``GET /feedback/classes?backbone=a&backbone=b&text=cas``: the classes that fit a text, the best first."""

    def __init__(self, service: Service) -> None:
        super().__init__("/feedback/classes", self._answer, methods=["GET"])
        self._service = service

    async def _answer(self, request: Request) -> Response:
        names, text = request.query_params.getlist("backbone"), request.query_params.get("text", "")
        try:
            found = await run_in_threadpool(self._find, names, text)
        except LineupError as error:
            return JSONResponse(error.to_json(), 400)
        return JSONResponse([{"label": each.label, "synonyms": each.synonyms} for each in found])

    def _find(self, names: list[str], text: str) -> Sequence[FoundClass]:
        return search(self._service, self._service.comparable(names)).find(text)
