"""The classes that an open page collects: names and images, in a folder whose id only its browser tab knows.

`cards_field` shows them as cards, into which images are dropped, pasted, chosen, or taken in a dialog.
"""

import json
import os
import re
import shutil
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from lineup.errors import LineupError, writing_errors
from lineup.hub import atomic_write
from lineup.hub.cache_folder import cache_folder
from lineup.images import image_set
from lineup.images.image_set import EvaluatedImage, ImageSet
from lineup.page.folder_uploads import SENDING, Uploads
from lineup.page.templates import read_script, render
from lineup.service import Service

MAX_NAME = 80  # characters of the name of a class
HASH_DIGITS = 32  # of an image's SHA-256: the name of its file
N_EMPTY = 2  # classes of a new page
N_SHOWN = 60  # images of a class
IMAGES = "images"  # the folder of a collection that has its images
_FILE, _TRAIN = "classes.json", "train"  # images that came without a split are in that for training
_UNNAMED = re.compile(r"Class \d+")
_BIDIRECTIONAL = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # controls, which reorder a line
_N_LOCKS = 64


@dataclass(frozen=True)
class ImageClass:
    """A class of a collection.

    Attributes:
        key: names it in events; the name may change.
        name: as the user writes it.
        images: the hashes of its images, in the order of their arrival.
        n_held_out: how many of them came in a split for validation or tests.
    """

    key: str
    name: str
    images: tuple[str, ...]
    n_held_out: int = 0


@dataclass(frozen=True)
class Collection:
    """The classes of an open page, in the order of their creation, and the id of their last training, if any."""

    id: str
    classes: tuple[ImageClass, ...]
    training: str = ""

    @property
    def n_images(self) -> int:
        """The number of images in all classes."""
        return sum(len(each.images) for each in self.classes)

    @property
    def filled(self) -> list[ImageClass]:
        """The classes that have images."""
        return [each for each in self.classes if each.images]


class Collections:
    """The collections of all open pages, deleted by age as uploads are. Thread-safe.

    Every method raises LineupError when there is no such collection, class or image, or the disk is full.

    Args:
        service: for the limits in its config.
        folder: holds them.
    """

    def __init__(self, service: Service, folder: Path | None = None) -> None:
        self._folders = Uploads(service, folder or cache_folder("classes"), lambda config: config.training)
        self._locks = [threading.RLock() for _ in range(_N_LOCKS)]

    def create(self) -> str:
        """Create a collection with empty classes, and return its id."""
        with writing_errors("classes", "a folder for your images", "try again later"):
            name = self._folders.create()
        with self._edited(name) as data:
            for _ in range(N_EMPTY):
                _add(data, "")
        return name

    def folder(self, collection: str) -> Path:
        """Return the folder of a collection, which counts as used."""
        try:
            folder = self._folders.folder(collection)
        except LineupError:
            got = "they are no longer on this server"
            raise LineupError("classes", "those of this page", got, "load the page again") from None
        os.utime(folder)
        return folder

    def unchanged(self, collection: str) -> AbstractContextManager[Any]:
        """Return a context in which no other thread changes the collection; a few others share its lock."""
        return self._locks[hash(collection) % _N_LOCKS]

    def read(self, collection: str) -> Collection:
        """Return what a collection has now."""
        folder, classes = self.folder(collection), list[ImageClass]()
        with self.unchanged(collection):
            data = _read(folder)
            for key, name in data["names"].items():
                paths = _files(folder, key)
                n_held_out = sum(path.parts[-3] != _TRAIN for path in paths)
                classes.append(ImageClass(key, name, tuple(path.stem for path in paths), n_held_out))
        return Collection(collection, tuple(classes), data["training"])

    def trained(self, collection: str, training: str) -> None:
        """Note the last training of a collection."""
        with self._edited(collection) as data:
            data["training"] = training

    def add_class(self, collection: str) -> str:
        """Add an empty class, and return its key."""
        with self._edited(collection) as data:
            if len(data["names"]) >= (limit := self._folders.limits.max_images):
                raise LineupError("classes", f"at most {limit:,}", "there are as many already", "remove one")
            return _add(data, "")

    def rename(self, collection: str, key: str, name: object) -> None:
        """Rename a class."""
        with self._edited(collection) as data:
            _known(data, key)
            text = _checked(name)
            if (other := _key_of(data, text)) not in ("", key):
                got = f"there is a class {data['names'][other]!r} already"
                raise LineupError("class", "a name of its own", got, "choose another")
            data["names"][key] = text

    def remove(self, collection: str, key: str, image: str = "") -> None:
        """Remove an image from a class, by its hash, or else the class with its images."""
        with self._edited(collection) as data:
            for path in _files(self.folder(collection), _known(data, key), image):
                path.unlink(missing_ok=True)
                data["groups"].pop(path.stem, None)
            if not image:
                del data["names"][key]

    def move(self, collection: str, key: str, image: str, target: str) -> None:
        """Move an image from a class to another one."""
        with self._edited(collection) as data:
            for path in _files(self.folder(collection), _known(data, key), image):
                to = path.parents[1] / _known(data, target)
                to.mkdir(exist_ok=True)
                path.replace(to / path.name)

    def add(self, collection: str, uploads: Uploads, upload: str, key: str = "") -> list[str]:
        """Move uploaded images to a class, or each to the class of its label, which is created if necessary.

        Images without labels in one folder have its name as their label.

        Returns:
            A sentence for each file that is left out.
        """
        root = uploads.folder(upload)
        try:
            return self._moved(collection, uploads.images(upload), root, key)
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def _moved(self, collection: str, found: ImageSet, root: Path, key: str) -> list[str]:
        """Move the images of an upload in the folder `root`, and return a sentence for each that is left out."""
        with self._edited(collection) as data:
            if key and key not in data["names"]:
                got = "it was removed while its images were on their way"
                raise LineupError("class", "one of this page", got, "add them to another one")
            folder = self.folder(collection)
            notes = [each["error"] for each in found.unreadable]
            notes += [f"{each['files'][0]}: it is in {' and '.join(each['labels'])}" for each in found.conflicts]
            targets = dict[EvaluatedImage, str]()  # all of them, before anything moves: a name may be refused
            for image in found.images:
                label = image.label or ("" if found.labels else _folder_name(Path(image.path), root))
                if key or label:
                    targets[image] = key or _key_of(data, name := _checked(label)) or _add(data, name)
                else:
                    notes.append(f"{image.name}: it has no class; drop it on one, or put it into a folder of that name")
                if image.group:  # other uploads have groups of the same name
                    data["groups"][image.sha256[:HASH_DIGITS]] = f"{root.name}/{image.group}"
            there = {path.with_suffix("") for path in folder.glob(f"{IMAGES}/*/*/*")}  # whatever the suffix was
            places = {
                folder / IMAGES / (image.split or _TRAIN) / target / image.sha256[:HASH_DIGITS]: Path(image.path)
                for image, target in targets.items()
            }
            new = {place: path for place, path in places.items() if place not in there}
            self._check_room(folder, [path.stat().st_size for path in new.values()])
            _write(folder, data)  # if what follows is interrupted, every image is in a class that is known
            for place, path in new.items():
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, place.with_suffix(path.suffix.lower()))
            for each in [] if key else [each for each, name in data["names"].items() if _UNNAMED.fullmatch(name)]:
                if not _files(folder, each):  # an empty class of a new page
                    del data["names"][each]
        return notes

    def image(self, folder: Path, image: str) -> Path:
        """Return the file of an image in the folder of a collection, by its hash."""
        with self.unchanged(folder.name):
            paths = _files(folder, "*", image) if image else []
        if paths:
            return paths[0]
        raise LineupError("image", "one of this page", "there is none any more", "load the page again")

    def images(self, collection: str) -> ImageSet:
        """Return the images of all classes, labelled with their names."""
        folder = self.folder(collection)
        with self.unchanged(collection):
            data, found = _read(folder), image_set.collect(folder / IMAGES, "your classes")
        names: dict[str | None, str] = data["names"]

        def named(file: str) -> str:
            _, key, image = file.split("/")
            return f"{names[key]}/{image[:8]}"

        def labelled(image: EvaluatedImage) -> EvaluatedImage:
            group = data["groups"].get(image.sha256[:HASH_DIGITS], "")
            return replace(image, label=names[image.label], name=named(image.name), group=group)

        return replace(
            found,
            images=tuple(map(labelled, found.images)),
            duplicates=tuple(tuple(map(named, group)) for group in found.duplicates),
            conflicts=tuple(
                {"files": list(map(named, each["files"])), "labels": [names[label] for label in each["labels"]]}
                for each in found.conflicts
            ),
        )

    def delete_old(self) -> None:
        """Delete the collections that were not used for `folder_uploads.KEEP_S`."""
        self._folders.delete_old()

    def _check_room(self, folder: Path, added: list[int]) -> None:
        """Raise LineupError when so many bytes per file would be over a limit."""
        sizes, limits = [path.stat().st_size for path in folder.glob(f"{IMAGES}/*/*/*")] + added, self._folders.limits
        if len(sizes) > limits.max_images:
            got, remedy = f"it would be {len(sizes):,}", "remove some, or use the command line, which has no limit"
            raise LineupError("classes", f"at most {limits.max_images:,} images", got, remedy)
        if sum(sizes) > limits.max_mb * 10**6:
            got = f"it would be {sum(sizes) / 1e6:,.1f} MB"
            raise LineupError("classes", f"at most {limits.max_mb:,} MB", got, "remove some, or use the command line")

    @contextmanager
    def _edited(self, collection: str) -> Iterator[dict[str, Any]]:
        """Yield what the file of a collection has, and write it back at the end, unless an error is raised."""
        with self.unchanged(collection), writing_errors("classes", "to keep them", "free some space, and try again"):
            folder = self.folder(collection)
            data = _read(folder)
            yield data
            _write(folder, data)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / _FILE
    empty: dict[str, Any] = {"names": {}, "training": "", "count": 0, "groups": {}}
    return empty | (json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {})


def _write(folder: Path, data: dict[str, Any]) -> None:
    atomic_write.write_text(folder / _FILE, json.dumps(data))


def _add(data: dict[str, Any], name: str) -> str:
    """Add a class to the file of a collection, and return its key; its name is numbered if it has none."""
    data["count"] += 1
    key, number = str(data["count"]), len(data["names"]) + 1
    while not name or _key_of(data, name):
        name, number = f"Class {number}", number + 1
    data["names"][key] = name
    return key


def _key_of(data: dict[str, Any], name: str) -> str:
    """Return the key of the class whose name reads the same; empty if there is none."""
    keys = (key for key, other in data["names"].items() if _as_read(other) == _as_read(name))
    return next(keys, "")


def _as_read(name: str) -> str:
    """Return what names that look the same, or differ only in their case, have in common."""
    visible = "".join(char for char in name if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", visible).casefold())


def _known(data: dict[str, Any], key: str) -> str:
    """Return the key of a class, which may be part of a path."""
    if key not in data["names"]:
        raise LineupError("class", "one of this page", "there is none any more", "load the page again")
    return key


def _checked(name: object) -> str:
    """Return a name in Unicode's form NFC, without surrounding spaces."""
    text = unicodedata.normalize("NFC", " ".join(str(name or "").split()))
    is_visible = any(unicodedata.category(char)[0] in "LNPS" for char in text)
    if not is_visible or len(text) > MAX_NAME or any(map(_is_control, text)):
        got = f"got {text[:MAX_NAME]!r}" if is_visible else "it is empty"
        raise LineupError("class", f"a name of 1 to {MAX_NAME} characters", got, "name the class")
    return text


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cs") or unicodedata.bidirectional(char) in _BIDIRECTIONAL


def _folder_name(path: Path, root: Path) -> str:
    """Return the name of an image's folder; empty if it is that of the upload."""
    return "" if path.parent == root.resolve() else path.parent.name


def _files(folder: Path, key: str, image: str = "") -> list[Path]:
    """Return the images of a class, in the order of their arrival, or the one of a hash."""
    paths = sorted(folder.glob(f"{IMAGES}/*/{key}/*"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    return [path for path in paths if image in ("", path.stem)]


def cards_field() -> gr.HTML:
    """Create the cards, and the dialog of the camera; the event `select` has an `action` and what that needs."""
    stream = read_script("camera_stream")
    gr.HTML(render("camera.html"), js_on_load=stream + read_script("camera"), elem_id="camera")
    return gr.HTML(js_on_load=SENDING + read_script("image_classes"), elem_id="classes")


def cards(collection: Collection, path: str, number: int = 0) -> str:
    """Render the cards.

    Args:
        collection: the classes.
        path: where images are uploaded.
        number: the browser renders cards again whenever it changes: it may have shown what was refused.
    """
    shared = {each.key: _shared(collection, each) for each in collection.classes}
    values = {"collection": collection, "shared": shared, "number": number, "path": path}
    return render("image_classes.html", max_name=MAX_NAME, n_shown=N_SHOWN, **values)


def _shared(collection: Collection, own: ImageClass) -> dict[str, int]:
    """Return how many images of a class are in each other one, by its name."""
    counts = {other.name: len({*own.images} & {*other.images}) for other in collection.classes if other is not own}
    return {name: count for name, count in counts.items() if count}
