"""Starts this app and comparable model servers, each in an environment of its own, for rest.py.

All serve the same converted network after the same preprocessing: `http_peers/network.py` has that of the peers.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil
from http_load import Target
from served import ROOT, START_TIMEOUT_S
from serving import free_port

HERE = Path(__file__).parent
FORM = "multipart/form-data; boundary=b"
LINEUP = "Lineup"
STOP_S = 15.0
SHARED = ("numpy", "openvino", "pillow")  # of which peers get the versions that are installed here
PEERS: dict[str, tuple[str, ...]] = {  # name → packages; none of them needs torch
    "LitServe": ("litserve==0.2.19", "python-multipart"),
    "BentoML": ("bentoml==1.4.40",),
    "Ray Serve": ("ray[serve]==2.60.0",),
}


@dataclass(frozen=True)
class Server:
    """A server to measure.

    Attributes:
        name: of the product.
        settings: what differs from others of that name, in words.
        command: the program and its arguments, with a placeholder {port}.
        folder: the working directory.
        env: environment variables.
        path: of the endpoint.
        takes_forms: whether images are sent as a form instead of a body.
    """

    name: str
    settings: str
    command: tuple[str, ...]
    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    path: str = "/predict"
    takes_forms: bool = False

    def target(self, url: str, images: Mapping[str, Sequence[Path]]) -> Target:
        """Return where and how images are posted, given files with bodies by kind."""
        if self.takes_forms:
            return Target(url + self.path, FORM, images["form"])
        return Target(url + self.path, "image/jpeg", images["jpeg"])


@dataclass(frozen=True)
class Running:
    """A running server."""

    url: str
    process: psutil.Process

    def pss_mb(self) -> float:
        """Return the proportional share of memory of all its processes."""
        total = 0
        for process in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total / 1e6

    def imports_torch(self) -> bool:
        """Return whether a process of it has loaded torch's library."""
        return any("libtorch" in Path(f"/proc/{each.pid}/maps").read_text() for each in _tree(self.process))


def _tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def environment(name: str, folder: Path) -> Path:
    """Make an environment with a peer's packages, and return its interpreter.

    Raises:
        RuntimeError: when they cannot be installed.
    """
    python = folder / "bin" / "python"
    packages = [*PEERS[name], *(f"{package}=={version(package)}" for package in SHARED)]
    if uv := shutil.which("uv"):
        commands = [[uv, "venv", "-q", str(folder)], [uv, "pip", "install", "-q", "--python", str(python), *packages]]
    else:
        commands = [[sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "-q", *packages]]
    env = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}  # which has this app's versions
    for command in commands:
        ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=900)
        if ran.returncode:
            raise RuntimeError(f"{name} cannot be installed: {ran.stderr.strip()[-300:]}")
    return python


def lineup(config: Path, cache: Path) -> Server:
    """Return this app, with its default limits."""
    env = {"LINEUP_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": str(cache.parent / "uploads")}
    command = (sys.executable, "app.py", "--config", str(config), "--port", "{port}")
    return Server(LINEUP, "as installed", command, ROOT, env, "/v1/models/resnet18")


def peers(name: str, python: Path, network: Path) -> list[Server]:
    """Return a peer with each of the settings that suit two cores: one process on all, or one process for each."""
    cores, found = os.cpu_count() or 1, []
    for workers in (1, cores):
        env = {"PEER_NETWORK": str(network), "PEER_THREADS": str(cores // workers), "WORKERS": str(workers)}
        env |= {"HOME": str(network), "BENTOML_DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        env |= {"RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": str(network)}
        module = {"LitServe": "litserve_app.py", "BentoML": "bentoml_app:Classifier", "Ray Serve": "ray_app.py"}[name]
        arguments = (module, "{port}", str(workers))
        if name == "BentoML":
            arguments = ("-m", "bentoml", "serve", module, "--host", "127.0.0.1", "--port", "{port}")
        settings = f"{workers} worker{'s' * (workers > 1)} of {cores // workers} thread{'s' * (cores > workers)}"
        command, takes_forms = (str(python), *arguments), name != "Ray Serve"
        found.append(Server(name, settings, command, HERE / "http_peers", env, takes_forms=takes_forms))
    return found


@contextmanager
def running(server: Server, images: Mapping[str, Sequence[Path]], log: Path) -> Iterator[Running]:
    """Run a server for the duration of the block, in a session of its own, which has to answer an image first.

    Raises:
        RuntimeError: when it does not before the timeout; the message has the end of its output.
    """
    port = free_port()
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [part.format(port=port) for part in server.command],
            cwd=server.folder,
            env={**os.environ, **server.env},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        process = psutil.Process(popen.pid)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for_answer(server, server.target(url, images), popen, log)
            yield Running(url, process)
        finally:
            _stop(process, popen)


def _wait_for_answer(server: Server, target: Target, popen: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while popen.poll() is None and time.monotonic() < deadline:
        with suppress(URLError, ConnectionError, TimeoutError):
            answer = ask(target, "?details=1" if server.name == LINEUP else "")
            if server.name != LINEUP or answer["engine"] == "openvino":  # torch computes first
                return
        time.sleep(0.2)
    end = " ".join(log.read_text(errors="replace").split())[-300:]
    raise RuntimeError(f"{server.name} has not answered within {START_TIMEOUT_S} s: {end}")


def ask(target: Target, query: str = "") -> Any:
    """Post the first body, and return the answer."""
    headers = {"Content-Type": target.content_type}
    with urlopen(Request(target.url + query, target.bodies[0].read_bytes(), headers), timeout=30) as response:
        return json.load(response)


def scores(answer: Any) -> list[float]:
    """Return the scores in the answer of any of the servers."""
    classes = answer["classes"] if isinstance(answer, dict) else answer
    return [each["score"] for each in classes]


def _stop(process: psutil.Process, popen: "subprocess.Popen[bytes]") -> None:
    """Ask a server's processes to end, and end those that do not: some leave workers behind."""
    processes = _tree(process) if process.is_running() else []
    with suppress(ProcessLookupError):
        os.killpg(popen.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, STOP_S)
    for each in alive:
        with suppress(psutil.Error):
            each.kill()
    popen.wait()
