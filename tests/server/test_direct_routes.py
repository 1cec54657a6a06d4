import asyncio
from types import SimpleNamespace

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lineup.config.models import Limits
from lineup.server.admission import Admission
from lineup.server.direct_routes import DirectRoutesMiddleware


class DirectRoute(Route):
    is_direct, max_body_bytes = True, 100


async def _endpoint(request):
    body = await request.body()
    return PlainTextResponse(f"direct {request.url.path} {request.path_params} {len(body)}")


async def _app(scope, receive, send):
    await PlainTextResponse("app")(scope, receive, send)


@pytest.fixture
def served():
    """Return a function that sends a request, and returns the status and the text of the response."""
    service = SimpleNamespace(
        config=SimpleNamespace(limits=Limits(queue_size=1), trusted_proxies=[]), mean_compute_s=0.1
    )
    connections = SimpleNamespace(pending=0, n_requests=0)
    slots = Admission(service, connections)
    routes = [DirectRoute("/v1/{name}", _endpoint, methods=["POST"]), Route("/other", _endpoint)]
    middleware = DirectRoutesMiddleware(_app, service, connections, slots, None, routes)

    def send(method, path, body=b"", **more):
        sent = []

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def collect(message):
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", **more}
        asyncio.run(middleware(scope, receive, collect))
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()

    send.slots = slots
    return send


def test_direct_route_has_its_requests_and_the_app_all_others(served):
    assert served("POST", "/v1/a", b"abc") == (200, "direct /v1/a {'name': 'a'} 3")
    assert served("GET", "/v1/a") == (200, "app")  # which answers 405
    assert served("POST", "/v2/a") == (200, "app")
    assert served("GET", "/other") == (200, "app")


def test_path_below_a_proxy_is_the_whole_one(served):
    assert served("POST", "/v1/a", app_root_path="/sub") == (200, "direct /sub/v1/a {'name': 'a'} 0")


def test_body_of_a_direct_route_is_limited(served):
    assert served("POST", "/v1/a", b"a" * 101)[0] == 413


def test_direct_route_is_not_admitted_while_the_server_stops(served):
    served.slots.draining = True
    assert served("POST", "/v1/a")[0] == 503
    assert served("GET", "/other") == (200, "app")
