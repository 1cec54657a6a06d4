"""Starts and ends a Ray cluster of this machine alone."""

import os
import socket
import subprocess
import sys
import time

import psutil

from lineup.errors import LineupError
from lineup.hub.cache_folder import cache_folder
from lineup.inference.cluster.connection import ALWAYS, ONLY_THIS_MACHINE, LocalCluster, listens

START_S, STOP_S = 180.0, 60.0
_PORT, _DASHBOARD_PORT = 6379, 8265  # Ray's own, where they are free
_STORE_BYTES = 256 << 20  # shared memory for objects: image files are smaller, and gone in a moment
_RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]


def start() -> LocalCluster:
    """Start a cluster whose ports are open to this machine alone, and to who has Ray's token in the home folder.

    Raises:
        LineupError: when it does not start.
    """
    environment = {**os.environ, **ALWAYS, **ONLY_THIS_MACHINE, "RAY_AUTH_MODE": "token"}
    environment["RAY_worker_niceness"] = "0"  # it is 15 otherwise: beside any other work, replicas would starve
    environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] = "0"  # nothing is left that could end by itself
    environment.pop("RAY_ADDRESS", None)
    make_token = [*_RAY, "get-auth-token", "--generate"]
    subprocess.run(make_token, env=environment, capture_output=True, check=False, umask=0o077)
    port, log = _free(_PORT), cache_folder("cluster") / "ray.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = ["start", "--head", "--block", "--disable-usage-stats", f"--port={port}", "--dashboard-host=127.0.0.1"]
    arguments += [f"--dashboard-port={_free(_DASHBOARD_PORT)}", f"--object-store-memory={_STORE_BYTES}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_RAY, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until = time.monotonic() + START_S
    while b"Ray runtime started" not in log.read_bytes():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            raise LineupError("cluster", "Ray to start on this machine", "it did not", f"see {log}")
        time.sleep(0.1)
    found = LocalCluster(f"127.0.0.1:{port}", process.pid, psutil.Process(process.pid).create_time())
    found.remember()
    return found


def stop(cluster: LocalCluster) -> None:
    """End a cluster that `start` has started, with all its processes.

    Raises:
        LineupError: when it does not end.
    """
    if not cluster.runs:
        return
    process = psutil.Process(cluster.pid)
    children = process.children(recursive=True)
    process.terminate()
    _, alive = psutil.wait_procs([process, *children], STOP_S / 2)
    for each in alive:
        each.kill()
    if psutil.wait_procs(alive, STOP_S / 2)[1]:
        raise LineupError(
            "cluster", "Ray to end", f"process {cluster.pid} does not", "end it yourself: ray stop --force"
        )


def _free(preferred: int) -> int:
    """Return a port that is free: this one, or any."""
    if not listens(f"127.0.0.1:{preferred}"):
        return preferred
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
