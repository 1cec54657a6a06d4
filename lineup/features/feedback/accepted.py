"""The accepted images: a folder that `datasets`, torchvision, `evaluate` and `train` read."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lineup.errors import BusyError, LineupError, writing_errors
from lineup.features.feedback import image_files, records
from lineup.hub import atomic_write
from lineup.images import labelled_folder

LOCK_TIMEOUT_S = 60.0


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Let one process or thread at a time review a collection.

    Raises:
        BusyError: when another one does for long.
        LineupError: when the folder cannot be written.
    """
    with writing_errors(str(root), "a folder that can be written", "check it and the disk"):
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / ".lock")
        try:
            lock.acquire(LOCK_TIMEOUT_S)
        except Timeout:
            raise BusyError("feedback", "one review at a time", "another one is running", "try again") from None
    try:
        yield
    finally:
        lock.release()


def put(root: Path, image: str, label: str, body: bytes, present: dict[str, list[Path]]) -> Path:
    """Write an accepted image, in place of the same image with another label.

    Args:
        root: the collection's folder.
        image: its id.
        label: any label.
        body: the content of the file.
        present: the files of each accepted image; is updated.

    Raises:
        OSError: when it cannot be written.
    """
    path = image_files.write(root / records.ACCEPTED, label, body, image)
    if others := [other for other in present.get(image, []) if other != path]:
        image_files.delete(others)
    present[image] = [path]
    return path


def write_metadata(folder: Path) -> int:
    """Write the labels of a folder's images into one file, and return how many there are.

    A folder with a single class keeps its label in `datasets` only through such a file, which must lie in the folder
    itself, and must name the column `label`.
    """
    lines = list[bytes]()
    for images, names in image_files.by_folder(folder):
        label = labelled_folder.label_of(images)
        lines += [records.to_line({"file_name": f"{images.name}/{name}", "label": label}) for name in sorted(names)]
    path = folder / records.METADATA
    if lines or path.exists():
        atomic_write.write_bytes(path, b"".join(lines))
    return len(lines)


def export(root: Path, folder: Path) -> int:
    """Copy the accepted images to a new folder, and return how many there are.

    Raises:
        LineupError: when there are none, the folder is not new, or cannot be written. Then it is not created.
    """
    place, root = Path(os.path.realpath(folder)), root.resolve()
    if root == place or root in place.parents:
        raise LineupError(str(folder), "a folder outside that of feedback", "it is inside", "choose another one")
    with writing_errors(str(folder), "a folder that can be written", "choose another name"):  # too long a name
        if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
            raise LineupError(str(folder), "a new folder", "there is one", "choose another name")
    draft = atomic_write.draft_of(place)
    try:
        with locked(root), writing_errors(str(folder), "a folder that can be written", "check it and the disk"):
            place.parent.mkdir(parents=True, exist_ok=True)
            draft.mkdir()
            for images, names in image_files.by_folder(root / records.ACCEPTED):
                (draft / images.name).mkdir()
                for name in [*names, labelled_folder.LABEL_FILE]:
                    if records.is_regular_file(images / name):
                        shutil.copyfile(images / name, draft / images.name / name)
            if not (count := write_metadata(draft)):
                got, remedy = "none is accepted yet", "accept some with: python -m lineup feedback review"
                raise LineupError("feedback", "accepted images", got, remedy)
            if folder.is_dir():
                folder.rmdir()
            draft.replace(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return count
