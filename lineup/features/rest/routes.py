"""The routes below /v1: one request, one answer."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from lineup.errors import INTERNAL_ERROR, BackboneError, ClientDisconnected, LineupError
from lineup.features.rest import REST, answers, bodies, openapi, parameters, problems
from lineup.features.rest.problems import RequestError
from lineup.inference.queue import Cancelled
from lineup.page.connections import on_thread
from lineup.service import Service

_log = logging.getLogger(__name__)
T = TypeVar("T")
Call = Callable[[Service, str, bodies.Body, parameters.Parameters, Cancelled], Any]

EMBEDDING = "/embedding"
_CSP = "default-src 'none'; style-src 'unsafe-inline'"
_HEADERS = {"Cache-Control": "no-store", "Vary": "Accept"}


def routes(service: Service) -> list[BaseRoute]:
    """Return the routes, unless they are switched off."""
    if not service.config.rest.enabled:
        return []
    return [
        ApiRoute("/v1/models", _models, "GET", service),
        ApiRoute("/v1/models/{name:path}", _model, "GET", service),
        ApiRoute("/v1/models/{name:path}", _post_model, "POST", service),
        ApiRoute("/v1/compare", _post_compare, "POST", service),
        ApiRoute("/v1/openapi.json", _openapi, "GET", service),
        ApiRoute("/v1/docs", _docs, "GET", service),
    ]


class ApiRoute(Route):
    """A route whose errors are problem details. The limit of its body is for the server's middleware."""

    def __init__(self, path: str, answer: Callable[..., Any], method: str, service: Service) -> None:
        self._service, self._answer = service, answer
        super().__init__(path, self._respond, methods=[method])

    @property
    def max_body_bytes(self) -> int:
        """The limit of a body."""
        return bodies.max_body_bytes(self._service.config.limits)

    async def _respond(self, request: Request) -> Response:
        try:
            response: Response = await self._answer(self._service, request)
            return response
        except LineupError as error:
            limits = self._service.config.limits
            return problems.response(error, limits.queue_size * self._service.mean_compute_s)
        except HTTPException:
            raise  # of the body limit
        except ClientDisconnect:  # before the body was complete
            return problems.response(ClientDisconnected())
        except Exception:
            _log.exception("%s failed", request.url.path)
            return problems.response(RequestError(500, LineupError("", "", INTERNAL_ERROR)))


# --- what there is ---


async def _openapi(service: Service, request: Request) -> Response:
    return JSONResponse(openapi.document(request.scope.get("root_path", "")))


async def _docs(service: Service, request: Request) -> Response:
    address = str(request.base_url).rstrip("/")
    return HTMLResponse(openapi.page(address, service.names), headers={"Content-Security-Policy": _CSP})


async def _models(service: Service, request: Request) -> Response:
    answers.accepted(request)
    models = [status.to_json() for status in service.backbones()]
    return JSONResponse({"default": service.config.default_name, "models": models}, headers=_HEADERS)


async def _model(service: Service, request: Request) -> Response:
    answers.accepted(request)
    return JSONResponse(service.status(_known(service, request)).to_json(), headers=_HEADERS)


def _known(service: Service, request: Request) -> str:
    """Return the name of the backbone in the path.

    Raises:
        RequestError: when there is none.
    """
    try:
        return service.known(request.path_params["name"])
    except BackboneError as error:
        raise RequestError(404, error) from None


# --- answers ---


async def _post_model(service: Service, request: Request) -> Response:
    path = request.path_params["name"]
    if path.endswith(EMBEDDING) and path not in service.names:
        request.path_params["name"] = path.removesuffix(EMBEDDING)
        return await _answered(service, request, _known(service, request), ("details",), _embed)
    allowed = ("top_k", "function_to_apply", "details")
    return await _answered(service, request, _known(service, request), allowed, _classify)


async def _post_compare(service: Service, request: Request) -> Response:
    return await _answered(service, request, "", ("top_k", "backbones"), _compare)


async def _answered(service: Service, request: Request, name: str, allowed: Sequence[str], call: Call) -> Response:
    """Read a body, and answer it on a thread, with a cancel flag that is set when the client disconnects."""
    accepted, kind, query = answers.accepted(request), bodies.content_type(request), request.query_params.multi_items()
    parameters.parse(query, {}, allowed)  # before the body is read
    form = await bodies.read_form(request) if kind == "multipart/form-data" else None
    content = b"" if form else await request.body()

    def answer(cancelled: Cancelled) -> Any:
        body = form or bodies.parsed(kind, content)
        asked = parameters.parse([*query, *body.texts], body.typed or {}, allowed)
        asked = replace(asked, details=asked.details or accepted == answers.DETAILS)
        return call(service, name, body, asked, cancelled)

    return JSONResponse(await _while_connected(request, answer), headers=_HEADERS, media_type=accepted)


async def _while_connected(request: Request, call: Callable[[Cancelled], T]) -> T:
    """Return the result of a call on a thread, which is not left before it ends: running requests are bounded."""
    gone = threading.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watcher = asyncio.create_task(watch())
    try:
        return await on_thread(call, gone.is_set)
    finally:
        gone.set()
        watcher.cancel()


def _classify(
    service: Service, name: str, body: bodies.Body, asked: parameters.Parameters, cancelled: Cancelled
) -> Any:
    found = []
    for image in body.images:
        options: dict[str, Any] = {"cancelled": cancelled, "scores": asked.scores, "model_input": False, "client": REST}
        ((_, answer),) = service.answers(image, [name], asked.top_k, **options)
        if isinstance(answer, LineupError):
            raise answer
        found.append(answer.to_json() if asked.details else answers.scored(answer))
    return found if body.is_list else found[0]


def _compare(service: Service, _: str, body: bodies.Body, asked: parameters.Parameters, cancelled: Cancelled) -> Any:
    try:
        names = None if asked.backbones is None else service.comparable(asked.backbones)
    except BackboneError as error:
        raise RequestError(400, error) from None
    found = [
        service.compare(image, names, asked.top_k, cancelled, model_input=False, client=REST).to_json()
        for image in body.images
    ]
    return found if body.is_list else found[0]


def _embed(service: Service, name: str, body: bodies.Body, asked: parameters.Parameters, cancelled: Cancelled) -> Any:
    found = list[Any]()
    with service.pinned(name, "features") as pinned:
        for image in body.images:
            batch = pinned.prepared(image)
            with service.turn(cancelled, REST):
                output = pinned.forward(batch)
            features = output.logits[0].tolist()
            details = {"backbone": name, "embedding": features, "engine": output.engine}
            found.append(details if asked.details else features)
    return found if body.is_list else found[0]
