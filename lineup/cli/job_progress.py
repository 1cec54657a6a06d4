"""Runs a job on the command line, with its progress on stderr."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from lineup.inference.jobs import JobStatus

_PROGRESS_S = 0.5


class Runs(Protocol):
    """What runs jobs of a kind, by id."""

    def start(self, name: str, /) -> threading.Thread:
        """Run a job in a thread."""

    def status(self, name: str, /) -> JobStatus:
        """Return what is known of a job."""

    def cancel(self, name: str, /) -> None:
        """Stop a job."""


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt in the main thread, so that what is half written is deleted."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(runs: Runs, name: str, items: str) -> bool:
    """Run a job, and return whether it ended by itself; Ctrl-C and SIGTERM stop it.

    Args:
        runs: runs it.
        name: its id.
        items: what it computes, in the plural.
    """
    with sigterm_as_ctrl_c():
        return _run(runs, name, items)


def _run(runs: Runs, name: str, items: str) -> bool:
    thread = runs.start(name)
    try:
        while thread.is_alive():
            thread.join(_PROGRESS_S)
            _show(runs.status(name), items)
    except KeyboardInterrupt:
        runs.cancel(name)
        thread.join(10)
        return False
    finally:
        print(end="\n" if sys.stderr.isatty() else "", file=sys.stderr)
    return runs.status(name).state != "cancelled"


def _show(status: JobStatus, items: str) -> None:
    """Print the progress on one line of a terminal."""
    if sys.stderr.isatty():
        rate = f", {status.rate_per_s:.0f}/s" if status.rate_per_s else ""
        left = f", {time.strftime('%H:%M:%S', time.gmtime(status.time_left_s))} left" if status.time_left_s else ""
        print(f"\r{status.done:,} of {status.total:,} {items}{rate}{left}    ", end="", file=sys.stderr, flush=True)
