import threading

import pytest
from waiting import until

from lineup.errors import ForwardTimeout
from lineup.inference.watchdog import Watchdog


class Recorder:
    """A watchdog, and the callbacks that it has called."""

    def __init__(self, timeout_s):
        self.calls = []
        self.watchdog = Watchdog(lambda: timeout_s, self.on_timeout)

    def on_timeout(self, name, error):
        self.calls.append(f"{name} hangs")
        return lambda: self.calls.append(name)


def test_call_within_the_timeout_returns_or_raises_its_own_result():
    recorder = Recorder(30)
    assert recorder.watchdog.run("a", lambda: 3) == 3
    with pytest.raises(MemoryError):
        recorder.watchdog.run("a", fail(MemoryError()))
    with pytest.raises(TimeoutError, match="its own"):
        recorder.watchdog.run("a", fail(TimeoutError("its own")))
    assert recorder.calls == []
    assert recorder.watchdog.hanging == 0


def test_timeout_of_a_batch_grows_with_its_images():
    recorder, held = Recorder(0.05), threading.Event()
    assert recorder.watchdog.run("a", lambda: not held.wait(0.2), n_images=400)
    assert recorder.calls == []
    with pytest.raises(ForwardTimeout, match=r"within 0.1 s"):
        recorder.watchdog.run("a", lambda: held.wait(30), n_images=2)
    held.set()


def fail(error):
    def call():
        raise error

    return call


def test_hanging_call_is_reported_and_counted_until_it_returns():
    recorder, held = Recorder(0.05), threading.Event()
    with pytest.raises(ForwardTimeout, match=r"a: expected an answer within 0.05 s; .*; choose another backbone"):
        recorder.watchdog.run("a", lambda: held.wait(30))
    assert recorder.calls == ["a hangs"]
    assert recorder.watchdog.hanging == 1
    assert recorder.watchdog.run("b", lambda: "answer", n_images=600) == "answer"  # however slow the machine is
    held.set()
    until(lambda: recorder.watchdog.hanging == 0)
    assert recorder.calls == ["a hangs", "a"]
