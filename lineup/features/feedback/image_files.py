"""The images of a collection: regular files in a folder for each label, without links, which could lead out of it."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from lineup.features.feedback import records
from lineup.images import labelled_folder

_ATTEMPTS = 5  # to write into a folder that another process deletes because it is empty


def by_folder(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield each label's folder that has images, in the order of the names, with the names of the images' files.

    Raises:
        LineupError: when the folder is there, and cannot be read.
    """
    with records.reading_errors(folder):
        for entry in sorted(records.entries(folder), key=lambda entry: entry.name):
            if not entry.is_dir(follow_symlinks=False) or entry.name.startswith("."):
                continue
            if names := [each.name for each in records.entries(Path(entry.path)) if _is_image(each)]:
                yield Path(entry.path), names


def by_id(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each image: one, unless two processes wrote it at once, or one was killed."""
    found = dict[str, list[Path]]()
    for images, names in by_folder(folder):
        for name in names:
            found.setdefault(name[:16], []).append(images / name)
    return found


def write(folder: Path, label: str, body: bytes, image: str) -> Path:
    """Write an image as ``<label>/<id>.jpg``, unless it is there, and return the path.

    Raises:
        OSError: when it cannot be written.
    """
    path = folder / labelled_folder.folder_name(label) / f"{image}.jpg"
    if folder.is_symlink() or path.parent.is_symlink():
        raise OSError(None, "a folder in it is a link")
    if not is_whole(path, len(body)):
        path.unlink(missing_ok=True)
    for attempt in range(_ATTEMPTS):
        with suppress(*[FileNotFoundError] if attempt < _ATTEMPTS - 1 else []):
            return labelled_folder.write_encoded(folder, label, body, path.name)
    raise AssertionError


def is_whole(path: Path, size: int) -> bool:
    """Return whether a file is an image of so many bytes; one that was cut off by a power failure is not."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def delete(paths: Iterable[Path]) -> None:
    """Delete images, and then the folders of labels that have no other.

    Raises:
        OSError: when one cannot be deleted.
    """
    folders = set[Path]()
    for path in paths:
        path.unlink(missing_ok=True)
        folders.add(path.parent)
    for folder in folders:
        with suppress(OSError):
            if {entry.name for entry in islice(records.entries(folder), 2)} <= {labelled_folder.LABEL_FILE}:
                (folder / labelled_folder.LABEL_FILE).unlink(missing_ok=True)
                folder.rmdir()


def _is_image(entry: os.DirEntry[str]) -> bool:
    return bool(records.IMAGE_FILE.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False)
