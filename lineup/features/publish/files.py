"""Collect the files of a Space: the code, the config, and the files that the config names."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lineup.config import Config
from lineup.errors import LineupError
from lineup.images import examples
from lineup.images.formats import SUFFIXES

ROOT = Path(__file__).parents[3]
CODE = ("app.py", "requirements.txt", "LICENSE", "config.schema.json")
# files that README.md links to: a clone of the Space is this project without its tests and benchmarks
LINKED = (
    "requirements-transformers.txt",
    "requirements-datasets.txt",
    "requirements-train.txt",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "Makefile",
    "constraints.txt",
    "docs",
    "deploy",
    "Dockerfile",
    ".dockerignore",
    "recipes",
)
CREDITS = "CREDITS.md"  # attribution of the examples in a folder, which many licences require
MANIFEST = ".lineup-push.json"  # files of the last push: path → possible object ids of its content
BINARY = (*SUFFIXES, ".safetensors", ".bin", ".pt", ".pth", ".tar", ".gz")  # a Space's git accepts these only in LFS


@dataclass(frozen=True)
class File:
    """A file of the Space; `oids` are its possible ids on the Hub: git's SHA-1, and the SHA-256 used by LFS."""

    content: Path | bytes = field(repr=False)
    size_bytes: int
    oids: tuple[str, str]


def collect(config: Config, path: Path, readme: str, requirements: Iterable[str] = ()) -> dict[str, File]:
    """Return the files of the Space by their path there: the code, and the files that the config names.

    A Space is built with requirements.txt alone, so that the lines of other files of requirements are appended to it.

    Raises:
        LineupError: the config names a file outside its folder, a missing file, or a path that the code uses.
    """
    roots = [ROOT / name for name in (*CODE, "lineup", *LINKED)]
    sources = [root for root in roots if root.is_file()]
    sources += [path for root in roots if root.is_dir() for path in _files_below(root)]
    files = {source.relative_to(ROOT).as_posix(): _file(source) for source in sources}
    files |= {"config.yaml": _file(path), "README.md": _file(readme.encode()), ".gitattributes": _file(_attributes())}
    if requirements:
        texts = [(ROOT / name).read_text(encoding="utf-8") for name in ("requirements.txt", *requirements)]
        files["requirements.txt"] = _file("\n".join(texts).encode())
    for error in outside(config):
        raise error
    for where, _, paths in _named(config):
        for source in paths:
            if not source.is_file():
                raise LineupError(where, "a file", f"{source} does not exist", "check the path")
            name, file = Path(os.path.relpath(source, config.folder)).as_posix(), _file(source)
            if files.setdefault(name, file).oids != file.oids:
                raise LineupError(where, "a path that the app does not use", f"got {name!r}", "rename it")
    manifest = json.dumps({name: file.oids for name, file in sorted(files.items())}, indent=1)
    return dict(sorted((files | {MANIFEST: _file(manifest.encode())}).items()))


def outside(config: Config) -> Iterator[LineupError]:
    """Yield an error for each path in the config that is outside its folder, or a link out of it."""
    top = config.folder.resolve()
    for where, written, paths in _named(config):
        is_outside = ".." in Path(written).parts or Path(written).is_absolute()
        if is_outside or any(top not in source.resolve().parents for source in [config.folder / written, *paths]):
            yield LineupError(
                where,
                "a path inside the config's folder, which is what a Space gets",
                f"got {written!r}",
                "copy it there, and write its path relative to that folder",
            )


def _named(config: Config) -> Iterator[tuple[str, str, list[Path]]]:
    """Yield the paths in the config: the position, the path as written, and the files that it refers to."""
    for index, entry in enumerate(config.backbones):
        if entry.spec.source == "local-dir":
            folder = entry.spec.target
            yield config.where("backbones", index, "backbone"), folder, _files_below(config.folder / folder)
        for key, name in (("checkpoint", entry.checkpoint), ("labels", entry.labels)):
            if isinstance(name, str):
                yield config.where("backbones", index, key), name, [config.folder / name]
    if isinstance(config.examples, str):
        images = [Path(example.image) for example in examples.find(config)[0]]
        credits = [path for path in (config.folder / config.examples).glob(CREDITS) if path.is_file()]
        yield config.where("examples"), config.examples, images + credits
        return
    for index, example in enumerate(config.examples):
        if "://" not in example.image:
            yield config.where("examples", index), example.image, [config.folder / example.image]


def _files_below(folder: Path) -> list[Path]:
    """Return the files in a folder, recursively, without hidden ones and Python's caches."""
    paths = ((path, path.relative_to(folder).parts) for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path, parts in paths if not any(part[0] == "." or part == "__pycache__" for part in parts)]


def _attributes() -> bytes:
    """Return .gitattributes for clones of the Space: its git accepts images and weights only in LFS."""
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
