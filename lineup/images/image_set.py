"""The images of an evaluation: distinct by content, each with at most one label."""

import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from lineup.errors import LineupError
from lineup.images import labelled_folder
from lineup.images.labelled_folder import LabelledFolder

_FILE = "images.json"


@dataclass(frozen=True)
class EvaluatedImage:
    """An image of a set.

    Attributes:
        path: its file.
        name: its path in the folder, with slashes.
        label: None if it has none.
        split: train, validation or test; empty if there are no splits.
        sha256: the hash of its bytes.
        group: equal for images that belong together; empty if unknown.
    """

    path: str
    name: str
    label: str | None
    split: str
    sha256: str
    group: str = ""


@dataclass(frozen=True)
class ImageSet:
    """The distinct images of a folder, and what is left out.

    Attributes:
        name: the folder's, for headings.
        images: in the order of their names.
        unreadable: an error for each file that is left out: keys as of `LineupError.to_json`.
        duplicates: names of files with the same content and label, of which the first is evaluated.
        conflicts: names and labels of files with the same content and several labels, of which none is evaluated.
    """

    name: str
    images: tuple[EvaluatedImage, ...]
    unreadable: tuple[dict[str, Any], ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()
    conflicts: tuple[dict[str, list[str]], ...] = ()

    @property
    def labels(self) -> list[str]:
        """Return the distinct labels, sorted."""
        return sorted({image.label for image in self.images if image.label is not None})

    @property
    def splits(self) -> dict[str, int]:
        """Return the number of images in each split; empty if there are none."""
        names = [image.split for image in self.images if image.split]
        return {name: names.count(name) for name in dict.fromkeys(names)}

    def of_split(self, split: str) -> "ImageSet":
        """Return the set with only the images of a split.

        Raises:
            LineupError: when there is no such split.
        """
        if split not in self.splits:
            got = f"{self.name} has {', '.join(self.splits) or 'none'}"
            raise LineupError("split", f"a split called {split[:40]!r}", got, "choose another one, or leave it out")
        images = tuple(image for image in self.images if image.split == split)
        return ImageSet(self.name, images, self.unreadable, self.duplicates, self.conflicts)

    def moved(self, old: Path, new: Path) -> "ImageSet":
        """Return the set after the files below a folder were moved, or copied, to another one."""
        start, end = old.resolve(), new.resolve()
        images = (
            replace(image, path=str(end / Path(image.path).relative_to(start)))
            if Path(image.path).is_relative_to(start)
            else image
            for image in self.images
        )
        return replace(self, images=tuple(images))

    def write(self, folder: Path) -> None:
        """Write the set to a folder."""
        (folder / _FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the set that `write` wrote."""
        data: dict[str, Any] = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        images = tuple(EvaluatedImage(**image) for image in data["images"])
        duplicates = tuple(map(tuple, data["duplicates"]))
        return cls(data["name"], images, tuple(data["unreadable"]), duplicates, tuple(data["conflicts"]))


def copy_folder(old: Path, new: Path) -> None:
    """Copy a folder of images: by links where the file system has them, since no image of a set is changed.

    Raises:
        OSError: when that fails.
    """
    shutil.copytree(old, new, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def collect(folder: Path, name: str = "") -> ImageSet:
    """Read a folder of images, and leave out what is there twice.

    Raises:
        LineupError: when it cannot be read, or has no image.
    """
    return distinct(labelled_folder.read(folder), folder, name or folder.resolve().name)


def distinct(found: LabelledFolder, folder: Path, name: str, address: str = "") -> ImageSet:
    """Return what was found in a folder as a set, which leaves out what is there twice.

    Args:
        found: the images, whose paths begin with the folder.
        folder: the folder.
        name: its name, for headings.
        address: that of a folder that is not on this machine, for the paths of the images.

    Raises:
        LineupError: when there is no image.
    """
    unreadable = tuple(problem.to_json() for problem in found.problems)
    images, duplicates, conflicts = list[EvaluatedImage](), list[tuple[str, ...]](), list[dict[str, list[str]]]()
    twice = {group[0].sha256: group for group in found.duplicates}
    for image in found.images:
        group = twice.get(image.sha256, (image,))
        names = [labelled_folder.printable(each.path.relative_to(folder).as_posix()) for each in group]
        labels = sorted({each.label for each in group if each.label is not None})
        if image is not group[0]:
            continue
        if len(labels) > 1:
            conflicts.append({"files": names, "labels": labels})
            continue
        if len(group) > 1:
            duplicates.append(tuple(names))
        label = labels[0] if labels else None
        path = f"{address}/{names[0]}" if address else str(image.path.resolve())
        related = next(filter(None, (each.group for each in group)), "")
        images.append(EvaluatedImage(path, names[0], label, image.split, image.sha256, related))
    if not images:
        raise _empty(name, unreadable, conflicts)
    return ImageSet(name, tuple(images), unreadable, tuple(duplicates), tuple(conflicts))


def _empty(name: str, unreadable: tuple[dict[str, Any], ...], conflicts: list[dict[str, list[str]]]) -> LineupError:
    got, remedy = "it has none", "choose a folder or a zip file of images"
    if unreadable:
        first = unreadable[0]
        none = f"none of its {len(unreadable):,} files can be read, such as" if unreadable[1:] else "it has only"
        got, remedy = f"{none} {first['where']}: {first['got']}", first["remedy"]
    elif conflicts:
        got = f"each image is there under several labels, such as {' and '.join(conflicts[0]['labels'][:2])}"
    return LineupError(name, "images", got, remedy)
