"""Reads and writes folders of labelled images, in the layout of the `datasets` library's imagefolder.

A label is the name of a sub-folder, below an optional level of splits, or a row of a ``metadata.jsonl`` or a CSV file
with the columns `file_name` and `label`::

    birds/train/wren/1.jpg      birds/metadata.jsonl: {"file_name": "1.jpg", "label": "wren"}

Where `datasets` drops all labels (a single class, or classes on several levels) and ignores what a metadata file does
not name, the folder still counts here.
"""

import csv
import hashlib
import json
import os
import posixpath
import re
import secrets
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote

from PIL import Image

from lineup.errors import ImageError, LineupError, brief
from lineup.images.formats import SUFFIXES
from lineup.images.reading import check_header

JPEG_QUALITY = 95
MAX_NAME_BYTES = 200  # of a label's folder; file systems allow 255
LABEL_FILE = "label.txt"  # in a folder whose name is too short for its label
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_METADATA = "metadata.jsonl"
_HASHED = re.compile(r"%[0-9a-f]{16}$")
# `datasets` takes a folder with such a word, set off by digits or these signs, for a split: "bullet train"
_SPLIT_WORD = re.compile(rf"(?<![^-._ 0-9])({'|'.join(SPLITS)})(?![^-._ 0-9])")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows


@dataclass(frozen=True)
class LabelledImage:
    """An image of a folder.

    Attributes:
        path: its file.
        label: None if it has none.
        split: train, validation or test; empty if the folder has no such level.
        sha256: the hash of its bytes.
    """

    path: Path
    label: str | None
    split: str
    sha256: str


@dataclass(frozen=True)
class LabelledFolder:
    """The images of a folder, in the order of their paths, and an error for each file that is left out."""

    images: tuple[LabelledImage, ...]
    problems: tuple[ImageError, ...]

    @property
    def labels(self) -> list[str]:
        """Return the distinct labels, sorted."""
        return sorted({image.label for image in self.images if image.label is not None})

    @property
    def duplicates(self) -> list[tuple[LabelledImage, ...]]:
        """Return the groups of images with the same content; their labels may differ."""
        groups = defaultdict[str, list[LabelledImage]](list)
        for image in self.images:
            groups[image.sha256].append(image)
        return [tuple(group) for group in groups.values() if len(group) > 1]


def read(folder: Path) -> LabelledFolder:
    """Read a folder; images are checked by their headers only, and hidden files and ``__pycache__`` are ignored.

    Symbolic links are followed to files inside the folder, and to nothing else.

    Raises:
        LineupError: when the folder does not exist, or cannot be read.
    """
    if not folder.is_dir():
        raise LineupError(str(folder), "a folder of images", "there is no such folder", "check the path")
    problems = list[ImageError]()
    files = {path.relative_to(folder).as_posix(): path for path in sorted(_files(folder, problems))}
    metadata = {name: path for name, path in files.items() if path.name == _METADATA or path.suffix == ".csv"}
    given = _labels_of_metadata(metadata, files.keys(), problems)
    has_splits, images = _has_splits(files), list[LabelledImage]()
    for name, path in files.items():
        parts = name.split("/")[:-1]
        split = SPLITS.get(parts[0], "") if has_splits and parts else ""
        parts = parts[1:] if split else parts
        if name in metadata or (path.name == LABEL_FILE and parts and _HASHED.search(parts[-1])):
            continue
        if len(given.get(name, ())) > 1:
            problems.append(_problem(name, "one label", f"got {', '.join(sorted(given[name]))[:200]}", "choose one"))
            continue
        try:
            check_header(path)
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except ImageError as error:
            problems.append(_problem(name, error.expected, error.got, error.remedy))
        except OSError as error:
            problems.append(_problem(name, "a file", str(error.strerror), "check it"))
        else:
            label = next(iter(given.get(name, ())), None) or (_label_of(path.parent) if parts else None)
            images.append(LabelledImage(path, label, split, digest))
    return LabelledFolder(tuple(images), tuple(sorted(problems, key=lambda problem: problem.where)))


def write(folder: Path, label: str, image: Image.Image) -> Path:
    """Write an image as ``<label>/<content hash>.jpg``, without its metadata, and return the path.

    The file appears whole or not at all: it is written as a hidden ``*.partial`` first. The same image twice is one
    file.

    Args:
        folder: is created if necessary.
        label: any text; `read` returns it in Unicode's form NFC.
        image: an RGB image.

    Raises:
        LineupError: when the label is empty, or the file cannot be written.
    """
    bare = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())  # Pillow would keep a JPEG's comment
    buffer = BytesIO()
    bare.save(buffer, "JPEG", quality=JPEG_QUALITY)
    body, name = buffer.getvalue(), folder_name(label)
    path = folder / name / f"{hashlib.sha256(body).hexdigest()[:32]}.jpg"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if _HASHED.search(name):
            _write(path.with_name(LABEL_FILE), _normal(label).encode())
        _write(path, body)
    except OSError as error:
        got = f"writing failed ({error.strerror})"
        raise LineupError(str(folder), "a folder for images", got, "check it and the disk") from error
    return path


def folder_name(label: str) -> str:
    """Return the name of a label's folder: the label itself, with percent-encoding where a file system may reject it.

    Encoded are separators, characters that are not printable, and what makes a name hidden, reserved or a split. A name
    that would be too long is cut off, and ends in a hash.

    Raises:
        LineupError: when the label is empty.
    """
    if not label:
        raise LineupError("label", "a label", "it is empty", "name the class")
    label = _normal(label)
    name = "".join(_quoted(char) if char in '/\\:*?"<>|%' or not char.isprintable() else char for char in label)
    # the last letter, because "%65val" would be taken for a split like "eval"
    name = _SPLIT_WORD.sub(lambda match: match[0][:-1] + _quoted(match[0][-1]), name)
    if name[0] in ". " or name.startswith("__") or _RESERVED.fullmatch(name):
        name = _quoted(name[0]) + name[1:]
    if name[-1] in ". ":
        name = name[:-1] + _quoted(name[-1])
    if len(name.encode()) > MAX_NAME_BYTES:
        start = name.encode()[: MAX_NAME_BYTES - 17].decode(errors="ignore")
        name = f"{re.sub('%.?$', '', start)}%{hashlib.sha256(label.encode()).hexdigest()[:16]}"
    return name


def _normal(label: str) -> str:
    return unicodedata.normalize("NFC", label.encode(errors="replace").decode())  # without lone surrogates


def _quoted(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def _label_of(folder: Path) -> str:
    """Return the label of a folder: its name, decoded if `folder_name` has encoded it."""
    name = unicodedata.normalize("NFC", _text(folder.name))
    label = unquote(name)
    if _HASHED.search(name) and (folder / LABEL_FILE).is_file():
        label = (folder / LABEL_FILE).read_text(encoding="utf-8", errors="replace")
    return label if label and folder_name(label) == name else name


def _write(path: Path, body: bytes) -> None:
    if path.exists():
        return
    draft = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        draft.write_bytes(body)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _files(folder: Path, problems: list[ImageError]) -> Iterator[Path]:
    """Yield the regular files below a folder, and report what is neither that nor a folder."""
    top, folders = folder.resolve(), [folder]
    while folders:
        current = folders.pop()
        try:
            entries = list(os.scandir(current))
        except OSError as error:
            if current == folder:
                raise LineupError(str(folder), "a folder that can be read", str(error.strerror), "check it") from error
            problems.append(_problem(_name(current, folder), "a folder", str(error.strerror), "check it"))
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith((".", "__")):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
            elif entry.is_symlink() and (top not in Path(os.path.realpath(path)).parents or path.is_dir()):
                got = "it is a link to a folder" if path.is_dir() else "it is a link to a file elsewhere"
                problems.append(_problem(_name(path, folder), "a file in the folder", got, "copy it there"))
            elif path.is_file():
                yield path
            else:
                problems.append(_problem(_name(path, folder), "a file", "it is a device or a broken link", "remove it"))


def _has_splits(names: Collection[str]) -> bool:
    """Return whether all first-level folders with images are named like splits."""
    folders = {name.split("/")[0] for name in names if "/" in name and name.lower().endswith(SUFFIXES)}
    return bool(folders) and folders <= SPLITS.keys()


def _labels_of_metadata(
    metadata: Mapping[str, Path], names: Collection[str], problems: list[ImageError]
) -> dict[str, set[str]]:
    """Return the labels that metadata files give to files, by path relative to the folder."""
    given = defaultdict[str, set[str]](set)
    for name, path in metadata.items():
        unknown, count = "", 0
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for file_name, labels in _rows(file, is_csv=path.suffix == ".csv"):
                    target = posixpath.normpath(posixpath.join(posixpath.dirname(name), file_name.replace("\\", "/")))
                    if target in names:
                        given[target] |= labels
                    else:
                        unknown, count = unknown or file_name, count + 1
        except (ValueError, RecursionError, csv.Error, OSError) as error:
            problems.append(_problem(name, "rows with file_name and label", brief(error), "fix it"))
        if count:
            got = f"{count} rows name others, such as {unknown[:200]!r}"
            problems.append(_problem(name, "names of files in the folder", got, "check them"))
    return given


def _rows(file: TextIO, is_csv: bool) -> Iterator[tuple[str, set[str]]]:
    """Yield the file name and the labels of each row; a row may have none.

    Raises:
        ValueError: for a row that has no file name.
    """
    rows = csv.DictReader(file) if is_csv else (json.loads(line) for line in file if line.strip())
    for number, row in enumerate(rows, start=1):
        file_name = row.get("file_name") if isinstance(row, dict) else None
        if not isinstance(file_name, str):
            raise ValueError(f"row {number} has no file_name")
        label = row.get("label")
        labels = label if isinstance(label, list) else [label]
        yield file_name, {_normal(str(each)) for each in labels if each not in (None, "")}


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _text(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")  # a name that is no UTF-8 could not be printed


def _problem(name: str, expected: str, got: str, remedy: str) -> ImageError:
    return ImageError(_text(name), expected, got, remedy)
