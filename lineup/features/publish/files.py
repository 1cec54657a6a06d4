"""What a Space gets: the code, the config it is pushed with, and the files that this config names."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lineup.config import Config
from lineup.errors import LineupError
from lineup.images import examples
from lineup.images.formats import SUFFIXES

ROOT = Path(__file__).parents[3]
CODE = ("app.py", "requirements.txt", "LICENSE", "config.schema.json")
# what README.md shows or names: a clone of the Space is a project as this one, but for its tests and benchmarks
TOLD = ("SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "constraints.txt", "docs", "recipes")
CREDITS = "CREDITS.md"  # whose the examples in a folder are: many licences ask that it goes with them
MANIFEST = ".lineup-push.json"  # what the last push put there: path → what the Hub may call its content
BINARY = (*SUFFIXES, ".safetensors", ".bin", ".pt", ".pth", ".tar")  # what a Space's git refuses outside of LFS


@dataclass(frozen=True)
class File:
    """A file of the Space; `oids` are what the Hub may say of it: git's SHA-1 of a small one, else the SHA-256."""

    content: Path | bytes = field(repr=False)
    size_bytes: int
    oids: tuple[str, str]


def collect(config: Config, path: Path, readme: str) -> dict[str, File]:
    """Return what the Space needs, by its path there: the code, and what the config names.

    Raises:
        LineupError: when the config names what lies outside its folder, or where the code lies.
    """
    places = [ROOT / name for name in (*CODE, "lineup", *TOLD)]
    sources = [place for place in places if place.is_file()]
    sources += [each for place in places if place.is_dir() for each in _below(place)]
    found = {source.relative_to(ROOT).as_posix(): _file(source) for source in sources}
    found |= {"config.yaml": _file(path), "README.md": _file(readme.encode()), ".gitattributes": _file(_attributes())}
    top = config.folder.resolve()
    for where, written, paths in _named(config):
        for each in [config.folder / written, *paths]:
            if ".." in Path(written).parts or Path(written).is_absolute() or top not in each.resolve().parents:
                raise LineupError(
                    where,
                    "a path below the config's folder, which is what a Space gets",
                    f"got {written!r}",
                    "copy it there, and write where it lies from there",
                )
        for each in paths:
            if not each.is_file():
                raise LineupError(where, "a file", f"{each} is not there", "check the path")
            name, file = Path(os.path.relpath(each, config.folder)).as_posix(), _file(each)
            if found.setdefault(name, file).oids != file.oids:
                raise LineupError(where, "a path that the app does not use", f"got {name!r}", "rename it")
    listed = json.dumps({name: file.oids for name, file in sorted(found.items())}, indent=1)
    return dict(sorted((found | {MANIFEST: _file(listed.encode())}).items()))


def _named(config: Config) -> Iterator[tuple[str, str, list[Path]]]:
    """Yield each path that the config names: its place, how it is written, and the files that it stands for."""
    for index, entry in enumerate(config.backbones):
        if entry.spec.source == "local-dir":
            folder = entry.spec.target
            yield config.where("backbones", index, "backbone"), folder, _below(config.folder / folder)
        for key, name in (("checkpoint", entry.checkpoint), ("labels", entry.labels)):
            if isinstance(name, str):
                yield config.where("backbones", index, key), name, [config.folder / name]
    if isinstance(config.examples, str):
        images = [Path(each.image) for each in examples.find(config)[0]]
        credits = [path for path in (config.folder / config.examples).glob(CREDITS) if path.is_file()]
        yield config.where("examples"), config.examples, images + credits
        return
    for index, each in enumerate(config.examples):
        if "://" not in each.image:
            yield config.where("examples", index), each.image, [config.folder / each.image]


def _below(folder: Path) -> list[Path]:
    """Return the files of a folder, but for what is hidden and what Python keeps there."""
    names = ((path, path.relative_to(folder).parts) for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path, parts in names if not any(part[0] == "." or part == "__pycache__" for part in parts)]


def _attributes() -> bytes:
    """Return .gitattributes for who clones the Space: its git refuses images and weights outside of LFS."""
    own = ROOT / ".gitattributes"
    lines = own.read_text(encoding="utf-8").splitlines() if own.is_file() else []
    binary = (f"*{suffix} filter=lfs diff=lfs merge=lfs -text" for suffix in BINARY)
    return "\n".join([*dict.fromkeys([*lines, *binary]), ""]).encode()


def _file(content: Path | bytes) -> File:
    size_bytes = len(content) if isinstance(content, bytes) else content.stat().st_size
    git, sha256 = hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False), hashlib.sha256()
    if isinstance(content, bytes):
        git.update(content)
        sha256.update(content)
    else:
        with content.open("rb") as file:
            for chunk in iter(partial(file.read, 1 << 20), b""):
                git.update(chunk)
                sha256.update(chunk)
    return File(content, size_bytes, (git.hexdigest(), sha256.hexdigest()))
