"""Keeps logits and features on disk, so that an image that a backbone has seen is not computed again.

One SQLite file with a write-ahead log: several processes may use it at the same time, and a killed one leaves it
whole. It is a cache: what cannot be read is computed again, and what cannot be written is not kept.
"""

import hashlib
import json
import logging
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import numpy as np

from lineup.engines import versions
from lineup.hub import checksums

if TYPE_CHECKING:
    from lineup.registry import Plan

_log = logging.getLogger(__name__)

FORMAT = 2  # raise it when the decoding of images changes, or what an engine computes
TIMEOUT_S = 10.0  # how long to wait for the transactions of other processes
_PACKAGES = ("torch", "torchvision", "timm", "openvino", "pillow", "numpy")
_ROW_BYTES = 5 * 4096  # besides its array, of a row that begins a page in the table and in each index
_BATCH = 64  # rows that are evicted at once
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}  # the last: another table of this name

Kind = Literal["logits", "features"]
T = TypeVar("T")


class _Precise(Protocol):
    """What decides the results of an engine: every engine has it."""

    @property
    def name(self) -> str: ...

    @property
    def hint(self) -> str: ...


@dataclass(frozen=True)
class EngineName:
    """An engine's name and precision, without its memory."""

    name: str
    hint: str


def fingerprint(plan: "Plan", path: Path | None, engine: _Precise, device: str, min_side_px: int = 0) -> str:
    """Return a hash of everything that decides what a backbone computes for an image.

    These are the weights, the architecture, the transform and the scale of decoding, the engine with its precision, the
    device, and the versions of the libraries. The labels are not part of it.

    Args:
        plan: the backbone's.
        path: its weights file; None if they are random.
        engine: the engine that computes.
        device: cpu, cuda or mps.
        min_side_px: the shorter side that images are decoded for, as for `open_image`.

    Returns:
        64 hexadecimal digits; empty if the weights are random, or the network or the transform is unknown, so that
        nothing can be stored.
    """
    if path is None or not plan.fingerprint or not plan.transform.fingerprint:
        return ""
    network = [plan.architecture, plan.fingerprint, checksums.sha256(path)]
    transform = [plan.transform.fingerprint, plan.transform.input_size, min_side_px]
    parts = [FORMAT, network, transform, engine.name, engine.hint, device, _versions()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@cache
def _versions() -> dict[str, str]:
    return versions.installed(_PACKAGES)


class AnswerStore:
    """Arrays by image, backbone and kind, in one file; the least recently used are evicted. Thread-safe.

    A damaged file is set aside with a warning, and a new one begun. No method raises for that, nor for a full disk or a
    lock that is held for long.

    Args:
        path: the file; it is created with its folder when something is stored.
        max_bytes: bound of its size. The write-ahead log beside it may have some 10 MB more.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._problem = ""  # the last one that was logged

    def get_many(self, images: Iterable[str], fingerprint: str, kind: Kind) -> dict[str, np.ndarray]:
        """Return what is stored for images: float32 of shape ``(outputs,)`` by image.

        Args:
            images: content hashes of images.
            fingerprint: a backbone's; with an empty one, nothing is found.
            kind: what its outputs are.
        """
        keys = {image: _key(image, fingerprint, kind) for image in images} if fingerprint else {}
        if not keys or not self._path.exists():
            return {}

        def read(connection: sqlite3.Connection) -> dict[str, np.ndarray]:
            found, used, damaged = dict[str, np.ndarray](), list[tuple[bytes]](), list[tuple[bytes]]()
            for image, key in keys.items():
                row = connection.execute("SELECT crc, data FROM answers WHERE key = ?", (key,)).fetchone()
                if row and zlib.crc32(row[1]) == row[0]:
                    found[image] = np.frombuffer(row[1], np.float32).copy()
                    used.append((key,))
                elif row:
                    damaged.append((key,))
            with suppress(sqlite3.OperationalError):  # locked for long: the answers count all the same
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(f"UPDATE answers SET used = {_tick(connection)} WHERE key = ?", used)
                connection.executemany("DELETE FROM answers WHERE key = ?", damaged)
                connection.execute("COMMIT")
            return found

        return self._run(read, {})

    def put_many(self, arrays: Mapping[str, np.ndarray], fingerprint: str, kind: Kind) -> None:
        """Store arrays of shape ``(outputs,)`` by image; with an empty fingerprint, do nothing."""
        rows = {
            _key(image, fingerprint, kind): np.ascontiguousarray(array, np.float32).tobytes()
            for image, array in arrays.items()
            if fingerprint
        }

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            tick = _tick(connection)
            for key, data in rows.items():
                if self._evict(connection, len(data) + _ROW_BYTES):
                    row = (key, tick, zlib.crc32(data), data)
                    connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", row)
            connection.execute("COMMIT")

        if rows:
            self._run(write, None)

    def _evict(self, connection: sqlite3.Connection, n_bytes: int) -> bool:
        """Delete the least recently used rows until so many bytes fit; return whether they do."""
        while _used_bytes(connection) + n_bytes > self._max_bytes:
            oldest = f"SELECT rowid FROM answers ORDER BY used, rowid LIMIT {_BATCH}"
            if not connection.execute(f"DELETE FROM answers WHERE rowid IN ({oldest})").rowcount:
                return False
        return True

    def _run(self, action: Callable[[sqlite3.Connection], T], default: T) -> T:
        try:
            with closing(self._connect()) as connection:
                return action(connection)
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.DatabaseError) and error.sqlite_errorcode & 0xFF in _DAMAGED:
                self._set_aside(error)
            elif str(error) != self._problem:  # a full disk would be logged for each batch
                self._problem = str(error)
                _log.warning("%s: answers cannot be stored: %s", self._path, error)
            return default

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, TIMEOUT_S, isolation_level=None)
        try:
            _use_write_ahead_log(connection)
            connection.execute("PRAGMA synchronous = NORMAL")  # a power failure may lose the last rows, but no more
            connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, used INTEGER, crc INTEGER, data BLOB)"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS by_use ON answers (used)")
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self, error: Exception) -> None:
        """Rename a damaged file, and delete its log, which would be replayed into the next one."""
        _log.warning("%s is damaged (%s): it is set aside, and answers are computed again", self._path, error)
        with suppress(OSError):
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._path.replace(self._path.with_name(f"{self._path.name}.damaged"))


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log, and wait for another process that does: SQLite's own timeout does not count here."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _key(image: str, fingerprint: str, kind: Kind) -> bytes:
    return hashlib.sha256(f"{image} {fingerprint} {kind}".encode()).digest()


def _tick(connection: sqlite3.Connection) -> int:
    """Return a number that is larger than that of any earlier use; a clock might jump back."""
    return int(connection.execute("SELECT coalesce(max(used), 0) + 1 FROM answers").fetchone()[0])


def _used_bytes(connection: sqlite3.Connection) -> int:
    names = ("page_count", "freelist_count", "page_size")
    pages, free, page_bytes = (int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * page_bytes
