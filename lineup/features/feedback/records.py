"""What is kept of feedback, and the lines of JSON that it is stored in."""

import json
import math
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from lineup.features.feedback.labels import normalized_class

UNREVIEWED, ACCEPTED = "unreviewed", "accepted"  # folders below that of the collection
ANSWERS, REVIEWS, METADATA = "answers.jsonl", "reviews.jsonl", "metadata.jsonl"
MAX_LINE_BYTES = 1 << 16  # a longer line comes from something else, and is ignored
IMAGE_ID = re.compile(r"[0-9a-f]{16}")
IMAGE_FILE = re.compile(r"([0-9a-f]{16})\.jpg")

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
            return row if is_valid and row.given and normalized_class(row.given) == row.given else None
        except (ValueError, TypeError, KeyError, AttributeError):
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
    if any(normalized_class(name) != name for name in names) or not isinstance(value["fingerprint"], str):
        raise ValueError("a name or the fingerprint")
    return Said(value["backbone"], value["fingerprint"], value["label"], probability)


def timestamp(time_s: float) -> str:
    """Return a time as ISO 8601 in UTC, with microseconds."""
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="microseconds")


def to_line(value: Any) -> bytes:
    """Return a value as a line of JSON, in ASCII: some libraries split lines at U+2028, too."""
    return json.dumps(value, allow_nan=False).encode() + b"\n"


def read_lines(path: Path) -> Iterator[Any]:
    """Yield the parsed lines of a file; a missing file has none, and lines that are no JSON are skipped."""
    if path.is_symlink() or not path.is_file():
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


def append(path: Path, lines: Sequence[bytes]) -> None:
    """Append lines to a file that several processes write to, and wait until they are on the disk.

    Raises:
        OSError: when they cannot be written; then none of them is in the file.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size, body = os.fstat(descriptor).st_size, b"".join(lines)
        try:
            write_whole(descriptor, body)
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def write_whole(descriptor: int, body: bytes) -> None:
    """Write bytes and flush them to the disk; a full disk may take a part of them before it refuses the rest."""
    while body:
        body = body[os.write(descriptor, body) :]
    os.fsync(descriptor)
