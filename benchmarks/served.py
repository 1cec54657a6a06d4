"""Runs an app in a separate process, and measures its start-up time and memory."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "support"))

from serving import free_port

START_TIMEOUT_S = 120


@dataclass(frozen=True)
class App:
    """An app to measure: its name in the tables, its command line and its endpoint."""

    name: str
    command: tuple[str, ...]  # arguments of the interpreter, with a placeholder {port}
    api: str = "/predict"


@dataclass
class Running:
    """A running app that has served its page."""

    app: App
    url: str
    process: subprocess.Popen[bytes]
    started: float
    page_s: float

    def since_start(self) -> float:
        """Return the seconds since the start of the process."""
        return time.perf_counter() - self.started

    def memory_mb(self, field: str) -> float:
        """Sum a field of /proc/PID/status, such as `VmHWM` (peak) or `VmRSS` (current), over the process tree."""
        main = psutil.Process(self.process.pid)
        return sum(_memory_kb(process.pid, field) for process in (main, *main.children(recursive=True))) / 1024


@contextmanager
def running(app: App, home: Path, env: dict[str, str]) -> Iterator[Running]:
    """Run an app for the duration of the block.

    Raises:
        RuntimeError: when it serves no page before the timeout; the message has the end of its output.
    """
    port, log = free_port(), home / f"{app.name.replace(' ', '-').replace(',', '')}.log"
    command = [sys.executable, *(part.format(port=port) for part in app.command)]
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **env, "GRADIO_SERVER_PORT": str(port)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            url = f"http://127.0.0.1:{port}/"
            page_s = _wait_for_page(url, process, started, log)
            yield Running(app, url, process, started, page_s)
        finally:
            _stop(process)


def _wait_for_page(url: str, process: subprocess.Popen[bytes], started: float, log: Path) -> float:
    while process.poll() is None and time.perf_counter() - started < START_TIMEOUT_S:
        try:
            with urllib.request.urlopen(url, timeout=30) as page:
                if page.status == 200 and b"</html>" in page.read():
                    return time.perf_counter() - started
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.02)
    raise RuntimeError(
        f"no page within {START_TIMEOUT_S} s: {' '.join(log.read_text(errors='replace').split())[-300:]}"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _memory_kb(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)
