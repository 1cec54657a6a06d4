"""Malicious clients of /v1: hostile requests to every route, wrong lengths, pipelines, and many tiny requests."""

import http.client
import json
import re
import select
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path

import hostile_rest
import psutil
import pytest
from attack import NAMES, Outcomes, page, send_request
from requesting import ask
from waiting import until

from lineup.server import bodies

PATH = f"/v1/models/{NAMES[0]}"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with page(tmp_path_factory.mktemp("hostile")) as attacked:
        for name in NAMES:  # loads the networks that return features, for which the free memory is read
            with attacked.service.pinned(name, "features"):
                pass
        yield attacked


@pytest.fixture
def unharmed(served):
    """Check that the service is healthy afterwards, with the same answers as before."""
    before = served.service.classify(served.targets.image).predictions
    yield
    assert served.service.classify(served.targets.image).predictions == before
    assert ask(served.host, "GET", "/healthz")[0] == ask(served.host, "GET", "/readyz")[0] == 200
    status, _, text = ask(served.host, "POST", PATH, Path(served.targets.image).read_bytes())
    assert (status, [each["label"] for each in json.loads(text)]) == (200, [each.label for each in before])


def attacked(served, count, seed):
    """Send hostile requests to /v1, four concurrently, and return their outcomes."""
    outcomes = Outcomes()
    with ThreadPoolExecutor(4) as threads:
        sent = islice(hostile_rest.requests(served.targets, seed), count)
        answers = threads.map(lambda request: (request, send_request(served.host, request)), sent)
        for request, (kind, text) in answers:
            if kind in ("wrong", "without_message"):
                getattr(outcomes, kind)[f"{request.method} {request.path[:90]}: {text[:200]}"] += 1
            else:
                setattr(outcomes, kind, getattr(outcomes, kind) + 1)
            if served.targets.word in text or "root:x:" in text:
                outcomes.wrong[f"{request.method} {request.path[:90]}: leaks a secret"] += 1
    return outcomes


@pytest.mark.usefixtures("unharmed")
def test_hostile_requests_get_an_answer_or_a_problem_and_reach_nothing(served):
    with served.watching() as violations:
        outcomes = attacked(served, 240, seed=1)
    assert violations.to_json() == {"files": {}, "hosts": {}, "invalid_arguments": {}}
    assert (outcomes.without_message, outcomes.wrong) == ({}, {})
    assert outcomes.answered >= 15  # some are valid enough to reach the network
    assert outcomes.refused >= 100


@pytest.mark.long
@pytest.mark.usefixtures("unharmed")
def test_5000_hostile_requests_get_an_answer_or_a_problem_and_reach_nothing(served):
    with served.watching() as violations:
        outcomes = attacked(served, 5000, seed=2)
    assert violations.to_json() == {"files": {}, "hosts": {}, "invalid_arguments": {}}
    assert (outcomes.without_message, outcomes.wrong) == ({}, {})


def test_every_refusal_is_a_problem(served):
    for request in islice(hostile_rest.requests(served.targets, seed=3), 80):
        status, headers, text = _asked(served, request)
        if status >= 400 and request.method != "HEAD":
            assert headers.get("content-type") == "application/problem+json", (request.path[:200], status, text[:200])
            assert json.loads(text)["status"] == status


def _asked(served, request):
    headers = {name: text.encode("latin-1", "replace") for name, text in request.headers.items()}
    status, received, text = ask(served.host, request.method, request.path, request.body, headers)
    return status, {name.lower(): value for name, value in received.items()}, text


# --- connections ---


@pytest.fixture
def connection(served):
    with socket.create_connection(served.host.split(":"), 20) as opened:
        yield opened


def head(length, path=PATH, method="POST"):
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def statuses(opened, count):
    """Return the statuses of so many responses, or of those that arrive before the server closes the connection."""
    text, found = b"", list[int]()
    while len(found) < count and (piece := opened.recv(65536)):
        text += piece
        found = [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", text)]
    return found


@pytest.mark.parametrize(
    "length",
    ["-1", "x", "1e3", "0x10", "1, 2", "1\r\nContent-Length: 2", "9" * 40],
    ids=range(7),
)
@pytest.mark.usefixtures("unharmed")
def test_invalid_length_is_refused(served, connection, length):
    connection.sendall(head(length) + b"12345")
    assert statuses(connection, 1)[0] in (400, 413)


@pytest.mark.usefixtures("unharmed")
def test_chunks_count_where_a_request_has_a_length_too(connection):
    start = head("3\r\nTransfer-Encoding: chunked")
    connection.sendall(start + b"5\r\n12345\r\n0\r\n\r\n" + head(0, "/v1/models", "GET"))
    assert statuses(connection, 2) in ([422, 200], [400])


@pytest.mark.usefixtures("unharmed")
def test_body_that_is_shorter_than_stated_leaves_nothing_behind(served):
    for _ in range(5):
        with socket.create_connection(served.host.split(":"), 20) as opened:
            opened.sendall(head(1000) + b"12345")
            until(lambda: served.slots.n_reading == 1)
        until(lambda: served.slots.n_reading == 0)


@pytest.mark.usefixtures("unharmed")
def test_body_that_is_longer_than_stated_is_another_request_which_is_invalid(connection):
    connection.sendall(head(5) + b"1234567890\r\n\r\n")
    assert statuses(connection, 2) in (
        [422, 400],
        [400],
    )  # a parser in C has read the rest before the first is answered


@pytest.mark.usefixtures("unharmed")
def test_pipelined_requests_are_answered_in_their_order(served, connection):
    image = Path(served.targets.image).read_bytes()
    pieces = {
        200: head(len(image)) + image,
        422: head(3) + b"abc",
        404: head(0, "/v1/models/unknown", "GET"),
        405: head(0, PATH, "DELETE"),
        413: head(10**9, "/v1/models/other"),  # the last one: the connection is closed without reading its body
    }
    order = [200, 422, 404, 405] * 6 + [413]
    connection.sendall(b"".join(pieces[status] for status in order))
    assert statuses(connection, len(order)) == order


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"ffffffffffffffffff\r\n", b"5\r\n123", b"-1\r\n", b"5;" + b"x" * 70_000])
@pytest.mark.usefixtures("unharmed")
def test_malformed_chunks_are_refused_or_end_with_the_connection(served, chunk):
    start = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with socket.create_connection(served.host.split(":"), 20) as opened:
        opened.sendall(start + b"3\r\nabc\r\n" + chunk)
        opened.shutdown(socket.SHUT_WR)
        assert set(statuses(opened, 1)) <= {400, 413}
    until(lambda: served.slots.n_reading == 0)


@pytest.mark.usefixtures("unharmed")
def test_chunked_body_without_an_end_is_refused_once_it_is_too_large(served, connection):
    connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    chunk, n_sent = b"10000\r\n" + b"x" * 0x10000 + b"\r\n", 0
    with suppress(OSError):
        while n_sent < 10**8:
            connection.sendall(chunk)
            n_sent += len(chunk)
            if select.select([connection], [], [], 0)[0]:
                break
    assert statuses(connection, 1) == [413]
    assert n_sent < 2 * 10**7


@pytest.mark.usefixtures("unharmed")
def test_slow_loris_keeps_nobody_from_an_answer(served, monkeypatch):
    """As many bodies as the server receives at once, which send a byte now and then, and others."""
    monkeypatch.setattr(bodies, "SLOW_AFTER_S", 0.2)
    n_slow = served.service.config.limits.queue_size
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection(served.host.split(":"), 20)) for _ in range(n_slow)]
        for each in opened:
            each.sendall(head(1000) + b"1")
        until(lambda: sum(body.is_slow for body in list(served.slots._bodies)) == n_slow)
        content = Path(served.targets.image).read_bytes()
        for _ in range(5):
            for each in opened:
                each.sendall(b"2")
            assert ask(served.host, "POST", PATH, content)[0] == 200
    until(lambda: not served.slots._bodies)


@pytest.mark.long
@pytest.mark.usefixtures("unharmed")
def test_10000_tiny_requests_are_answered_and_leave_nothing_behind(served):
    process = psutil.Process()

    def ask_many(number):
        found = Counter()
        connection = http.client.HTTPConnection(served.host, timeout=60)
        for _ in range(625):
            connection.request("POST", PATH, bytes([number]))
            answer = connection.getresponse()
            answer.read()
            found[answer.status] += 1
        connection.close()
        return found

    before = process.memory_info().rss, len(process.open_files())
    with ThreadPoolExecutor(16) as threads:
        found = sum(threads.map(ask_many, range(16)), Counter())
    assert found.total() == 10_000
    assert found.keys() <= {422, 503}
    until(lambda: not served.slots._bodies)
    assert process.memory_info().rss - before[0] < 50e6
    assert len(process.open_files()) <= before[1]
