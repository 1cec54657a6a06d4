"""Resolves the config's example images."""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlparse

from lineup.config import Config, Limits
from lineup.errors import HubError, ImageError
from lineup.hub import downloads, files
from lineup.images.formats import SUFFIXES

_DATASET = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([\w.-]+))?/(.+)")


@dataclass(frozen=True)
class Example:
    """An example image: a local path or an https URL, and its caption."""

    image: str
    caption: str

    @property
    def name(self) -> str:
        """Name in links: the file's stem."""
        return unquote(Path(urlparse(self.image).path if self.is_remote else self.image).stem)

    @property
    def is_remote(self) -> bool:
        return self.image.startswith("https://")


def fetch(example: Example, limits: Limits) -> str:
    """Return a local path of an example's image, downloading it if it is remote.

    Raises:
        ImageError: when a remote image cannot be downloaded.
    """
    if not example.is_remote:
        return example.image
    suffix = Path(urlparse(example.image).path).suffix
    name = hashlib.sha256(example.image.encode()).hexdigest()[:24] + suffix
    cached = files.UrlFile(example.image, Path(tempfile.gettempdir()) / "lineup-examples" / name)
    try:
        return str(downloads.fetch(cached, limits.hub_timeout_s))
    except HubError as error:
        raise ImageError(error.where, error.expected, error.got, error.remedy) from None


def find(config: Config) -> tuple[list[Example], list[str]]:
    """Return the available examples and a message for each one that is missing."""
    if isinstance(config.examples, str):
        return _in_folder(config, config.examples)
    examples, problems = [], []
    for index, entry in enumerate(config.examples):
        image = _url(entry.image)
        if not image.startswith("https://"):
            path = config.folder / image
            if not (is_file := os.path.isfile(path)) or not os.access(path, os.R_OK):
                got = f"{path} cannot be read" if is_file else f"{path} does not exist"
                got = f"got {image}" if "://" in image else got
                where = config.where("examples", index)
                problems.append(f"{where}: expected a path, https:// or hf://datasets/; {got}; check it")
                continue
            image = str(path)
        examples.append(Example(image, entry.caption or _caption(image)))
    return examples, problems


def _in_folder(config: Config, name: str) -> tuple[list[Example], list[str]]:
    folder, where = config.folder / name, config.where("examples")
    if not os.path.isdir(folder):
        return [], [f"{where}: expected a folder of images; {folder} does not exist; check the path"]
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES)
    except OSError as error:
        return [], [f"{where}: expected a folder of images; {folder} cannot be read: {error.strerror}; check it"]
    if not paths:
        return [], [f"{where}: expected images in {folder}; there are none; add some, or remove `examples`"]
    readable = [path for path in paths if os.access(path, os.R_OK)]
    problems = [
        f"{where}: expected images that can be read; {path} cannot; check its permissions"
        for path in paths
        if path not in readable
    ]
    return [Example(str(path), _caption(str(path))) for path in readable], problems


def _url(image: str) -> str:
    """Resolve ``hf://datasets/owner/repo@revision/path`` to an https URL; return other values unchanged."""
    if match := _DATASET.fullmatch(image):
        repo, revision, path = match.groups()
        return f"https://huggingface.co/datasets/{repo}/resolve/{revision or 'main'}/{quote(path)}"
    return image


def _caption(image: str) -> str:
    return unquote(Path(image).stem).replace("_", " ").replace("-", " ")
