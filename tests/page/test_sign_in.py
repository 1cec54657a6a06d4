"""Signing in over HTTP: cookies, where requests come from, and what is never shown."""

import logging

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from lineup.config.proxies import LOOPBACK
from lineup.errors import BusyError, LineupError
from lineup.page.client_address import Proxies
from lineup.page.owner_session import MAX_FAILURES, OwnerSession
from lineup.page.sign_in import COOKIE, MAX_FORM_BYTES, OwnerPages

TOKEN = "a-secret-of-the-owner"
OWN = {"Origin": "http://testserver"}
FOREIGN = {"Origin": "https://evil.example"}


def act(values):
    if error := values.get("error"):
        raise {"busy": BusyError, "wrong": LineupError}[error]("image", "one", "got none")
    return {"got": values}


def client_of(space=False, title="Birds", root_path="", base_url="http://testserver"):
    return TestClient(app_of(space, title), base_url=base_url, root_path=root_path, follow_redirects=False)


def app_of(space=False, title="Birds"):
    async def secret(_):
        return PlainTextResponse("the secret")

    pages = OwnerPages(OwnerSession(TOKEN), title, Proxies(LOOPBACK), space)
    routes = [*pages.routes(), pages.page("", lambda request: "<p>the page</p>")]
    routes += [pages.get("/secret", secret), pages.post("/act", act)]
    return Starlette(routes=routes)


@pytest.fixture
def client():
    return client_of()


def sign_in(client, token=TOKEN, **headers):
    return client.post("/owner/sign-in", data={"token": token}, headers={**OWN, **headers})


def signed_in(client):
    assert sign_in(client).status_code == 303
    return client


def test_page_leads_to_the_form_and_the_form_to_the_page(client):
    answer = client.get("/owner")
    assert (answer.status_code, answer.headers["location"]) == (303, "/owner/sign-in")
    form = client.get("/owner/sign-in")
    assert form.status_code == 200
    assert 'method="post"' in form.text
    answer = sign_in(client)
    assert (answer.status_code, answer.headers["location"]) == (303, "/owner")
    assert client.get("/owner").text == "<p>the page</p>"
    assert client.get("/owner/sign-in").headers["location"] == "/owner"
    assert client.get("/owner/secret").text == "the secret"


def test_cookie_is_for_these_pages_only(client):
    cookie = sign_in(client).headers["set-cookie"]
    name, *parts = cookie.split("; ")
    assert name.startswith(f"{COOKIE}=")
    assert TOKEN not in cookie
    assert sorted(parts) == ["HttpOnly", "Max-Age=43200", "Path=/owner", "SameSite=Strict"]


@pytest.mark.parametrize(
    ("options", "headers"),
    [({"base_url": "https://testserver"}, {}), ({}, {"X-Forwarded-Proto": "https,http"})],
    ids=["tls", "proxy"],
)
def test_cookie_is_secure_behind_tls(options, headers):
    parts = sign_in(client_of(**options), **headers).headers["set-cookie"].split("; ")
    assert "Secure" in parts
    assert "SameSite=Strict" in parts


def test_cookie_and_policy_of_a_space_are_for_its_frame():
    client = client_of(space=True, base_url="https://testserver")
    parts = sign_in(client).headers["set-cookie"].split("; ")
    assert {"SameSite=None", "Secure", "Partitioned", "HttpOnly", "Path=/owner"} <= set(parts)
    assert "frame-ancestors https://huggingface.co" in client.get("/owner").headers["content-security-policy"]


@pytest.mark.parametrize(("space_id", "ancestors"), [("", "'none'"), ("me/birds", "https://huggingface.co")])
def test_environment_tells_whether_this_is_a_space(monkeypatch, space_id, ancestors):
    monkeypatch.setenv("SPACE_ID", space_id)
    answer = client_of(space=None).get("/owner")
    assert answer.headers["content-security-policy"].endswith(f"frame-ancestors {ancestors}")


def test_below_a_sub_path_all_addresses_have_it():
    client = client_of(root_path="/lineup")
    assert client.get("/lineup/owner").headers["location"] == "/lineup/owner/sign-in"
    form = client.get("/lineup/owner/sign-in").text
    assert 'action="/lineup/owner/sign-in"' in form
    assert 'href="/lineup/theme.css"' in form
    answer = client.post("/lineup/owner/sign-in", data={"token": TOKEN}, headers=OWN)
    assert answer.headers["location"] == "/lineup/owner"
    assert "Path=/lineup/owner;" in answer.headers["set-cookie"]


def test_signing_out_ends_the_session_not_only_the_cookie(client):
    cookie = signed_in(client).cookies[COOKIE]
    answer = client.post("/owner/sign-out", headers=OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/owner/sign-in")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    client.cookies.set(COOKIE, cookie)
    assert client.get("/owner/secret").status_code == 401


@pytest.mark.parametrize("path", ["/owner/secret", "/owner/act"])
@pytest.mark.parametrize("cookie", [None, "", "x", "a" * 43])
def test_without_a_session_there_is_nothing(client, path, cookie):
    if cookie is not None:
        client.cookies.set(COOKIE, cookie)
    answer = client.get(path) if path.endswith("secret") else client.post(path, json={}, headers=OWN)
    assert answer.status_code == 401
    assert "sign in again" in answer.json()["detail"]


def test_every_answer_is_kept_from_caches_frames_and_other_sites(client):
    answers = [client.get(path) for path in ("/owner", "/owner/sign-in", "/owner/style.css", "/owner/owner.js")]
    answers += [client.get("/owner/secret"), sign_in(client, "wrong"), sign_in(client), client.get("/owner")]
    answers.append(client.get("/owner", headers=FOREIGN))
    for answer in answers:
        headers = answer.headers
        assert headers["cache-control"] == "no-store"
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; ")
        assert policy.endswith("base-uri 'none'; frame-ancestors 'none'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_pages_have_no_address_of_another_server(client):
    for path in ("/owner/sign-in", "/owner/style.css", "/owner/owner.js"):
        text = client.get(path).text
        assert "http:" not in text
        assert "https:" not in text


# --- requests of other sites ---

POSTS = ["/owner/sign-in", "/owner/sign-out", "/owner/act"]
FROM_ELSEWHERE = {
    "origin": FOREIGN,
    "null": {"Origin": "null"},
    "port": {"Origin": "http://testserver:81"},
    "prefix": {"Origin": "http://testserver.evil.example"},
    "user": {"Origin": "http://testserver@evil.example"},
    "nothing": {},
    "cross-site": {**OWN, "Sec-Fetch-Site": "cross-site"},
    "same-site": {**OWN, "Sec-Fetch-Site": "same-site"},
    "forwarded": {**FOREIGN, "X-Forwarded-Host": "evil.example"},
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("headers", FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
def test_posts_of_other_sites_are_refused(client, path, headers):
    signed_in(client)
    form = {"data": {"token": TOKEN}} if path.endswith("in") else {"json": {}}
    answer = client.post(path, **form, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert client.get("/owner/secret").status_code == 200  # the session goes on


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_browser_that_says_so_is_believed_behind_a_proxy_that_changes_the_host(client, site):
    headers = {"Origin": "https://public.example", "Sec-Fetch-Site": site}
    assert client.post("/owner/sign-in", data={"token": TOKEN}, headers=headers).status_code == 303


def test_other_sites_cannot_read(client):
    signed_in(client)
    for path in ("/owner", "/owner/secret"):
        assert client.get(path, headers=FOREIGN).status_code == 403
        assert client.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a link


# --- bodies ---


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"token=" + TOKEN.encode(), "text/plain"),
        (b'{"token": "%s"}' % TOKEN.encode(), "application/json"),
        (b"token=" + TOKEN.encode() + b"&x=" + b"a" * MAX_FORM_BYTES, "application/x-www-form-urlencoded"),
        (b"a=1&" * 20 + b"token=" + TOKEN.encode(), "application/x-www-form-urlencoded"),
        (b"\xff\xfe%ff%00", "application/x-www-form-urlencoded"),
        (b"", ""),
    ],
    ids=["text", "json", "long", "fields", "bytes", "empty"],
)
def test_other_bodies_are_no_token(client, content, content_type):
    answer = client.post("/owner/sign-in", content=content, headers={**OWN, "Content-Type": content_type})
    assert answer.status_code == 401
    assert TOKEN not in answer.text


def test_token_in_an_address_is_not_read(client):
    assert client.get("/owner/sign-in", params={"token": TOKEN}).status_code == 200
    assert "set-cookie" not in client.get("/owner", params={"token": TOKEN}).headers
    assert client.post(f"/owner/sign-in?token={TOKEN}", data={}, headers=OWN).status_code == 401


def test_refused_token_is_neither_shown_nor_logged(client, caplog):
    with caplog.at_level(logging.DEBUG):
        answer = sign_in(client, "<b>wrong-candidate")
    assert answer.status_code == 401
    assert "That is not the value of LINEUP_OWNER_TOKEN" in answer.text
    assert "wrong-candidate" not in answer.text + caplog.text


def test_too_many_attempts_are_429_with_the_time_to_wait(client):
    for _ in range(MAX_FAILURES):
        assert sign_in(client, "wrong").status_code == 401
    answer = sign_in(client)
    assert answer.status_code == 429
    assert 290 <= int(answer.headers["retry-after"]) <= 300
    assert "too many attempts" in answer.text


def test_attempts_are_counted_by_the_address_that_a_trusted_proxy_names(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)

    def refused(peer, **headers):
        return sign_in(TestClient(app, client=(peer, 5000)), "wrong", **headers).status_code

    app = app_of()
    for n in range(MAX_FAILURES):
        assert refused("127.0.0.1", **{"X-Forwarded-For": f"10.9.9.{n}, 198.51.100.9"}) == 401  # it wrote the first
    assert refused("127.0.0.1", **{"X-Forwarded-For": "198.51.100.9"}) == 429
    assert refused("127.0.0.1", **{"X-Forwarded-For": "198.51.100.8"}) == 401
    assert refused("192.0.2.1", **{"X-Forwarded-For": "198.51.100.9"}) == 401  # a client that is no proxy


def test_actions_take_json_objects_only(client):
    signed_in(client)
    assert client.post("/owner/act", json={"a": 1}, headers=OWN).json() == {"got": {"a": 1}}
    for content in (b"", b"[1]", b"{", b"[" * 5000, b"\xff"):
        answer = client.post("/owner/act", content=content, headers={**OWN, "Content-Type": "application/json"})
        assert answer.status_code == 400
        assert "a JSON object" in answer.json()["detail"]
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = client.post("/owner/act", content=b"{}", headers={**OWN, "Content-Type": content_type})
        assert answer.status_code == 400
        assert "application/json" in answer.json()["detail"]


def test_errors_of_actions_are_sentences(client):
    signed_in(client)
    answers = [client.post("/owner/act", json={"error": error}, headers=OWN) for error in ("wrong", "busy")]
    assert [answer.status_code for answer in answers] == [400, 503]
    assert answers[0].json() == {"detail": "image: expected one; got none"}


def test_title_is_escaped():
    assert "<script>alert" not in client_of(title="<script>alert(1)</script>").get("/owner/sign-in").text
