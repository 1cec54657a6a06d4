"""What guards /v1: keys, a rate limit, trusted proxies, the origins of pages, and problem details for refusals."""

import logging
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from lineup.config.sections import Rest
from lineup.errors import LineupError
from lineup.features.rest import guard
from lineup.features.rest.keys import KEYS, Keys
from lineup.page.clients import client_of
from lineup.server.responses import detail

PATH = "/v1/models"


@pytest.fixture
def serve(monkeypatch):
    """Return a function that serves a few routes behind the guard, as a client from 192.0.2.1 sees them."""

    def start(keys="", client="192.0.2.1", trusted_proxies=(), **settings):
        monkeypatch.setenv(KEYS, keys)
        service = SimpleNamespace(config=SimpleNamespace(rest=Rest(**settings), trusted_proxies=trusted_proxies))

        async def answer(request):
            client = client_of(request.scope)
            return JSONResponse({"kind": client.kind, "origin": request.headers.get("origin")})

        async def refuse(request):
            return detail(503, LineupError("busy", "", "2 requests are waiting already", "try again in 3 s"), 3)

        async def text(request):
            return PlainTextResponse("A text", 418)

        async def compressed(request):
            return Response(b"\x1b", 400, {"Content-Encoding": "br"}, "text/plain")

        async def fail(request):
            raise ZeroDivisionError("secret")

        routes = [
            Route(path, answer, methods=["GET", "POST"]) for path in (PATH, "/v1/docs", "/v10", "/gradio_api/info")
        ]
        refusals = (("refuse", refuse), ("text", text), ("compressed", compressed), ("fail", fail))
        routes += [Route(f"/v1/{name}", endpoint) for name, endpoint in refusals]
        app = Starlette(routes=routes)
        for each in reversed(guard.middleware(service)):
            app = each.cls(app, *each.args, **each.kwargs)
        return TestClient(app, raise_server_exceptions=False, client=(client, 5000))

    return start


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


# --- which requests ---


def test_requests_below_v1_are_marked_and_others_are_left_alone(serve):
    client = serve(keys="one", rate_limit="1/hour")
    for path in ("/gradio_api/info", "/v10"):
        for _ in range(3):
            answer = client.get(path, headers={"Origin": "https://a.org"})
            assert answer.json() == {"kind": "page", "origin": "https://a.org"}
            assert not {"ratelimit", "vary"} & answer.headers.keys()
    assert client.get(PATH, headers=bearer("one")).json() == {"kind": "rest", "origin": None}


def test_routes_that_are_switched_off_need_no_guard(serve):
    assert serve(keys="one", enabled=False).get(PATH).status_code == 200


# --- keys ---


def test_no_key_is_needed_unless_the_owner_sets_some(serve):
    client = serve(keys=" ")
    assert client.get(PATH).status_code == client.get(PATH, headers=bearer("any")).status_code == 200


@pytest.mark.parametrize("key", ["one", "two", "schlüssel"])
def test_each_key_opens_v1(serve, key):
    client = serve(keys=" one,,two , schlüssel")
    for scheme in ("Bearer", "bearer", "BEARER"):
        header = f"{scheme} {key}".encode()
        assert client.get(PATH, headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer on",
        "Bearer onee",
        "Bearer ONE",
        "Basic one",
        "one",
        "Bearer one,two",
        "Bearer ,",
        "Bearer " + "x" * 50_000,
    ],
    ids=range(11),
)
def test_any_other_authorization_is_refused(serve, header):
    answer = serve(keys="one,two").post(PATH, headers={"Authorization": header})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["title"], problem["where"]) == (401, "Unauthorized", "Authorization")
    assert problem["remedy"] == "ask its owner for one"
    assert "x" * 100 not in answer.text


def test_the_documentation_needs_no_key(serve):
    assert serve(keys="one").get("/v1/docs").status_code == 200


def test_a_variable_with_commas_only_closes_v1_and_is_logged(serve, caplog):
    client = serve(keys=" , ")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    for key in ("", ",", " "):
        assert client.get(PATH, headers=bearer(key)).status_code == 401


def test_keys_are_compared_as_hashes_each_of_them_and_never_kept_or_logged(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    compared = []
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: compared.append((one, other)) or one == other)
    keys = Keys("secret-1,secret-2,secret-3")
    assert keys.number_of({"authorization": "Bearer secret-1"}) == 0
    assert keys.number_of({"authorization": "Bearer wrong"}) is None
    assert [len(one) + len(other) for one, other in compared] == [64] * 6
    assert "secret" not in repr(vars(keys)) + caplog.text


# --- rate limit ---


def test_requests_beyond_the_limit_are_answered_with_429_until_the_window_ends(serve, monkeypatch):
    now = SimpleNamespace(now=1000.25)
    clock = SimpleNamespace(time=lambda: now.now)
    monkeypatch.setattr("limits.aio.storage.memory.time", clock)
    monkeypatch.setattr(guard, "time", clock)
    client = serve(rate_limit="2/minute")
    with client:  # one event loop
        for remaining in (1, 0):
            answer = client.post(PATH)
            assert (answer.status_code, answer.headers["ratelimit"]) == (200, f'"default";r={remaining};t=60')
            assert answer.headers["ratelimit-policy"] == '"default";q=2;w=60'
        now.now += 20.5
        for _ in range(3):
            answer = client.post(PATH)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "40")
            assert answer.headers["ratelimit"] == '"default";r=0;t=40'
            assert answer.json()["error"] == (
                "rate limit: expected at most 2 requests in 60 s; got more; try again in 40 s"
            )
        now.now += 39.5
        assert client.post(PATH).status_code == 200


def test_each_key_and_each_address_without_one_has_a_limit_of_its_own(serve):
    client = serve(keys="one,two", rate_limit="1/hour")
    statuses = [client.get(PATH, headers=bearer(key)).status_code for key in ("one", "one", "two", "no", "no", "nor")]
    assert statuses == [200, 429, 200, 401, 429, 429]  # guesses are limited, too


def test_no_limit_means_no_headers(serve):
    answer = serve().get(PATH)
    assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)


# --- addresses ---


@pytest.mark.parametrize(("peer", "expected"), [("192.0.2.1", 429), ("10.0.0.2", 200)], ids=["stranger", "proxy"])
def test_a_proxys_clients_have_limits_of_their_own(serve, peer, expected):
    client = serve(rate_limit="1/hour", trusted_proxies=["10.0.0.0/8"], client=peer)
    statuses = [client.get(PATH, headers={"X-Forwarded-For": f"198.51.100.{n}"}).status_code for n in range(2)]
    assert statuses == [200, expected]


def test_a_client_cannot_raise_its_limit_with_a_header(serve):
    client = serve(rate_limit="1/hour")
    statuses = [client.get(PATH, headers={"X-Forwarded-For": f"10.0.0.{n}"}).status_code for n in range(4)]
    assert statuses == [200, 429, 429, 429]


# --- origins ---


def preflight(client, origin, method="POST", headers="content-type, authorization"):
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return client.options(PATH, headers=asked)


def test_pages_of_the_configured_origins_may_call_v1(serve):
    client = serve(keys="one", cors=["https://a.org"], rate_limit="9/hour")
    answer = preflight(client, "https://a.org")  # which has no key
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://a.org")
    answer = client.post(PATH, headers={"Origin": "https://a.org", **bearer("one")})
    assert (answer.json()["origin"], answer.headers["access-control-allow-origin"]) == (None, "https://a.org")
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    refused = client.post(PATH, headers={"Origin": "https://a.org"})  # a page can read why
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://a.org")


@pytest.mark.parametrize("cors", [[], ["https://a.org"]], ids=["none", "another"])
@pytest.mark.parametrize("origin", ["https://b.org", "https://a.org.b.org", "http://a.org", "null"])
def test_pages_of_other_origins_may_not(serve, cors, origin):
    client = serve(cors=cors)
    answer = preflight(client, origin)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in client.post(PATH, headers={"Origin": origin}).headers


def test_all_origins_may_if_the_config_says_so(serve):
    client = serve(cors=["*"])
    assert preflight(client, "https://b.org").status_code == 200
    assert client.post(PATH, headers={"Origin": "https://b.org"}).headers["access-control-allow-origin"] == "*"
    assert preflight(client, "https://b.org", method="DELETE").status_code == 400


# --- refusals of others ---


def test_refusals_of_the_servers_middleware_become_problem_details(serve):
    answer = serve().get("/v1/refuse")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.json() == {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "busy: 2 requests are waiting already; try again in 3 s",
        "error": "busy: 2 requests are waiting already; try again in 3 s",
        "where": "busy",
        "expected": "",
        "got": "2 requests are waiting already",
        "remedy": "try again in 3 s",
    }


@pytest.mark.parametrize(
    ("path", "method", "status", "text"),
    [
        ("text", "GET", 418, "A text"),
        ("compressed", "GET", 400, "Bad Request"),
        ("fail", "GET", 500, "Something went wrong on the server; its log has the details."),
        ("unknown", "GET", 404, "Not Found"),
        ("models", "DELETE", 405, "Method Not Allowed"),
    ],
)
def test_any_other_error_becomes_problem_details(serve, path, method, status, text):
    answer = serve().request(method, f"/v1/{path}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["status"], answer.json()["detail"]) == (status, status, text)


def test_the_answer_to_head_has_no_body(serve):
    answer = serve(keys="one").head("/v1/refuse")
    assert (answer.status_code, answer.content) == (401, b"")
