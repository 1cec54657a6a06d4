"""The command `cluster`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from programs import module

from lineup.cli.main import main
from lineup.features import FEATURES
from lineup.features.cluster.commands import text
from lineup.inference.cluster import connection
from lineup.inference.cluster.status import ReplicaSeen, Seen

ROOT = Path(__file__).parents[3]
CONFIG = "backbones: [{name: tiny, backbone: test_resnet, pretrained: false}]\nengine: torch\nprecision: float32\n"


def test_replicas_are_shown_with_what_they_have_loaded():
    replica = ReplicaSeen("r1", "node-1", 42, ("a", "b"), {"a": 1, "b": 3}, 2, 90, 1, 4.25)
    seen = Seen("RUNNING", "", {"RUNNING": 1, "STARTING": 1}, (replica, ReplicaSeen("r2")), ("10.0.0.1",), "http://d")
    assert text(seen) == [
        "running: 1 running, 1 starting; nodes: 10.0.0.1",
        "replica  node:process  loaded  loads     requests  answers/s  errors",
        "r1       node-1:42     a, b    a 1, b 3         2        4.2       1",
        "r2       starting      -       -                0        0.0       0",
        "Ray's dashboard: http://d",
    ]
    assert text(Seen("NOT_DEPLOYED")) == ["not deployed: no replicas; nodes: "]


@pytest.mark.parametrize("action", ["up", "status", "down"])
def test_command_names_the_requirements_without_ray(action, tmp_path, monkeypatch, capsys):
    (tmp_path / "config.yaml").write_text(CONFIG)
    monkeypatch.setattr(connection.importlib.util, "find_spec", lambda name: None)
    assert main(["cluster", action, "--config", str(tmp_path / "config.yaml")], FEATURES.values()) == 2
    expected = f"error: cluster {action}: expected Ray; it is not installed; pip install -r requirements-cluster.txt\n"
    assert capsys.readouterr().err == expected


@pytest.fixture
def lineup():
    """Return a function that runs a command with a home folder of its own; what it has started ends with the test."""
    module("ray", "requirements-cluster.txt")
    home = Path(tempfile.mkdtemp(prefix="lu", dir="/tmp"))  # Ray's sockets have long names below it
    (home / "config.yaml").write_text(CONFIG + "cluster: {address: auto}\n")
    own = {"HOME": str(home), "LINEUP_CACHE": str(home / "cache"), "RAY_TMPDIR": str(home), "PYTHONPATH": str(ROOT)}
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | own

    def run(*arguments):
        command = [sys.executable, "-m", "lineup", *arguments, "--config", str(home / "config.yaml"), "--json"]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)

    run.home = home
    yield run
    run("cluster", "down")
    shutil.rmtree(home, ignore_errors=True)


def started(home):
    """Return the processes of the cluster below a home folder."""
    found = json.loads((home / "cache" / "cluster" / "local.json").read_text())
    process = psutil.Process(found["pid"])
    return [process, *process.children(recursive=True)]


@pytest.mark.long
def test_cluster_goes_up_answers_on_this_machine_alone_and_goes_down(lineup, image):
    up = lineup("cluster", "up")
    assert up.returncode == 0, up.stderr
    assert json.loads(up.stdout)["status"] == "RUNNING"
    processes = started(lineup.home)
    listening = [
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 5
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    assert (lineup.home / ".ray" / "auth_token").stat().st_mode & 0o077 == 0
    answer = lineup("classify", str(image))
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["backbone"] == "tiny"
    status = json.loads(lineup("cluster", "status").stdout)
    assert status["replicas"][0]["node"]
    assert lineup("cluster", "up").returncode == 0  # once more: an update
    assert started(lineup.home)[0] == processes[0]
    assert json.loads(lineup("cluster", "down").stdout) == {"removed": True, "ended": True}
    assert [process for process in processes if process.is_running()] == []
    gone = lineup("cluster", "status")
    assert gone.returncode == 2
    assert gone.stderr.endswith(
        "error: cluster: expected a Ray cluster on this machine; none runs; python -m lineup cluster up\n"
    )
