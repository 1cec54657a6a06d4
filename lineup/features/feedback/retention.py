"""Deletes what was not reviewed in time, unless the clock may be wrong."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from lineup.features.feedback import records, scan
from lineup.features.feedback.collection import delete_image
from lineup.features.feedback.records import Move
from lineup.hub import atomic_write

STEADY_S = 86_400.0  # how long the clock must have run without a jump
MAX_GAP_S = 7 * 86_400.0  # between two looks at it
_MARK = ".clock.json"


class ClockCheck:
    """Remembers in a file since when the clock has run without a jump, so that a wrong one does not delete all.

    A jump is a step back, or one of more than a week: a server that slept for as long waits a day before it deletes.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _MARK

    def is_steady(self, now_s: float) -> bool:
        """Return whether the clock has run without a jump for a day, and remember the time."""
        since_s, last_s = self._read()
        if not last_s <= now_s <= last_s + MAX_GAP_S:
            since_s = now_s
        atomic_write.write_text(self._path, json.dumps([since_s, now_s]))
        return now_s - since_s >= STEADY_S

    def _read(self) -> tuple[float, float]:
        try:
            since_s, last_s = json.loads(self._path.read_text(encoding="utf-8"))
            return float(since_s), float(last_s)
        except (OSError, ValueError, TypeError):
            return float("inf"), float("inf")


def delete_old(root: Path, now_s: float, keep_s: float, check: ClockCheck) -> list[Move]:
    """Delete unreviewed images and files of answers by their age, and return what became of the images.

    Nothing is deleted when the clock has jumped, or is before the newest file.
    """
    images = [
        (folder / name, name[:16])
        for folder, names in scan.images_by_folder(root / records.UNREVIEWED)
        for name in names
    ]
    aged = [(path, name, _modified_s(path)) for path, name in images]
    answers = [(path, _modified_s(path)) for path in scan.answers_files(root)]
    newest_s = max([time_s for *_, time_s in aged] + [time_s for _, time_s in answers], default=now_s)
    if not check.is_steady(now_s) or now_s < newest_s:
        return []
    old = dict[str, list[Path]]()
    for path, name, time_s in aged:
        if time_s < now_s - keep_s:
            old.setdefault(name, []).append(path)
    for path in _all(old):
        delete_image(path)
    for path, time_s in answers:
        if time_s < now_s - keep_s:
            path.unlink(missing_ok=True)
    below = {name: tuple(path.relative_to(root).as_posix() for path in paths) for name, paths in old.items()}
    return [Move(name, "expired", "", "", paths) for name, paths in below.items()]


def _all(paths: dict[str, list[Path]]) -> Iterator[Path]:
    for each in paths.values():
        yield from each


def _modified_s(path: Path) -> float:
    try:
        return os.lstat(path).st_mtime
    except FileNotFoundError:
        return 0.0
