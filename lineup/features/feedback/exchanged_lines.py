"""Lines of JSON as they are exchanged with other replicas: whole lines, whatever they hold, are compared."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from lineup.features.feedback import records
from lineup.images import labelled_folder


def decisions(lines: Iterable[bytes]) -> Iterator[tuple[str, str, str, float]]:
    """Yield the decisions of lines: the image's id, the decision, the label, and the time."""
    for row in map(parsed, lines):
        id_, label = (row.get("id"), row.get("label")) if row else (None, None)
        if row and isinstance(id_, str) and records.IMAGE_ID.fullmatch(id_):
            yield id_, str(row.get("decision")), label if isinstance(label, str) else "", seconds(row.get("time"))


def parsed(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line; None if it is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def lines_of(path: Path, start: int = 0) -> list[bytes]:
    """Return the complete lines of a file, from a position on; none of a link or a missing file."""
    if not records.is_regular_file(path):
        return []
    with path.open("rb") as file:
        file.seek(start)
        return split(file.read())


def split(body: bytes) -> list[bytes]:
    """Return the complete lines of a file's content, but for those that are too long."""
    lines = [line + b"\n" for line in body.split(b"\n")[:-1]]
    return [line for line in lines if 1 < len(line) <= records.MAX_LINE_BYTES]


def seconds(time: object) -> float:
    """Return a time in ISO 8601 as seconds since 1970; 0 if it is none."""
    try:
        return datetime.fromisoformat(str(time)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def targets(lines: Iterable[bytes]) -> dict[str, str]:
    """Return where each accepted image belongs by the last decision to accept it, of any replica."""
    last = dict[str, tuple[float, str]]()
    for id_, decision, label, time_s in decisions(lines):
        if decision == "accepted" and label:
            last[id_] = max(last.get(id_, (0.0, "")), (time_s, label))
    return {
        id_: f"{records.ACCEPTED}/{labelled_folder.folder_name(label)}/{id_}.jpg" for id_, (_, label) in last.items()
    }
