"""What a feature runs beside the page, and what it warns of, through the door that a fork uses."""

import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from requesting import ask
from serving import ROOT, free_port, without_hub
from waiting import until

import app
from lineup.features import Feature

EVENTS: list[str] = []
WARNINGS: list[str] = []


@contextmanager
def recorded(service):
    EVENTS.append(f"start with {service.config.default_name}")
    yield
    EVENTS.append("stop")


@contextmanager
def second(service):
    EVENTS.append("start second")
    yield
    EVENTS.append("stop second")
    raise RuntimeError("it cannot stop")


def broken(service):
    raise OSError("no such folder")


@contextmanager
def hanging(service):
    yield
    HELD.wait(30)


HELD = threading.Event()


def warnings(service):
    if "broken" in WARNINGS:
        raise ValueError("it is broken")
    return WARNINGS


@pytest.fixture(autouse=True)
def cleared():
    EVENTS.clear()
    WARNINGS.clear()
    HELD.clear()
    yield
    HELD.set()


def feature(name, **parts):
    return Feature(name, **{part: f"{__name__}:{target}" for part, target in parts.items()})


def test_background_starts_with_the_page_and_stops_in_reverse_order(make_service, fakes, caplog):
    features = [feature("recorded", background="recorded"), feature("second", background="second"), Feature("none")]
    with app.background(make_service("backbones: ['fake:a']"), features):
        assert EVENTS == ["start with fake:a", "start second"]
    assert EVENTS[2:] == ["stop second", "stop"]  # although the second one fails to stop
    assert "second: it did not stop cleanly" in caplog.text


def test_page_is_served_without_a_background_that_does_not_start(make_service, fakes, caplog):
    features = [feature("broken", background="broken"), feature("recorded", background="recorded")]
    with app.background(make_service("backbones: ['fake:a']"), features):
        assert EVENTS == ["start with fake:a"]
    assert "broken: it does not run in the background" in caplog.text
    assert "no such folder" in caplog.text


def test_background_that_does_not_stop_delays_the_end_for_a_limited_time(make_service, fakes, caplog, monkeypatch):
    monkeypatch.setattr(app, "STOP_S", 0.05)
    with app.background(make_service("backbones: ['fake:a']"), [feature("hanging", background="hanging")]):
        pass
    assert "the features did not stop within 0.05 s" in caplog.text
    HELD.set()
    until(lambda: "stop" not in {thread.name for thread in threading.enumerate()})


def test_readyz_names_warnings_and_stays_200(make_service, fakes):
    service = make_service("backbones: ['fake:a']")
    demo, _ = app.launch(service, free_port(), features=[feature("warned", warnings="warnings")])
    try:
        assert service.probed.wait(30)

        def readyz():
            status, _, text = ask(f"127.0.0.1:{demo.server_port}", "GET", "/readyz")
            return status, json.loads(text)["detail"]

        assert readyz() == (200, "ok")
        WARNINGS.extend(["feedback cannot be pushed", "the disk is almost full"])
        assert readyz() == (200, "feedback cannot be pushed; the disk is almost full")
        WARNINGS.append("broken")
        assert readyz() == (200, "ok")
    finally:
        demo.close(verbose=False)


SERVED = """
import os, sys
sys.argv[0] = "app.py"
sys.path[:0] = [os.getcwd(), os.path.join(os.getcwd(), "tests", "support")]
import background_feature
from lineup.features import FEATURES, Feature
FEATURES["recorded"] = Feature("recorded", background="background_feature:recorded")
import runpy
runpy.run_path("app.py", run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_background_stops_before_the_process_exits(tmp_path, number):
    lite0 = f"local-dir:{ROOT}/bundled/efficientnet_lite0"
    (tmp_path / "config.yaml").write_text(f"engine: torch\nbackbones: ['{lite0}']\n")
    events = tmp_path / "events.txt"
    env = {**without_hub(tmp_path), "EVENTS": str(events)}
    command = [sys.executable, "-c", SERVED, "--config", str(tmp_path / "config.yaml"), "--port", str(free_port())]
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            until(lambda: events.exists() or process.poll() is not None, timeout_s=90)
            process.send_signal(number)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
    assert events.read_text() == "start\nstop\n", (tmp_path / "log.txt").read_text()
