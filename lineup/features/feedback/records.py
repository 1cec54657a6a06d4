"""What is kept of feedback, and the lines of JSON that it is stored in."""

import json
import math
import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from lineup.errors import LineupError
from lineup.features.feedback.labels import normalized_class

UNREVIEWED, ACCEPTED = "unreviewed", "accepted"  # folders below that of the collection
ANSWERS, REVIEWS, METADATA = "answers.jsonl", "reviews.jsonl", "metadata.jsonl"
MAX_LINE_BYTES = 1 << 16  # a longer line comes from something else, and is ignored
IMAGE_ID = re.compile(r"[0-9a-f]{16}")
IMAGE_FILE = re.compile(r"[0-9a-f]{16}\.jpg")
ANSWERS_FILE = re.compile(r"answers-.*\.jsonl", re.DOTALL)
_LAST_S = 253402300799  # of the year 9999

Decision = Literal["accepted", "rejected", "expired"]


@dataclass(frozen=True)
class Said:
    """What one backbone answered.

    Attributes:
        backbone: its name.
        fingerprint: of what decides the answer, as in the store of answers; empty if unknown.
        label: its first class.
        probability: of that class, 0 to 1; None if unknown.
    """

    backbone: str
    fingerprint: str
    label: str
    probability: float | None


@dataclass(frozen=True)
class AnswerRow:
    """One answer of a user: which image, the label given, and what the backbones had said.

    Attributes:
        image: the image's id.
        given: the label given, normalized.
        said: what the backbones said, their labels normalized alike.
        time: ISO 8601, UTC.
        is_right: whether all backbones said the label given.
        key: tells apart equal answers of one moment, and finds a copy of this row in another file.
    """

    image: str
    given: str
    said: tuple[Said, ...]
    time: str
    is_right: bool
    key: str = field(default_factory=lambda: secrets.token_hex(8))

    def to_line(self) -> bytes:
        """Return the row as a line of JSON."""
        return to_line(asdict(self))

    @classmethod
    def from_json(cls, value: Any) -> Self | None:
        """Return the row of a parsed line; None if it is none: files may come from others."""
        try:
            said = tuple(_said(each) for each in value["said"])
            row = cls(value["image"], value["given"], said, value["time"], value["is_right"], value["key"])
            datetime.fromisoformat(row.time)
            is_valid = IMAGE_ID.fullmatch(row.image) and IMAGE_ID.fullmatch(row.key) and isinstance(row.is_right, bool)
            return row if is_valid and row.given and _is_normal(row.given) else None
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            return None


@dataclass(frozen=True)
class Receipt:
    """What was kept: the id of the image, the label, and whether the image is new."""

    image: str
    given: str
    is_new: bool


@dataclass(frozen=True)
class Move:
    """What became of an unreviewed image, as paths below the collection's folder, for a copy of it.

    Attributes:
        image: its id.
        decision: accepted, rejected, or expired: deleted by its age.
        label: of an accepted image; otherwise empty.
        added: the file of an accepted image; otherwise empty.
        deleted: the files that are gone.
    """

    image: str
    decision: Decision
    label: str
    added: str
    deleted: tuple[str, ...]


def _said(value: Any) -> Said:
    probability, names = value["probability"], (value["backbone"], value["label"])
    if probability is not None and not (math.isfinite(probability) and 0 <= probability <= 1):
        raise ValueError("probability")
    if not all(map(_is_normal, names)) or not isinstance(value["fingerprint"], str):
        raise ValueError("a name or the fingerprint")
    return Said(value["backbone"], value["fingerprint"], value["label"], probability)


def _is_normal(name: str) -> bool:
    """Return whether a label has its normal form; short ones recur in most rows."""
    return _is_normal_short(name) if len(name) <= 100 else normalized_class(name) == name


@lru_cache(10_000)
def _is_normal_short(name: str) -> bool:
    return normalized_class(name) == name


def timestamp(time_s: float) -> str:
    """Return a time as ISO 8601 in UTC, with microseconds; a time that a wrong clock makes impossible is cut off."""
    return datetime.fromtimestamp(min(max(time_s, 0), _LAST_S), UTC).isoformat(timespec="microseconds")


@contextmanager
def reading_errors(folder: Path) -> Iterator[None]:
    """Translate an OSError of the block into a LineupError."""
    try:
        yield
    except OSError as error:
        raise LineupError(str(folder), "a folder that can be read", str(error.strerror), "check it") from error


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder: nothing if it is a link, or was not created yet, or another process deleted it."""
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:
        return []


def is_regular_file(path: Path) -> bool:
    """Return whether a path is that of a file, and no link, which could lead out of the collection."""
    return path.is_file() and not path.is_symlink()


def answers_files(folder: Path) -> list[Path]:
    """Return the files of answers beside unreviewed images, those of other processes included."""
    return sorted(
        Path(entry.path)
        for entry in entries(folder)
        if ANSWERS_FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
    )


def to_line(value: Any) -> bytes:
    """Return a value as a line of JSON, in ASCII: some libraries split lines at U+2028, too."""
    return json.dumps(value, allow_nan=False).encode() + b"\n"


def read_lines(path: Path) -> Iterator[Any]:
    """Yield the parsed lines of a file; a missing file has none, and lines that are no JSON are skipped."""
    if not is_regular_file(path):
        return
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES)
                continue
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                continue


def read_answers(paths: Iterable[Path]) -> list[AnswerRow]:
    """Return the distinct rows of files, in the order of their times."""
    rows = {row: None for path in paths for value in read_lines(path) if (row := AnswerRow.from_json(value))}
    return sorted(rows, key=lambda row: (row.time, row.key))


class KeysReader:
    """Reads the keys of a file of answers that grows; what it has read, it does not read again. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._inode, self._n_bytes, self._keys = 0, 0, set[str]()

    def keys(self) -> set[str]:
        """Return the keys of all rows; the set is replaced, and not changed, when there are more.

        Raises:
            OSError: when the file cannot be read.
        """
        with self._lock:
            if not is_regular_file(self._path):
                return set()
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._inode or found.st_size < self._n_bytes:  # another file
                    self._inode, self._n_bytes, self._keys = found.st_ino, 0, set()
                file.seek(self._n_bytes)
                body = file.read()
            whole = body[: body.rfind(b"\n") + 1]
            self._n_bytes += len(whole)
            self._keys = self._keys.union(re.findall(r'"key": "([0-9a-f]{16})"', whole.decode("ascii", "replace")))
            return self._keys


def append(path: Path, lines: Sequence[bytes]) -> None:
    """Append lines to a file, and wait until they are on the disk; a line that was cut off is ended first.

    Raises:
        OSError: when they cannot be written; then none of them is in the file.
    """
    if not lines:
        return
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        size, body = os.fstat(descriptor).st_size, b"".join(lines)
        if size:
            os.lseek(descriptor, size - 1, os.SEEK_SET)
            body = body if os.read(descriptor, 1) == b"\n" else b"\n" + body
        try:
            _write_whole(descriptor, body)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def _write_whole(descriptor: int, body: bytes) -> None:
    """Write bytes and flush them to the disk; a full disk may take a part of them before it refuses the rest."""
    while body:
        body = body[os.write(descriptor, body) :]
    os.fsync(descriptor)
