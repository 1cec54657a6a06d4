import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import until

from lineup.errors import BusyError, ClientDisconnected
from lineup.inference import queue
from lineup.inference.queue import ComputeQueue, Connections, LocalClient, Session


class Somebody:
    """A visitor who does as a test says."""

    def __init__(self, listens=True):
        self.listens, self.left = listens, False

    def listening(self):
        return self.listens and not self.left

    def gone(self):
        return self.left


@pytest.fixture
def turns():
    return ComputeQueue(20)


def stand(threads, turns, visitor, served, name):
    """Let somebody stand in line, and return once he does."""
    before = len(turns)

    def take():
        with turns.taken(visitor):
            served.append(name)

    asked = threads.submit(take)
    until(lambda: len(turns) > before or asked.done())
    return asked


def test_turns_are_taken_one_after_the_other_in_the_order_of_coming(turns):
    served, inside = [], []
    with ThreadPoolExecutor(9) as threads:
        with turns.taken(LocalClient()):
            for name in range(8):
                stand(threads, turns, Somebody(), served, name)
            inside.append(list(served))
        until(lambda: len(served) == 8)
    assert inside == [[]]
    assert served == list(range(8))
    assert len(turns) == 0


def test_who_does_not_listen_yet_is_passed_over_until_he_does(turns):
    served, deaf = [], Somebody(listens=False)
    with ThreadPoolExecutor(4) as threads:
        with turns.taken(LocalClient()):
            stand(threads, turns, deaf, served, "deaf at first")
            stand(threads, turns, Somebody(), served, "listening")
        until(lambda: len(turns) == 1)
        assert served == ["listening"]
        deaf.listens = True
        turns.look()
        until(lambda: len(turns) == 0)
    assert served == ["listening", "deaf at first"]


def test_at_an_idle_moment_nobody_has_to_listen_first(turns):
    with turns.taken(Somebody(listens=False)):
        turns.look()
        assert len(turns) == 1


def test_who_has_gone_is_dropped_before_his_turn(turns):
    served, visitor = [], Somebody()
    with ThreadPoolExecutor(2) as threads, turns.taken(LocalClient()):
        asked = stand(threads, turns, visitor, served, "gone")
        visitor.left = True
        with pytest.raises(ClientDisconnected):
            asked.result(5)
        assert len(turns) == 1
    assert served == []


def test_who_goes_just_when_it_is_his_turn_passes_it_on(turns, monkeypatch):
    monkeypatch.setattr(queue, "_LOOK_S", 60)  # nobody looks before he is called
    served, visitor = [], Somebody()
    with ThreadPoolExecutor(2) as threads:
        with turns.taken(LocalClient()):
            gone = stand(threads, turns, visitor, served, "gone")
            stand(threads, turns, Somebody(), served, "next")
            visitor.left, visitor.listening = True, lambda: True  # he hangs up just after he was looked at
        with pytest.raises(ClientDisconnected):
            gone.result(5)
    assert served == ["next"]


def test_a_turn_that_fails_is_given_back(turns):
    for _ in range(3):
        with pytest.raises(ValueError, match="no"), turns.taken(LocalClient()):
            raise ValueError("no")
    assert len(turns) == 0


def test_too_many_are_told_how_many_there_are():
    turns, served = ComputeQueue(2), []
    with ThreadPoolExecutor(2) as threads, turns.taken(LocalClient()):
        stand(threads, turns, Somebody(), served, "second")
        with pytest.raises(BusyError, match="busy: 2 visitors are waiting already; try again in some seconds"):
            turns._stand(Somebody())


def test_many_at_once_each_have_exactly_one_turn():
    turns, inside, served = ComputeQueue(1000), [], []

    def take(name):
        for _ in range(20):
            with turns.taken(Somebody()):
                inside.append(name)
                assert len(inside) == 1
                served.append(name)
                inside.pop()

    threads = [threading.Thread(target=take, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(served) == sorted(list(range(16)) * 20)
    assert len(turns) == 0


# --- sessions ---


def test_a_session_listens_while_one_of_its_connections_is_open():
    presence = Connections()
    visitor = Session(presence, "a")
    assert not visitor.listening()
    presence.came("a")
    presence.came("a")
    presence.left("a")
    assert visitor.listening()
    presence.left("a")
    assert not visitor.listening()


def test_who_has_not_begun_to_listen_yet_is_waited_for(monkeypatch):
    visitor = Session(Connections(), "a")
    assert not visitor.gone()
    monkeypatch.setattr(queue, "NEVER_CONNECTED_S", 0.0)
    assert visitor.gone()


def test_who_stops_listening_has_gone_unless_he_is_back_at_once(monkeypatch):
    presence = Connections()
    visitor = Session(presence, "a")
    presence.came("a")
    presence.left("a")
    assert not visitor.gone()
    monkeypatch.setattr(queue, "DISCONNECT_GRACE_S", 0.0)
    assert visitor.gone()
    presence.came("a")
    assert not visitor.gone()


def test_who_left_before_he_asked_again_is_waited_for(monkeypatch):
    monkeypatch.setattr(queue, "DISCONNECT_GRACE_S", 0.0)
    presence = Connections()
    presence.came("a")
    presence.left("a")
    time.sleep(0.01)
    assert not Session(presence, "a").gone()


def test_of_visitors_who_left_only_so_many_are_remembered(monkeypatch):
    monkeypatch.setattr(queue, "_REMEMBERED", 10)
    presence = Connections()
    for number in range(100):
        presence.came(str(number))
        presence.left(str(number))
    assert len(presence._left_at) == 10
    assert not presence._open
    assert presence.left_at("99")
