"""The guards of /v1 on a real server in this process, with fake backbones."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from requesting import ask, file_data, join, outcome, upload
from waiting import until

from lineup.features.rest.keys import KEYS
from lineup.server import bodies

TWO = "backbones: ['fake:a', 'fake:b']"
PATH = "/v1/models/fake:a"
PROBLEM = "application/problem+json"


def post(page, image, path=PATH, **headers):
    status, received, text = ask(page.host, "POST", path, image.read_bytes(), headers)
    return status, {name.lower(): value for name, value in received.items()}, json.loads(text)


def begun(page, headers="Content-Length: 900000", body=b"", path=PATH):
    """Begin a request over a socket, and return it."""
    sender = socket.create_connection(page.host.split(":"), 10)
    sender.settimeout(10)
    sender.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode() + body)
    return sender


def received(sender):
    """Return the status and the body of a response of JSON."""
    text = b""
    while not text.rstrip().endswith((b"}", b"]")):
        piece = sender.recv(65536)
        assert piece, text
        text += piece
    return int(text.split()[1]), json.loads(text.partition(b"\r\n\r\n")[2])


def test_refused_requests_are_answered_before_their_bodies_and_take_no_slot(launch, image, monkeypatch):
    monkeypatch.setenv(KEYS, "one")
    page = launch("rest: {rate_limit: 2/hour, cors: ['https://a.org']}\n" + TWO)
    with begun(page) as sender:
        status, problem = received(sender)
    assert (status, problem["where"]) == (401, "Authorization")
    key = {"Authorization": "Bearer one", "Origin": "https://a.org", "Host": "example.org"}
    status, headers, answer = post(page, image, **key)
    assert (status, answer[0]["label"], headers["ratelimit"].partition(";t=")[0]) == (200, "cat", '"default";r=1')
    assert headers["access-control-allow-origin"] == "https://a.org"
    assert "access-control-allow-credentials" not in headers  # which Gradio would add
    assert post(page, image, **key)[0] == 200
    with begun(page, "Content-Length: 900000\r\nAuthorization: Bearer one") as sender:
        status, problem = received(sender)
    assert (status, problem["where"]) == (429, "rate limit")
    assert not page.slots._bodies
    assert ask(page.host, "GET", "/config")[0] == 200  # the page needs no key, and has no limit


def test_gradio_does_not_allow_origins_below_v1(launch):
    page = launch()
    headers = {"Origin": "https://a.org", "Host": "example.org", "Access-Control-Request-Method": "POST"}
    for path, allowed in (("/gradio_api/upload", "https://a.org"), (PATH, None)):
        status, received, text = ask(page.host, "OPTIONS", path, headers=headers)
        assert {name.lower(): value for name, value in received.items()}.get("access-control-allow-origin") == allowed
    assert (status, json.loads(text)["detail"]) == (400, "Disallowed CORS origin")
    del headers["Access-Control-Request-Method"]
    status, received, text = ask(page.host, "GET", "/v1/models", headers=headers)
    assert status == 200
    assert not {"access-control-allow-origin", "access-control-allow-credentials"} & {*map(str.lower, received)}


def test_guard_knows_its_paths_below_the_sub_path_of_a_proxy(launch, image, monkeypatch):
    monkeypatch.setenv(KEYS, "one")
    monkeypatch.setenv("GRADIO_ROOT_PATH", "/lineup")
    page = launch()
    for prefix in ("", "/lineup"):  # a proxy may remove it
        assert post(page, image, prefix + PATH)[0] == 401
        assert post(page, image, prefix + PATH, Authorization="Bearer one")[0] == 200
        assert ask(page.host, "GET", prefix + "/config")[0] == 200


def test_a_full_queue_of_rest_refuses_its_requests_and_none_of_the_page(launch, fakes, image):
    page, held = launch("limits: {queue_size: 2}\n" + TWO), fakes.hold("answer a")
    uploaded = file_data(upload(page, image))
    until(lambda: page.slots._reserved)
    page.slots._reserved.clear()
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(post, page, image) for _ in range(2)]
        until(lambda: len(page.service._execution._queue) == 2)
        with begun(page) as sender:
            status, problem = received(sender)
        assert (status, problem["detail"]) == (503, "busy: 2 requests are waiting already; try again in 1 s")
        status, headers, _ = post(page, image)
        assert (status, headers["retry-after"], headers["content-type"]) == (503, "1", PROBLEM)
        for number in (1, 2):
            status, event = join(page, {"image": uploaded, "backbone": "fake:b"})
            assert status == 200
            answers.append(threads.submit(outcome, page, event))
            until(lambda number=number: page.slots.pending == number)
        assert join(page, {"image": uploaded})[0] == 503  # the page's own queue is full, too
        held.set()
        assert [answer.result()[0] for answer in answers] == [200, 200, "complete", "complete"]
    until(lambda: not page.slots._bodies)
    assert post(page, image)[0] == 200


def test_a_disconnected_client_takes_no_forward_pass(launch, fakes, image):
    page, held = launch(), fakes.hold("answer a")
    content = image.read_bytes()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(post, page, image)
        until(lambda: len(page.service._execution._queue) == 1)
        for _ in range(3):
            with begun(page, f"Content-Length: {len(content)}", content):
                until(lambda: len(page.service._execution._queue) == 2)
            until(lambda: len(page.service._execution._queue) == 1)
        held.set()
        assert answer.result()[0] == 200
    assert page.service.timing("fake:a").runs == 1
    until(lambda: not page.slots._bodies)


def test_a_disconnected_client_does_not_wait_for_a_load(launch, fakes, image):
    fakes.more["b"] = {"embedding": SimpleNamespace(dim=3, network=lambda network: network)}
    page, held, content = launch(), fakes.hold("build b"), image.read_bytes()
    for n, path in enumerate(("/v1/models/fake:b/embedding", "/v1/models/fake:b")):
        with begun(page, f"Content-Length: {len(content)}", content, path):
            until(lambda n=n: fakes.built.count("b") > n)
            assert page.slots._bodies
        until(lambda: not page.slots._bodies)
    held.set()
    assert post(page, image, "/v1/models/fake:b/embedding")[::2] == (200, [3.0, 2.0, 1.0])


def test_stalled_body_is_answered_with_408_and_slow_ones_take_no_slot(launch, image, monkeypatch):
    page = launch("limits: {queue_size: 1}\n" + TWO)
    monkeypatch.setattr(bodies, "SLOW_AFTER_S", 0.0)
    with begun(page, body=b"x" * 10):
        until(lambda: page.slots._bodies)
        assert post(page, image)[0] == 200
    monkeypatch.setattr(bodies, "PAUSE_S", 0.3)
    with begun(page, body=b"x" * 10) as sender:
        status, problem = received(sender)
    assert (status, problem["expected"]) == (408, "at least 8 kB/s, without pauses of 0.3 s")


def test_drain_answers_requests_that_compute(launch, fakes, image):
    page, held = launch(), fakes.hold("answer a")
    with ThreadPoolExecutor(2) as threads:
        answer = threads.submit(post, page, image)
        until(lambda: len(page.service._execution._queue) == 1)
        drain = threads.submit(page.slots.drain)
        until(lambda: page.slots.draining)
        status, _, problem = post(page, image)
        assert (status, problem["got"]) == (503, "the server is shutting down")
        assert not drain.done()
        held.set()
        assert answer.result()[0] == 200
        drain.result(10)
