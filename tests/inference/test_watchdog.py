import threading

import pytest
from waiting import until

from lineup.errors import ForwardTimeout
from lineup.inference.watchdog import Watchdog


class Told:
    """What a watch told of calls that hang."""

    def __init__(self, timeout_s):
        self.said = []
        self.watch = Watchdog(
            timeout_s, lambda name, error: self.said.append(f"{name} hangs"), lambda name: self.said.append(name)
        )


def test_a_call_in_time_returns_or_raises_what_it_does():
    told = Told(30)
    assert told.watch.run("a", lambda: 3) == 3
    with pytest.raises(MemoryError):
        told.watch.run("a", fail(MemoryError()))
    with pytest.raises(TimeoutError, match="its own"):
        told.watch.run("a", fail(TimeoutError("its own")))
    assert told.said == []
    assert told.watch.hanging == 0


def fail(error):
    def call():
        raise error

    return call


def test_a_call_that_hangs_is_told_and_counted_until_it_returns_and_others_go_on():
    told, held = Told(0.05), threading.Event()
    with pytest.raises(ForwardTimeout, match=r"a: expected an answer within 0.05 s; .*; choose another backbone"):
        told.watch.run("a", lambda: held.wait(30))
    assert told.said == ["a hangs"]
    assert told.watch.hanging == 1
    assert told.watch.run("b", lambda: "answer") == "answer"
    held.set()
    until(lambda: told.watch.hanging == 0)
    assert told.said == ["a hangs", "a"]
