"""The routes below /v1: one request, one answer."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from lineup.errors import INTERNAL_ERROR, BackboneError, ClientDisconnected, LineupError, UnknownBackboneError
from lineup.features.rest import REST, answers, bodies, descriptions, openapi, parameters, problems
from lineup.features.rest.problems import RequestError
from lineup.hub import via
from lineup.inference.postprocessing import AnswerOptions
from lineup.inference.queue import Cancelled
from lineup.page.connections import charge, on_thread
from lineup.service import Service

_log = logging.getLogger(__name__)
T = TypeVar("T")
Endpoint = Callable[[Service, Request], Awaitable[Response]]
Call = Callable[[Service, str, bodies.Body, parameters.Parameters, Cancelled], Any]

EMBEDDING, FINGERPRINT = "/embedding", "Lineup-Fingerprint"
_CSP = "default-src 'none'; style-src 'unsafe-inline'"
_HEADERS = {"Cache-Control": "no-store", "Vary": "Accept"}


def routes(service: Service) -> list[BaseRoute]:
    """Return the routes, unless they are switched off."""
    if not service.config.rest.enabled:
        return []
    memory = bodies.Memory(lambda: service.config.limits)

    def post(call: Call, *allowed: str) -> Endpoint:
        return partial(_post, memory, call, allowed)

    classify, embed = post(_classify, "top_k", "function_to_apply", "details"), post(_embed, "details")
    return [
        ApiRoute("/v1/models", service, GET=_models),
        EmbeddingRoute("/v1/models/{name:path}/embedding", service, POST=embed),
        ApiRoute("/v1/models/{name:path}", service, GET=_model, POST=classify),
        ApiRoute("/v1/compare", service, POST=post(_compare, "top_k", "backbones")),
        ApiRoute("/v1/openapi.json", service, GET=_openapi),
        ApiRoute("/v1/docs", service, GET=_docs),
    ]


class ApiRoute(Route):
    """A route whose errors are problem details. The limit of its body is for the server's middleware.

    Attributes:
        is_direct: it needs none of Gradio's middleware: what it needs comes before.

    Args:
        path: the path.
        service: the service.
        answers: the function that answers, by method.
    """

    is_direct = True

    def __init__(self, path: str, service: Service, **answers: Endpoint) -> None:
        self._service, self._answers = service, answers
        super().__init__(path, self._respond, methods=[*answers])

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether the route has a request; the shorter of two paths has those of a longer one that does not."""
        match, found = super().matches(scope)
        name = found.get("path_params", {}).get("name", "")
        return (match, found) if self._has(name) else (Match.NONE, {})

    def _has(self, name: str) -> bool:
        return not name.endswith(EMBEDDING) or name in self._service.names

    @property
    def max_body_bytes(self) -> int:
        """The limit of a body."""
        return bodies.max_body_bytes(self._service.config.limits)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; OPTIONS with the methods."""
        if scope["method"] == "OPTIONS":
            headers = {"Allow": ", ".join(sorted({*(self.methods or ()), "OPTIONS"}))}
            await Response(status_code=204, headers=headers)(scope, receive, send)
        else:
            await super().handle(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        try:
            return await self._answers["GET" if request.method == "HEAD" else request.method](self._service, request)
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


class EmbeddingRoute(ApiRoute):
    """Returns features, unless a backbone has the name that the path is then."""

    def _has(self, name: str) -> bool:
        return f"{name}{EMBEDDING}" not in self._service.names


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
    accepted, name = answers.accepted(request), service.known(request.path_params["name"])
    given = [(key, value) for key, value in request.query_params.multi_items() if key == "details"]
    asked = parameters.parse(given, {}, ("details",))
    if not (asked.details or accepted == answers.DETAILS):
        return JSONResponse(service.status(name).to_json(), headers=_HEADERS)
    via.enter(request.headers.get(via.HEADER, ""))
    found = await on_thread(descriptions.described, service, name)
    headers = {**_HEADERS, "ETag": found.etag} if found.etag else _HEADERS
    return JSONResponse(found.to_json(), headers=headers, media_type=accepted)


# --- answers ---


async def _post(
    memory: bodies.Memory, call: Call, allowed: Sequence[str], service: Service, request: Request
) -> Response:
    """Read a body, and answer it on a thread, with a cancel flag that is set when the client disconnects."""
    accepted, kind, query = answers.accepted(request), bodies.content_type(request), request.query_params.multi_items()
    name = service.known(request.path_params["name"]) if "name" in request.path_params else ""
    parameters.parse(query, {}, allowed)  # before the body is read
    charge(request)
    via.enter(request.headers.get(via.HEADER, ""))
    headers = dict(_HEADERS)

    def answer(parsed: Callable[[], bodies.Body], cancelled: Cancelled) -> Any:
        body = parsed()
        asked = parameters.parse([*query, *body.texts], body.typed or {}, allowed)
        seen = list[str]() if via.HEADER in request.headers else None  # another Lineup stores outputs
        asked = replace(asked, details=asked.details or accepted == answers.DETAILS, seen=seen)
        if (expected := request.headers.get("if-match")) and name:
            descriptions.require(service, name, expected)
        value = call(service, name, body, asked, cancelled)
        if seen and len(set(seen)) == 1:
            headers[FINGERPRINT] = seen[0]
        return value

    with memory.account(request) as chunks:
        parsed = await bodies.read(request, kind, chunks)
        value = await _while_connected(request, partial(answer, parsed))
    return JSONResponse(value, headers=headers, media_type=accepted)


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
        options = AnswerOptions(scores=asked.scores, model_input=False, client=REST)
        ((_, answer),) = service.answers(image, [name], asked.top_k, cancelled=cancelled, options=options)
        if isinstance(answer, LineupError):
            raise answer
        if asked.seen is not None:
            asked.seen.append(service.fingerprint(answer))
        found.append(answer.to_json() if asked.details else answers.scored(answer))
    return found if body.is_list else found[0]


def _compare(service: Service, _: str, body: bodies.Body, asked: parameters.Parameters, cancelled: Cancelled) -> Any:
    try:
        everything = asked.backbones is None
        names, left_out = service.comparable_all() if everything else (service.comparable(asked.backbones), {})
    except UnknownBackboneError:
        raise
    except BackboneError as error:  # no list of distinct names
        raise RequestError(400, error) from None
    found, options = [], AnswerOptions(model_input=False, client=REST)
    for image in body.images:
        answer = dict(service.answers(image, names, asked.top_k, cancelled=cancelled, options=options))
        found.append(service.comparison(names, answer, left_out).to_json())
    return found if body.is_list else found[0]


def _embed(service: Service, name: str, body: bodies.Body, asked: parameters.Parameters, cancelled: Cancelled) -> Any:
    found = list[Any]()
    with service.pinned(name, "features", cancelled) as pinned:
        for image in body.images:
            output = pinned.output(image, partial(service.turn, cancelled, REST), cancelled, REST)
            if asked.seen is not None:
                asked.seen.append(pinned.fingerprint)
            features = output.logits[0].tolist()
            details = {
                "backbone": name,
                "embedding": features,
                "engine": output.engine,
                "forward_ms": output.forward_ms,
            }
            found.append(details if asked.details else features)
    return found if body.is_list else found[0]
