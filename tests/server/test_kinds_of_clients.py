"""Kinds of clients have queue slots of their own, and share the time."""

from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from lineup.page.clients import Client, client_of, from_client
from lineup.server import admission, bodies
from lineup.server.admission import Admission
from lineup.server.bodies import LimitedBody

SCOPE = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": []}


def make_slots(queue_size, pending=0, n_requests=0):
    service = SimpleNamespace(config=SimpleNamespace(limits=SimpleNamespace(queue_size=queue_size)), mean_compute_s=1.0)
    return Admission(service, SimpleNamespace(pending=pending, n_requests=n_requests))


def make_body(kind="rest", complete=True):
    scope = SCOPE if kind == "page" else from_client(SCOPE, Client(kind))
    made = LimitedBody(None, None, scope, 10**9, "too large")
    made.complete = complete
    return made


@pytest.fixture
def reading():
    """Return a function that adds bodies to slots until the end of the test."""
    with ExitStack() as stack:
        yield lambda slots, made: stack.enter_context(slots.reading(made, True, False))


def test_a_request_is_of_the_page_unless_it_is_marked():
    assert client_of(SCOPE).kind == "page"
    assert client_of(from_client(SCOPE, Client("rest"))).kind == "rest"
    assert "lineup.client" not in SCOPE


@pytest.mark.parametrize("kind", ["page", "rest"])
def test_a_kind_of_clients_that_takes_all_its_slots_takes_none_of_another(reading, kind):
    slots = make_slots(2)
    for _ in range(2):
        reading(slots, make_body(kind))
    rejections = {each: slots.rejection(False, False, kind=each) for each in ("page", "rest")}
    assert rejections == {**dict.fromkeys(("page", "rest"), ""), kind: "2 requests are waiting already"}


def test_requests_and_reservations_of_the_page_take_no_slot_of_another_kind():
    slots = make_slots(2, pending=2, n_requests=100)  # with the threads of disconnected clients
    slots.reserve("10.0.0.1")
    assert slots.rejection(False, False, "10.0.0.1", "rest") == ""
    assert len(slots._reserved) == 1


def test_slow_bodies_of_one_kind_do_not_stop_those_of_another(reading, monkeypatch):
    monkeypatch.setattr(bodies, "SLOW_AFTER_S", -1.0)
    slots, of_page = make_slots(1), make_body("page", complete=False)
    reading(slots, of_page)
    for stopped in (False, True):
        made = make_body(complete=False)
        reading(slots, made)
        first = next(each for each in slots._bodies if each.kind == "rest")
        assert bool(first.rejection) is stopped
    assert of_page.rejection is None


@pytest.mark.parametrize(("pending", "n_rest", "of_page", "of_rest"), [(5, 0, 5, 1), (5, 3, 8, 6), (2, 9, 4, 11)])
def test_expected_wait_counts_the_turns_of_other_kinds_up_to_ones_own(reading, pending, n_rest, of_page, of_rest):
    slots = make_slots(20, pending)
    for _ in range(n_rest):
        reading(slots, make_body())
    assert (slots.retry_after_s(), slots.retry_after_s("rest")) == (of_page, of_rest)


def test_shutdown_waits_for_requests_that_compute(monkeypatch):
    slots, sleeps = make_slots(2), []
    with ExitStack() as stack:
        stack.enter_context(slots.reading(make_body(), True, False))
        monkeypatch.setattr(admission.time, "sleep", lambda s: sleeps.append(s) or (len(sleeps) == 3 and stack.close()))
        slots.drain()
    assert sleeps == [0.05, 0.05, 0.05, 0.2]
