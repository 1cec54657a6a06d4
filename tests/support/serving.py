"""Runs app.py as a subprocess."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


def caches(folder: Path) -> dict[str, str]:
    """Return the environment variables that put all caches in a folder."""
    return {"HF_HOME": str(folder / "hf"), "TORCH_HOME": str(folder / "torch"), "LINEUP_CACHE": str(folder / "lineup")}


def without_hub(folder: Path) -> dict[str, str]:
    """Return an environment with empty caches in which the Hub and PyTorch's server are unreachable."""
    closed_port_url = f"http://127.0.0.1:{free_port()}"
    unreachable = {"HF_ENDPOINT": closed_port_url, "HTTPS_PROXY": closed_port_url}  # torchvision has fixed URLs
    return {**os.environ, **caches(folder), **unreachable, "GRADIO_TEMP_DIR": str(folder / "uploads")}


@dataclass
class Served:
    """A running app.py: its URL and its log file."""

    url: str
    log: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(
    config: Path, env: dict[str, str], log: Path, timeout_s: float = 240, script: str = "app.py", port: int = 0
) -> Iterator[Served]:
    """Run app.py with a config for the duration of the block; fail with its log if it does not become ready."""
    port = port or free_port()
    command = [sys.executable, script, "--config", str(config), "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            served = Served(f"http://127.0.0.1:{port}/", log)
            _wait(served, process, time.monotonic() + timeout_s)
            yield served
        finally:
            process.terminate()
            process.wait(20)


def _wait(served: Served, process: subprocess.Popen[bytes], until: float) -> None:
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(served.url, timeout=5).close()
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"the page did not become ready:\n{served.log.read_text()}")
