import asyncio
import threading
import time
from types import SimpleNamespace

import pytest
from gradio.context import LocalContext

from lineup.errors import ClientDisconnected
from lineup.page import connections
from lineup.page.connections import Connections


def set_session(session):
    """Make a session that of the current request."""
    LocalContext.request.set(SimpleNamespace(session_hash=session))


async def run(opened, session, call):
    """Run a call as a request of a session."""
    set_session(session)
    return await opened.run(call)


def test_a_session_is_open_while_one_of_its_connections_is():
    opened = Connections()
    assert not opened.is_open("a")
    opened.opened("a")
    opened.opened("a")
    opened.closed("a")
    assert opened.is_open("a")
    opened.closed("a")
    assert not opened.is_open("a")


def test_a_request_is_cancelled_when_its_client_never_connects(monkeypatch):
    cancelled = Connections().cancel_flag("a")
    assert not cancelled()
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.0)
    assert cancelled()


def test_a_request_is_cancelled_when_its_client_disconnects():
    opened = Connections()
    opened.opened("a")
    cancelled = opened.cancel_flag("a")
    assert not cancelled()
    opened.closed("a")
    assert cancelled()
    opened.opened("a")
    assert cancelled()  # it stays set


def test_a_disconnect_before_the_request_does_not_cancel_it():
    opened = Connections()
    opened.opened("a")
    opened.closed("a")
    assert not opened.cancel_flag("a")()


def disconnecting(opened, reconnects):
    """Run a call whose client disconnects while it runs; return how often it ran."""
    ran = []

    def call(cancelled):
        ran.append(1)
        if len(ran) == 1:
            opened.closed("a")
            while not cancelled():
                time.sleep(0.01)
            raise ClientDisconnected
        return "answer"

    async def scenario():
        opened.opened("a")
        if reconnects:
            asyncio.get_running_loop().call_later(0.2, opened.opened, "a")
        return await run(opened, "a", call)

    return ran, scenario


def test_a_call_begins_again_when_its_client_connects_again():
    ran, scenario = disconnecting(Connections(), reconnects=True)
    assert asyncio.run(scenario()) == "answer"
    assert len(ran) == 2


def test_a_call_ends_when_its_client_stays_disconnected(monkeypatch):
    monkeypatch.setattr(connections, "DISCONNECT_GRACE_S", 0.1)
    ran, scenario = disconnecting(Connections(), reconnects=False)
    with pytest.raises(ClientDisconnected):
        asyncio.run(scenario())
    assert len(ran) == 1


def test_a_call_that_cancels_itself_does_not_begin_again():
    opened, ran = Connections(), []

    def call(cancelled):
        ran.append(1)
        raise ClientDisconnected

    opened.opened("a")
    with pytest.raises(ClientDisconnected):
        asyncio.run(run(opened, "a", call))
    assert len(ran) == 1


def test_only_the_last_disconnects_are_remembered(monkeypatch):
    monkeypatch.setattr(connections, "_MAX_CLOSED", 10)
    opened = Connections()
    for number in range(100):
        opened.opened(str(number))
        opened.closed(str(number))
    assert list(opened._closed_at) == [str(number) for number in range(90, 100)]
    assert not opened._open


def test_an_idle_server_runs_a_call_before_its_client_connects():
    assert asyncio.run(run(Connections(), "a", lambda cancelled: cancelled())) is False


def test_a_busy_server_runs_a_call_once_its_client_has_connected():
    opened, order, release = Connections(), [], threading.Event()

    async def scenario():
        running = asyncio.create_task(run(opened, "first", lambda cancelled: release.wait(10)))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(run(opened, "second", lambda cancelled: order.append("second")))
        await asyncio.sleep(0.2)
        order.append("connects")
        opened.opened("second")
        await waiting
        release.set()
        await running

    asyncio.run(scenario())
    assert order == ["connects", "second"]


def test_a_call_of_a_client_that_never_connects_does_not_run(monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.2)
    opened, ran, release = Connections(), [], threading.Event()

    async def scenario():
        running = asyncio.create_task(run(opened, "first", lambda cancelled: release.wait(10)))
        await asyncio.sleep(0.1)
        asyncio.get_running_loop().call_later(0.05, release.set)  # it does not run once the server is idle, either
        with pytest.raises(ClientDisconnected):
            await run(opened, "second", ran.append)
        await running

    asyncio.run(scenario())
    assert ran == []


def test_a_request_without_a_session_is_never_cancelled(monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.0)
    assert asyncio.run(run(Connections(), None, lambda cancelled: cancelled())) is False


def test_an_accepted_event_counts_until_it_ends():
    opened = Connections()
    opened.accepted("event", "a")
    assert (opened.pending, opened.n_requests, opened.sessions()) == (1, 1, {"a"})
    opened.ended("event")
    assert (opened.pending, opened.n_requests, opened.sessions()) == (0, 0, set())


def test_an_event_that_computes_counts_once():
    opened, counts = Connections(), []
    opened.accepted("event", "a")
    opened.opened("a")
    LocalContext.event_id.set("event")
    asyncio.run(run(opened, "a", lambda _: counts.append((opened.pending, opened.n_requests))))
    assert counts == [(1, 1)]
    assert (opened.pending, opened.n_requests) == (0, 0)


def test_a_request_is_pending_without_a_connection_for_a_while_only(monkeypatch):
    opened = Connections()
    opened.accepted("event", "a")
    monkeypatch.setattr(connections, "CONNECT_GRACE_S", 0.0)
    assert (opened.pending, opened.n_requests) == (0, 1)
    opened.opened("a")
    assert opened.pending == 1
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.0)
    assert (opened.pending, opened.n_requests) == (0, 0)


def test_accepted_events_that_never_begin_are_forgotten(monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.0)
    opened = Connections()
    for number in range(100):
        opened.accepted(str(number), "a")
    assert list(opened._accepted) == ["99"]
