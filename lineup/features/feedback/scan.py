"""Finds the images of a collection: regular files in folders, without links, which could lead out of it."""

import os
from collections.abc import Iterator
from pathlib import Path

from lineup.errors import LineupError
from lineup.features.feedback import records
from lineup.features.feedback.records import AnswerRow


def images_by_folder(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield each label's folder that has images, in the order of the names, with the names of the images' files.

    Raises:
        LineupError: when the folder is there, and cannot be read.
    """
    try:
        for entry in sorted(_entries(folder), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                names = [each.name for each in _entries(Path(entry.path)) if _is_image(each)]
                if names:
                    yield Path(entry.path), names
    except OSError as error:
        raise LineupError(str(folder), "a folder that can be read", str(error.strerror), "check it") from error


def answers_files(root: Path) -> list[Path]:
    """Return the files of answers to unreviewed images, those of other processes included."""
    entries = _entries(root / records.UNREVIEWED)
    return sorted(Path(each.path) for each in entries if each.name.startswith("answers-") and _is_answers(each))


def read_answers(root: Path, reviewed: bool) -> list[AnswerRow]:
    """Return the answers to unreviewed images and, if `reviewed`, to reviewed ones, each once."""
    return records.read_answers([*answers_files(root), *([root / records.ANSWERS] if reviewed else [])])


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:  # not created yet, or deleted by another process in the meantime
        return []


def _is_image(entry: os.DirEntry[str]) -> bool:
    return bool(records.IMAGE_FILE.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False)


def _is_answers(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".jsonl") and entry.is_file(follow_symlinks=False)
