"""Reads and writes folders of labelled images, in the layout of the `datasets` library's imagefolder.

A label is the name of a sub-folder, below or above an optional level of splits, or a row of a metadata file::

    birds/train/wren/1.jpg      birds/metadata.jsonl: {"file_name": "1.jpg", "label": "wren"}

Where `datasets` drops all labels (a single class, or classes on several levels) and ignores what a metadata file does
not name, the folder still counts here. Folders around all images, and folders within each class that are called
``images``, are no labels.
"""

import csv
import functools
import hashlib
import itertools
import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

from lineup.errors import ImageError, LineupError, brief, writing_errors
from lineup.hub import atomic_write
from lineup.images import metadata_files
from lineup.images.formats import SUFFIXES
from lineup.images.metadata_files import METADATA_SUFFIXES, Names
from lineup.images.reading import check_header

JPEG_QUALITY = 95
MAX_NAME_BYTES = 200  # of a label's folder; file systems allow 255
LABEL_FILE = "label.txt"  # in a folder whose name is too short for its label
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_GENERIC = frozenset(("image", "images", "img", "imgs", "photo", "photos", "pictures", "data", "files", "jpg", "jpeg"))
IGNORED_FILES = frozenset(("thumbs.db", "desktop.ini"))  # of Windows
_BEHIND_QUOTED = re.compile(r"(?<=%[0-9A-F]{2})[^\x00-\x7f]+")
_HASHED = re.compile(r"%[0-9a-f]{16}$")
# `datasets` takes a folder with such a word, set off by digits or these signs, for a split: "bullet train"
_SPLIT_WORD = re.compile(rf"(?<![^-._ 0-9])({'|'.join(SPLITS)})(?![^-._ 0-9])")
# on Windows, and beside a metadata file
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|metadata\.\w+", re.IGNORECASE)


@dataclass(frozen=True)
class LabelledImage:
    """An image of a folder.

    Attributes:
        path: its file.
        label: None if it has none.
        split: train, validation or test; empty if the folder has no such level.
        sha256: the hash of its bytes.
        group: equal for images that belong together, by a metadata file; empty if unknown.
    """

    path: Path
    label: str | None
    split: str
    sha256: str
    group: str = ""


@dataclass(frozen=True)
class Described:
    """What the place of a file and metadata files say of it; the attributes are as of `LabelledImage`."""

    label: str | None
    split: str
    group: str


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
    problems, images = list[ImageError](), list[LabelledImage]()
    files = files_of(folder, problems)
    for name, described in describe(folder, files, problems).items():
        path = files[name]
        try:
            check_header(path)
            digest = content_hash(path)
        except ImageError as error:
            problems.append(_problem(name, error.expected, error.got, error.remedy))
        except OSError as error:
            problems.append(_problem(name, "a file", str(error.strerror), "check it"))
        else:
            images.append(LabelledImage(path, described.label, described.split, digest, described.group))
    return LabelledFolder(tuple(images), tuple(sorted(problems, key=lambda problem: problem.where)))


def describe(folder: Path, names: Collection[str], problems: list[ImageError]) -> dict[str, Described]:
    """Return what is known of each file that may be an image, by its name.

    Args:
        folder: has the metadata and label files, and need not have the others.
        names: of all files, relative to the folder, with slashes; neither hidden nor in `IGNORED_FILES`.
        problems: is extended by the errors of files that are left out.
    """
    metadata = {name: folder / name for name in names if name.lower().endswith(METADATA_SUFFIXES)}
    given, groups = _read_metadata(metadata, names, problems)
    layout, found = _Layout(names), dict[str, Described]()
    for name in names:
        if name in metadata or is_label_file(name):
            continue
        if len(given.get(name, ())) > 1:
            problems.append(_problem(name, "one label", f"got {', '.join(sorted(given[name]))[:200]}", "choose one"))
            continue
        parts = name.split("/")[:-1]
        split, depth = layout.of(parts)
        label = next(iter(given.get(name, ())), None) or (label_of(folder.joinpath(*parts[:depth])) if depth else None)
        found[name] = Described(label, split, groups.get(name, ""))
    return found


def is_label_file(name: str) -> bool:
    """Return whether a file has the label of its folder, whose name is too short for it."""
    folders, _, last = name.rpartition("/")
    return last == LABEL_FILE and bool(_HASHED.search(folders))


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
    body = encode(image)
    with writing_errors(str(folder), "a folder for images", "check it and the disk"):
        return write_encoded(folder, label, body, f"{hashlib.sha256(body).hexdigest()[:32]}.jpg")


def encode(image: Image.Image) -> bytes:
    """Return an image as a JPEG without metadata; the same pixels give the same bytes."""
    bare = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())  # Pillow would keep a JPEG's comment
    buffer = BytesIO()
    bare.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def write_encoded(folder: Path, label: str, body: bytes, file_name: str) -> Path:
    """Write the content of an image as ``<label>/<file name>``, unless that exists, and return the path.

    Raises:
        LineupError: when the label is empty.
        OSError: when the file cannot be written.
    """
    name = folder_name(label)
    path = folder / name / file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    if _HASHED.search(name):
        atomic_write.write_text(path.with_name(LABEL_FILE), _normal(label))
    if not path.exists():
        atomic_write.write_bytes(path, body)
    return path


def folder_name(label: str) -> str:
    """Return the name of a label's folder: the label itself, with percent-encoding where a file system may reject it.

    Encoded are separators, characters that are not printable, $ (`datasets` expands variables in paths), and what makes
    a name hidden, reserved or a split. A name that would be too long is cut off, and ends in a hash.

    Raises:
        LineupError: when the label is empty.
    """
    if not label:
        raise LineupError("label", "a label", "it is empty", "name the class")
    label = _normal(label)
    name = "".join(_quoted(char) if char in '/\\:*?"<>|%$' or not char.isprintable() else char for char in label)
    # the last letter, because "%65val" would be taken for a split like "eval"
    name = _SPLIT_WORD.sub(lambda match: match[0][:-1] + _quoted(match[0][-1]), name)
    if name[0] in ". " or name.startswith("__") or _RESERVED.fullmatch(name):
        name = _quoted(name[0]) + name[1:]
    if name[-1] in ". ":
        name = name[:-1] + _quoted(name[-1])
    name = _BEHIND_QUOTED.sub(lambda match: _with_quoted_marks(match[0]), name)
    if len(name.encode()) > MAX_NAME_BYTES:
        start = name.encode()[: MAX_NAME_BYTES - 17].decode(errors="ignore")
        name = f"{re.sub('%.?$', '', start)}%{hashlib.sha256(label.encode()).hexdigest()[:16]}"
    return name


def _normal(label: str) -> str:
    return unicodedata.normalize("NFC", label.encode(errors="replace").decode())  # without lone surrogates


def _quoted(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def _with_quoted_marks(text: str) -> str:
    """Encode the combining marks at the start: form NFC would join them with the last digit of what is before."""
    rest = "".join(itertools.dropwhile(unicodedata.combining, text))
    return "".join(map(_quoted, text[: len(text) - len(rest)])) + rest


def label_of(folder: Path) -> str:
    """Return the label of a folder: its name, decoded if `folder_name` has encoded it."""
    name = unicodedata.normalize("NFC", printable(folder.name))
    label = unquote(name)
    if _HASHED.search(name) and (folder / LABEL_FILE).is_file():
        label = (folder / LABEL_FILE).read_text(encoding="utf-8", errors="replace")
    return label if label and folder_name(label) == name else name.strip() or name


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(folder: Path, problems: list[ImageError]) -> dict[str, Path]:
    """Return the regular files below a folder by name, in the order of their paths; `problems` is as for `describe`.

    Raises:
        LineupError: when it is no folder.
    """
    if not folder.is_dir():
        got = "it is a file" if folder.exists() else "there is no such folder"
        raise LineupError(str(folder), "a folder of images", got, "check the path")
    return {path.relative_to(folder).as_posix(): path for path in sorted(_files(folder, problems))}


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
            if entry.name.startswith(".") or entry.name.lower() in IGNORED_FILES:
                continue
            if entry.is_dir(follow_symlinks=False) and entry.name.startswith("__"):
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


class _Layout:
    """What each level of folders is: around all images, a split, a label, or within a label.

    Args:
        names: of all files of the folder.
    """

    def __init__(self, names: Collection[str]) -> None:
        levels = {tuple(name.split("/")[:-1]) for name in names if name.lower().endswith(SUFFIXES)}
        self._start = start = _n_around(levels)
        below = [parts[start:] for parts in levels if len(parts) > start]
        self._is_generic = bool(below) and all(parts[-1].lower() in _GENERIC for parts in below)
        below = [parts[:-1] if self._is_generic else parts for parts in below]
        self._split: Callable[[str], str] | None = None
        self._at = 0  # the level of the splits: the first or the last
        if below and all(parts and _split_of(parts[0]) for parts in below):
            self._split = _split_of
        elif below and all(len(parts) > 1 for parts in below):
            at = -1 if all(_split_of(parts[-1]) for parts in below) else 0
            named = [(_split_of if at else split_in)(parts[at]) for parts in below]
            if all(named):
                self._split, self._at = _split_of if at else split_in, at

    def of(self, parts: Sequence[str]) -> tuple[str, int]:
        """Return the split of a file in these folders, and how many of them lead to that of its label: 0 for none."""
        end = len(parts) - (self._is_generic and len(parts) > self._start)
        inner, split = parts[self._start : end], ""
        if self._split and inner and (split := self._split(inner[self._at])):
            if self._at:
                end -= 1
            inner = inner[:-1] if self._at else inner[1:]
        return split, end if inner else 0


def _n_around(levels: Collection[Sequence[str]]) -> int:
    """Return the number of folders that are around all images, and are neither a label nor a split."""
    shortest = min(levels, key=len, default=())
    for count, part in enumerate(shortest[:-1]):
        if _split_of(part) or any(parts[count] != part for parts in levels):
            return count
    return max(len(shortest) - 1, 0)


def _split_of(folder: str) -> str:
    return SPLITS.get(folder.lower(), "")


def split_in(folder: str) -> str:
    """Return the split of a name such as ``training_set``, ``seg_test`` or ``Test images``; or nothing."""
    words = re.split(r"[-._ 0-9]+", folder.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), "")


def _read_metadata(
    metadata: Mapping[str, Path], names: Collection[str], problems: list[ImageError]
) -> tuple[dict[str, set[str]], dict[str, str]]:
    """Return the labels and the groups that metadata files give to files, by path relative to the folder."""
    given, groups, known = defaultdict[str, set[str]](set), dict[str, str](), Names(names if metadata else ())
    for name, path in metadata.items():
        unknown, count = "", 0
        find = functools.partial(known.find, parent=posixpath.dirname(name))
        try:
            for file_name, label, group in metadata_files.rows(path, find):
                if (target := find(file_name)) is None:
                    unknown, count = unknown or file_name, count + 1
                    continue
                labels = label if isinstance(label, list) else [label]
                texts = (_normal(str(each)).strip() for each in labels if each is not None)
                given[target] |= set(filter(None, texts))
                if group not in (None, "") and group == group:  # NaN is no group
                    groups[target] = str(group)
        except (ValueError, RecursionError, csv.Error, OSError) as error:
            problems.append(_problem(name, "rows with file_name and label", brief(error), "fix it"))
        if count:
            got = f"{count} row{'s' * (count > 1)} name{'s' * (count == 1)} others, such as {unknown[:200]!r}"
            problems.append(_problem(name, "names of files in the folder", got, "check them"))
    return given, groups


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def printable(name: str) -> str:
    """Return a name as text that can be encoded: of one that is no UTF-8, bytes are replaced."""
    return os.fsencode(name).decode(errors="replace")


def _problem(name: str, expected: str, got: str, remedy: str) -> ImageError:
    return ImageError(printable(name), expected, got, remedy)
