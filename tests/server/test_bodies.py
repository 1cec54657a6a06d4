"""Slow and stalled bodies: limits on pauses and on the average rate, and what others get meanwhile."""

import asyncio
from types import SimpleNamespace

import pytest
from starlette.exceptions import HTTPException

from lineup.server import bodies
from lineup.server.admission import Admission
from lineup.server.bodies import LimitedBody

SCOPE = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": []}


@pytest.fixture
def clock(monkeypatch):
    """Replace the clock of bodies; `asyncio.timeout` ends a wait at once if it is longer than its limit."""
    now = SimpleNamespace(now=1000.0)

    class Timeout:
        def __init__(self, delay_s):
            self.delay_s = delay_s

        async def __aenter__(self):
            now.limit_s = self.delay_s
            return self

        async def __aexit__(self, *_):
            pass

        def reschedule(self, _):
            pass

    monkeypatch.setattr(bodies.time, "monotonic", lambda: now.now)
    monkeypatch.setattr(bodies.asyncio, "timeout", Timeout)
    return now


def sent(clock, chunks, max_bytes=10**9):
    """Receive a body whose chunks are pairs of a time to wait for it, and its length; return the status."""
    messages = iter(chunks)

    async def receive():
        wait_s, n_bytes = next(messages)
        clock.now += min(wait_s, max(0, clock.limit_s))
        if wait_s > clock.limit_s:
            raise TimeoutError
        return {"type": "http.request", "body": b"x" * n_bytes, "more_body": True}

    async def read():
        body = LimitedBody(receive, None, SCOPE, max_bytes, "too large")
        while True:
            await body.receive()

    try:
        asyncio.run(read())
    except (StopIteration, RuntimeError):
        return 200  # all chunks were received
    except HTTPException as error:
        return error.status_code


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        ([(0.2, 8_000)] * 900, 200),  # 7 MB at 40 kB/s
        ([(1, 10_000)] * 700, 200),  # 7 MB at 10 kB/s
        ([(5, 200_000), (25, 100_000)] * 25, 200),  # a handover between cells, again and again
        ([(29, 1_000)], 200),
        ([(31, 1_000)], 408),  # a pause
        ([(1, 2_000_000), (31, 1_000)], 408),
        ([(1, 1)] * 29, 200),
        ([(1, 1)] * 31, 408),  # slow loris: a byte per second
        ([(1, 7_000)] * 1000, 408),  # below the least rate
        ([(1, 400_000)] + [(20, 1)] * 10, 408),  # a burst does not last
        ([(0, 1 << 20)] * 1000, 413),
    ],
)
def test_bodies_may_be_slow_but_not_stall(clock, chunks, status):
    assert sent(clock, chunks) == status


def test_time_in_which_the_app_is_busy_does_not_count(clock):
    async def receive():
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read():
        body = LimitedBody(receive, None, SCOPE, 100, "too large")
        for _ in range(10):
            await body.receive()
            clock.now += 60

    asyncio.run(read())


def admission(queue_size, pending=0):
    service = SimpleNamespace(config=SimpleNamespace(limits=SimpleNamespace(queue_size=queue_size)), mean_compute_s=1.0)
    return Admission(service, SimpleNamespace(pending=pending, n_requests=0))


def body(n_bytes=0):
    made = LimitedBody(None, None, SCOPE, 10**9, "too large")
    made._n_bytes = n_bytes
    return made


def test_slow_bodies_leave_their_queue_slots(clock):
    slots = admission(2)
    with slots.reading(body(), True, False), slots.reading(body(), True, False):
        assert slots.n_reading == 2
        assert slots.rejection(False, False) == "2 requests are waiting already"
        clock.now += bodies.SLOW_AFTER_S + 0.1
        assert slots.n_reading == 0
        assert slots.rejection(False, False) == ""
    assert slots.n_reading == 0


def test_the_slowest_of_too_many_slow_bodies_is_stopped(clock):
    slots, made = admission(2), [body(3000), body(1000), body(2000)]
    with slots.reading(made[0], True, False), slots.reading(made[1], True, False):
        clock.now += 10
        with slots.reading(made[2], True, False):
            rejections = [each.rejection for each in made]
    assert [rejection and rejection.status_code for rejection in rejections] == [None, 503, None]
    assert rejections[1].detail == "busy: 2 images are being received more slowly than most; try again in 1 s"


def test_a_call_over_mcp_occupies_a_slot_until_its_body_is_complete(clock):
    slots, made = admission(2), body()
    with slots.reading(made, True, True):
        assert slots.n_reading == 1
        made.complete = True
        assert slots.n_reading == 0


def test_a_reserved_slot_is_used_by_its_own_client_only(clock):
    slots = admission(1)
    slots.reserve("10.0.0.1")
    assert slots.rejection(False, False, "10.0.0.2") == "1 requests are waiting already"
    assert slots.rejection(True, False, "10.0.0.1") == "1 requests are waiting already"
    assert slots.rejection(False, False, "10.0.0.1") == ""
    assert slots.rejection(False, False, "10.0.0.2") == ""
    slots.reserve("10.0.0.1")
    clock.now += 6
    assert slots.rejection(False, False, "10.0.0.2") == ""
