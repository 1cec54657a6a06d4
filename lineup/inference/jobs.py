"""Long runs, such as an evaluation or a training: each has an id, progress, a cancel flag, and results on disk.

A job is a folder. Its results are appended to a file, item by item, so that a killed process loses at most the item at
hand, and another process resumes after the last one. A lock, which ends with the process, tells that a job is running.
"""

import json
import logging
import re
import secrets
import shutil
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lineup.errors import INTERNAL_ERROR, ClientDisconnected, LineupError, writing_errors
from lineup.hub import atomic_write
from lineup.inference.queue import Cancelled

_log = logging.getLogger(__name__)

KEEP_DAYS = 30.0
LOCK_TIMEOUT_S = 1.0  # others hold the lock for a moment, to see whether a job is running
_WINDOW = 64  # records from which the rate is computed
_ID = re.compile(r"[\w-]{16}")
_JOB, _RESULTS, _CANCEL, _LOCK = "job.json", "results.jsonl", "cancel", "writer.lock"
_DELETED = "deleted"  # a running job is deleted at its end

State = Literal["running", "interrupted", "cancelled", "failed", "done"]
Turn = Callable[[Cancelled], AbstractContextManager[None]]


@dataclass(frozen=True)
class JobStatus:
    """What is known of a job now.

    Attributes:
        id: names the job in addresses; it cannot be guessed.
        kind: what the job does, such as evaluation.
        settings: what it was created with.
        state: interrupted if its process ended; an interrupted, cancelled or failed job can be resumed.
        done: the number of items with a result.
        total: the number of items.
        problem: why it failed; empty if it did not.
        rate_per_s: items per second lately; None if unknown, or if the job does not run in this process.
    """

    id: str
    kind: str
    settings: Mapping[str, Any]
    state: State
    done: int
    total: int
    problem: str = ""
    rate_per_s: float | None = None

    @property
    def time_left_s(self) -> float | None:
        """Return the time until all items are done, if the rate stays as it is; None if it is unknown."""
        return (self.total - self.done) / self.rate_per_s if self.rate_per_s else None


class Job:
    """A running job, as the function that does its work sees it; to be used by one thread at a time.

    Attributes:
        folder: holds its results, and may hold other files of its work.
        settings: what it was created with.
        done: the number of items that have a result: work begins, or resumes, with the item of this index.
    """

    def __init__(self, folder: Path, turn: Turn, clock: Callable[[], float]) -> None:
        self.folder, self._turn, self._clock = folder, turn, clock
        self._lock = _take_lock(folder)
        (folder / _CANCEL).unlink(missing_ok=True)
        self.settings: Mapping[str, Any] = _read(folder)["settings"]
        self._results = (folder / _RESULTS).open("ab")
        self._results.truncate(_whole_bytes(folder))  # the last line may be part of what a killed process wrote
        self.done = _count(folder)
        self._records = deque([(clock(), self.done)], _WINDOW)

    @contextmanager
    def slice(self) -> Iterator[None]:
        """Compute in the block, while no request does; requests wait for its end, so keep it as short as one of them.

        Raises:
            ClientDisconnected: when the job is cancelled.
        """
        with self._turn(self.cancelled):
            self.check()
            yield

    def record(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Write the results of the next items; they may not hold NaN or infinity.

        Raises:
            ClientDisconnected: when the job is cancelled; the results are kept.
            LineupError: when they cannot be written.
        """
        lines = [json.dumps(result, allow_nan=False).encode() + b"\n" for result in results]
        with writing_errors("job", "results on disk", "free some space, and resume it"):
            self._results.write(b"".join(lines))
            self._results.flush()
        self.done += len(lines)
        self._records.append((self._clock(), self.done))
        self.check()

    def cancelled(self) -> bool:
        """Return whether the job is cancelled, in this process or another."""
        return (self.folder / _CANCEL).exists()

    @property
    def rate_per_s(self) -> float | None:
        """Return items per second of the last records, which falls while nothing is recorded; None before the first."""
        since, before = self._records[0]
        elapsed_s = self._clock() - since
        return (self.done - before) / elapsed_s if self.done > before and elapsed_s > 0 else None

    def end(self, state: State, problem: str = "") -> None:
        """Write the final state."""
        try:
            _write_state(self.folder, state, problem)
        except OSError:  # a full disk: the job counts as interrupted
            _log.exception("%s: the state of the job cannot be written", self.folder)

    def release(self) -> None:
        """Let others resume the job."""
        with suppress(OSError):  # a full disk
            self._results.close()
        self._lock.close()

    def check(self) -> None:
        """Raise ClientDisconnected if the job is cancelled."""
        if self.cancelled():
            raise ClientDisconnected


class Jobs:
    """The jobs in a folder, of this process and others. Thread-safe.

    Args:
        folder: is created if necessary.
        turn: waits until a job may compute: the `background_turn` of an execution.
        clock: returns seconds.
        keep_days: a job that was not written to for so long is deleted.
    """

    def __init__(
        self, folder: Path, turn: Turn, clock: Callable[[], float] = time.monotonic, keep_days: float = KEEP_DAYS
    ) -> None:
        self._folder, self._turn, self._clock, self._keep_days = folder, turn, clock, keep_days
        self._running: dict[str, Job] = {}

    def create(self, kind: str, settings: Mapping[str, Any], total: int) -> str:
        """Create a job, to be started by `run` or `start`, and return its id.

        Args:
            kind: what it does.
            settings: all that another process needs to resume it, as JSON.
            total: the number of items.

        Raises:
            LineupError: when the folder cannot be written.
        """
        name = secrets.token_urlsafe(12)
        with writing_errors(str(self._folder), "a folder for jobs", "check it and the disk"):
            self.delete_old()
            (self._folder / name).mkdir(parents=True)
            job = {"kind": kind, "settings": settings, "total": total, "state": "running", "problem": ""}
            _write(self._folder / name, job)
        return name

    def run(self, name: str, work: Callable[[Job], None]) -> JobStatus:
        """Begin or resume a job in this thread, and return its status once it has ended.

        Args:
            name: its id.
            work: computes the items from `job.done` on, in slices, and records their results.

        Raises:
            LineupError: when there is no such job, or it is running already, in this process or another.
        """
        job = self._open(name)
        self._work(name, job, work)
        return self.status(name)

    def start(self, name: str, work: Callable[[Job], None]) -> threading.Thread:
        """Begin or resume a job in a thread of its own, as `run` does; return the thread."""
        job = self._open(name)
        thread = threading.Thread(target=self._work, args=(name, job, work), name=f"job {name}", daemon=True)
        thread.start()
        return thread

    def cancel(self, name: str) -> None:
        """Set a job's cancel flag; it ends before its next slice, and keeps its results."""
        (self.folder(name) / _CANCEL).touch()

    def status(self, name: str) -> JobStatus:
        """Return what is known of a job now.

        Raises:
            LineupError: when there is no such job.
        """
        folder, job = self.folder(name), self._running.get(name)
        is_locked = not job and _is_locked(folder)  # first, as the state is written before the lock is released
        data = _read(folder)
        state: State = "running" if job else data["state"]  # also before its thread has written that
        if state == "running" and not (job or is_locked):
            state = "interrupted"
        done, rate_per_s = (job.done, job.rate_per_s) if job else (_count(folder), None)
        return JobStatus(name, data["kind"], data["settings"], state, done, data["total"], data["problem"], rate_per_s)

    def results(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the results so far, in the order of the items."""
        path = self.folder(name) / _RESULTS
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield json.loads(line)

    def folder(self, name: str) -> Path:
        """Return the folder of a job, which may hold other files of its work.

        Raises:
            LineupError: when there is no such job.
        """
        folder = self._folder / name
        if not _ID.fullmatch(name) or not (folder / _JOB).is_file() or (folder / _DELETED).exists():
            raise LineupError("job", "the id of a job", f"got {name[:60]!r}", "start it again")
        return folder

    def _open(self, name: str) -> Job:
        folder = self.folder(name)
        job = Job(folder, self._turn, self._clock)
        self._running[name] = job
        return job

    def _work(self, name: str, job: Job, work: Callable[[Job], None]) -> None:
        try:
            _write_state(job.folder, "running")
            work(job)
            job.end("done")
        except ClientDisconnected:
            job.end("cancelled")
        except LineupError as error:
            job.end("failed", str(error))
        except Exception:
            _log.exception("job %s failed", name)
            job.end("failed", INTERNAL_ERROR)
        finally:
            job.release()  # after KeyboardInterrupt, too
            self._running.pop(name, None)
            if (job.folder / _DELETED).exists():
                shutil.rmtree(job.folder, ignore_errors=True)

    def delete(self, name: str) -> None:
        """Delete a job with its results; one that is running is cancelled, and its folder deleted at its end."""
        folder = self.folder(name)
        self.cancel(name)
        (folder / _DELETED).touch()
        if not _is_locked(folder):
            shutil.rmtree(folder, ignore_errors=True)

    def delete_old(self) -> None:
        """Delete the jobs that are too old and not running."""
        if not self._folder.is_dir():
            return
        for folder in self._folder.iterdir():
            if not (_ID.fullmatch(folder.name) and self._is_old(folder)):
                continue
            with suppress(LineupError, OSError), closing(_take_lock(folder, 0)):  # else it is running
                if self._is_old(folder):  # it may have been resumed, and have ended, since
                    (folder / _JOB).unlink()
            if not (folder / _JOB).exists():
                shutil.rmtree(folder, ignore_errors=True)  # without the lock: Windows deletes no open file

    def _is_old(self, folder: Path) -> bool:
        files = [path for path in (folder / _JOB, folder / _RESULTS) if path.is_file()]
        age_s = time.time() - max((path.stat().st_mtime for path in files), default=time.time())
        return age_s > self._keep_days * 24 * 3600 or (folder / _DELETED).exists()


def _read(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / _JOB).read_text(encoding="utf-8"))
    return data


def _write(folder: Path, data: Mapping[str, Any]) -> None:
    """Replace the description of a job in one step, so that a reader never sees half of it."""
    atomic_write.write_text(folder / _JOB, json.dumps(data))


def _write_state(folder: Path, state: State, problem: str = "") -> None:
    _write(folder, {**_read(folder), "state": state, "problem": problem})


def _whole_bytes(folder: Path) -> int:
    """Return the length of the results up to the end of the last whole line."""
    return (folder / _RESULTS).read_bytes().rfind(b"\n") + 1


def _count(folder: Path) -> int:
    path = folder / _RESULTS
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _take_lock(folder: Path, timeout_s: float = LOCK_TIMEOUT_S) -> sqlite3.Connection:
    """Lock a job until the connection is closed or the process ends: SQLite has a lock for each platform."""
    connection = _lock_file(folder, timeout_s)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        got = "it is running already" if error.sqlite_errorcode == sqlite3.SQLITE_BUSY else str(error)
        raise LineupError("job", "a job that is not running", got, "wait for its end, or cancel it") from error
    return connection


def _is_locked(folder: Path) -> bool:
    connection = _lock_file(folder, 0)
    try:
        connection.execute("SELECT 1 FROM sqlite_master")
    except sqlite3.OperationalError as error:
        return error.sqlite_errorcode == sqlite3.SQLITE_BUSY
    finally:
        connection.close()
    return False


def _lock_file(folder: Path, timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(folder / _LOCK, timeout_s, isolation_level=None, check_same_thread=False)
