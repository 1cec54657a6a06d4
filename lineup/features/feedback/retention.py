"""Deletes what was not reviewed in time, unless the clock may be wrong."""

import json
from collections.abc import Callable
from pathlib import Path

from lineup.features.feedback import image_files, records
from lineup.features.feedback.records import Move
from lineup.hub import atomic_write

STEADY_S = 86_400.0  # how long the clock must have run without a jump
MAX_GAP_S = 7 * 86_400.0  # between two readings of it
MAX_ERROR_S = 3600.0  # of the clock, by that of a server
_MARK = ".clock.json"


class ClockCheck:
    """Tells whether the clock can be trusted, so that a wrong one does not delete all.

    The clock of a server decides where there is one: the disk of a Space is lost whenever it restarts. Otherwise, a
    file has since when the clock has run without a jump. A jump is a step back, or one of more than a week: a server
    that slept for longer waits a day before it deletes.

    Args:
        folder: has the file.
        server_time: returns the time by the clock of a server; None if that is unknown.
    """

    def __init__(self, folder: Path, server_time: Callable[[], float | None] = lambda: None) -> None:
        self._path, self._server_time = folder / _MARK, server_time

    def is_trusted(self, now_s: float) -> bool:
        """Return whether the time is that of the server, or has run without a jump for a day; and remember it.

        Raises:
            OSError: when the file cannot be written.
        """
        is_steady, server_s = self._is_steady(now_s), self._server_time()
        return is_steady if server_s is None else abs(server_s - now_s) <= MAX_ERROR_S

    def _is_steady(self, now_s: float) -> bool:
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


def delete_old(root: Path, now_s: float, keep_s: float) -> list[Move]:
    """Delete unreviewed images and files of answers by their age, and return what became of the images.

    Nothing is deleted when the time is before the newest file.

    Raises:
        OSError: when the folder cannot be written.
    """
    images = image_files.by_id(root / records.UNREVIEWED)
    answers = records.answers_files(root / records.UNREVIEWED)
    ages_s = {
        path: now_s - _modified_s(path) for path in [*answers, *(each for found in images.values() for each in found)]
    }
    if min(ages_s.values(), default=0) < 0:
        return []
    moves = list[Move]()
    for name, paths in images.items():
        if old := [path for path in paths if ages_s[path] > keep_s]:
            moves.append(Move(name, "expired", "", "", tuple(path.relative_to(root).as_posix() for path in old)))
    image_files.delete(root / name for move in moves for name in move.deleted)
    for path in answers:
        if ages_s[path] > keep_s:
            path.unlink(missing_ok=True)
    return moves


def _modified_s(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # deleted in the meantime
        return 0.0
