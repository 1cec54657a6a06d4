"""What the load generators report: wrk's figures as they are parsed, and outcomes of requests at given times."""

import asyncio
import math
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import http_load
import pytest
from http_load import Outcomes, Saturated, Target, percentile
from programs import program

OUTPUT = """Running 8s test @ http://127.0.0.1:1/x
  1 threads and 16 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.00ms  100.00us   3.00ms   75.00%
  Non-2xx or 3xx responses: 30
{"answers": 230, "refused": 30, "lost": 4, "seconds": 8.0, "p50_ms": 61.5, "p99_ms": 120.25}
"""


@contextmanager
def answering(*statuses):
    """Serve these statuses in turn, and yield the address and the bodies that came."""
    bodies, lock = [], threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                bodies.append(body)
                status = statuses[(len(bodies) - 1) % len(statuses)]
            if status is None:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/models/a", bodies
        server.shutdown()


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{number}.jpeg" for number in range(3)]
    for path in paths:
        path.write_bytes(path.name.encode() * 100)
    return paths


@pytest.fixture
def wrk(tmp_path, monkeypatch):
    """Return a function that puts a program in wrk's place, which prints a text."""

    def stand_in(output, status=0):
        script = tmp_path / "wrk"
        script.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/arguments\ncat <<'END'\n{output}END\nexit {status}\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return stand_in


def test_figures_of_wrk_are_read_and_refusals_are_no_answers(wrk, images, tmp_path):
    wrk(OUTPUT)
    found = http_load.saturated(Target("http://127.0.0.1:1/x", "image/jpeg", images), 16, 8)
    assert (found.answers, found.failed, found.seconds) == (200, 34, 8.0)
    assert (found.p50_ms, found.p99_ms, found.per_s) == (61.5, 120.25, 25.0)
    assert 0 < found.cpu_s < 1
    arguments = (tmp_path / "arguments").read_text()
    assert arguments.startswith("-t1 -c16 -d8s --timeout=60s -s ")
    assert arguments.endswith(f" http://127.0.0.1:1/x -- image/jpeg {' '.join(map(str, images))}\n")


@pytest.mark.parametrize(("output", "status"), [("unable to connect\n", 1), (OUTPUT, 1), ("Running\n", 0)])
def test_a_failure_of_wrk_is_no_figure(wrk, images, output, status):
    wrk(output, status)
    with pytest.raises(RuntimeError, match="wrk failed"):
        http_load.saturated(Target("http://127.0.0.1:1/x", "image/jpeg", images), 16, 8)


def test_missing_wrk_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="apt-get install wrk"):
        http_load.program()


def test_wrk_posts_the_files_in_turn_and_counts_refusals(images):
    program("wrk")
    with answering(200, 200, 503) as (url, bodies):
        found = http_load.saturated(Target(url, "image/x", images), 2, 1)
    assert found.answers > 10
    assert found.failed == pytest.approx(found.answers / 2, abs=2)
    assert {kind for kind, _ in bodies} == {"image/x"}
    sent = [[body for _, body in bodies].count(path.read_bytes()) for path in images]
    assert sum(sent) == len(bodies)
    assert max(sent) - min(sent) <= 1
    assert 0.9 < found.seconds < 2
    assert 0 < found.p50_ms <= found.p99_ms


def test_the_generators_time_is_subtracted_from_all_cores():
    found = Saturated(answers=300, failed=0, seconds=10, cpu_s=4, p50_ms=1, p99_ms=1)
    assert found.per_s == 30
    assert found.per_s_without_generator(cores=2) == 300 / 8


@pytest.mark.parametrize(
    ("times", "share", "expected"),
    [
        (range(1, 101), 0.99, 99),
        (range(1, 101), 0.5, 50),
        (range(1, 101), 1, 100),
        ([2, 1], 0.5, 1),
        ([3, 1, 2], 0.5, 2),
        ([7], 0.99, 7),
        ([7], 0, 7),
        ([], 0.5, math.inf),
    ],
)
def test_a_percentile_is_the_smallest_time_that_the_share_does_not_exceed(times, share, expected):
    assert percentile(list(times), share) == expected


def test_statuses_are_answers_refusals_or_losses():
    outcomes = Outcomes()
    for status in (200, 429, 503, 500, 404):
        outcomes.add(status, status / 1000, b"a body")
    assert (outcomes.answered_s, outcomes.refused_s) == ([0.2], [0.429, 0.503])
    assert outcomes.lost == ["500 b'a body'", "404 b'a body'"]


def test_requests_at_a_rate_are_all_sent_and_each_has_an_outcome(images):
    with answering(200, 503, 500, None) as (url, bodies):
        outcomes = asyncio.run(http_load.at_rate(Target(url, "image/x", images), 100, 0.2, poisson=False))
    ends = len(outcomes.answered_s), len(outcomes.refused_s), len(outcomes.lost)
    assert sum(ends) == pytest.approx(20, abs=1)  # 0.2 s are twenty steps of 0.01 s, but for rounding
    assert min(ends) > 0
    assert len(bodies) >= sum(ends)  # one whose connection was closed may be sent again


def test_a_latency_begins_when_the_request_was_due(images):
    """A generator that is late does not hide that the request has waited."""
    with answering(200) as (url, _):
        outcomes, connection = Outcomes(), http_load.Connection(url)
        due = http_load.time.perf_counter() - 5
        target = Target(url, "image/x", images)
        asyncio.run(http_load._post(connection, target, b"x", due, outcomes))
        connection.close()
    assert outcomes.answered_s[0] >= 5
