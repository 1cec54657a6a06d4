"""Starts app.py as a process of its own, and tells where it serves."""

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
    """Return the environment in which downloads are kept in a folder."""
    return {"HF_HOME": str(folder / "hf"), "TORCH_HOME": str(folder / "torch"), "LINEUP_CACHE": str(folder / "lineup")}


def without_hub(folder: Path) -> dict[str, str]:
    """Return the environment of a newcomer with empty caches, and neither the Hub nor PyTorch's server in reach."""
    nobody = f"http://127.0.0.1:{free_port()}"
    unreachable = {"HF_ENDPOINT": nobody, "HTTPS_PROXY": nobody}  # torchvision's files lie at fixed addresses
    return {**os.environ, **caches(folder), **unreachable, "GRADIO_TEMP_DIR": str(folder / "uploads")}


@dataclass
class Served:
    """A running app.py: its address, and the file that its output goes to."""

    url: str
    log: Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serving(config: Path, env: dict[str, str], log: Path, patience_s: float = 90) -> Iterator[Served]:
    """Serve a config until the block is left; fails with the log when no page comes."""
    port = free_port()
    command = [sys.executable, "app.py", "--config", str(config), "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            served = Served(f"http://127.0.0.1:{port}/", log)
            _wait(served, process, time.monotonic() + patience_s)
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
    raise AssertionError(f"no page came:\n{served.log.read_text()}")
