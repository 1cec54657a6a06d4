"""Which files of a folder have changed since they were sent."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

MAX_FILES, MAX_BYTES = 500, 50 * 10**6  # of one commit: one that fails costs little, and others wait for none

Version = tuple[int, int]  # of a file: when it was modified, in ns, and its size


class ChangedFiles:
    """Remembers which version of each file was sent; in memory, so that all are unsent at first.

    Files that are hidden, links, or end in ``.partial`` are left out.

    Args:
        folder: the folder, which need not exist.
        includes: whether a file belongs to it, by its path in the folder.
    """

    def __init__(self, folder: Path, includes: Callable[[str], bool]) -> None:
        self._folder, self._includes = folder, includes
        self._sent = dict[str, Version]()

    def unsent(self) -> list[str]:
        """Return the files that have changed since they were sent: images first, then what refers to them."""
        changed = [name for name, version in self._files() if self._sent.get(name) != version]
        return sorted(changed, key=lambda name: (name.endswith(".jsonl"), name))

    def mark_sent(self, names: Iterable[str]) -> None:
        """Take files for sent in their present version."""
        self._sent.update({name: version for name in names if (version := _version(self._folder / name))})

    def gone(self, before_s: float) -> set[str]:
        """Return the files that were sent, do not exist any more, and were last modified before a time."""
        old = [name for name, (time_ns, _) in self._sent.items() if time_ns < before_s * 1e9]
        return {name for name in old if not (self._folder / name).exists()}

    def batches(self, names: Sequence[str]) -> Iterator[list[str]]:
        """Split files so that each part fits a commit; a larger file is a part of its own."""
        batch, n_bytes = list[str](), 0
        for name in names:
            version = _version(self._folder / name)
            size = version[1] if version else 0
            if batch and (len(batch) >= MAX_FILES or n_bytes + size > MAX_BYTES):
                yield batch
                batch, n_bytes = [], 0
            batch.append(name)
            n_bytes += size
        if batch:
            yield batch

    @contextmanager
    def sending(self, names: Iterable[str]) -> Iterator[dict[str, bytes]]:
        """Yield the contents of the files that are not empty, and mark these as sent if the block succeeds.

        Of JSON lines, which other processes append to, only the complete lines are sent.
        """
        versions = {name: _version(self._folder / name) for name in names}  # before the content is read
        contents = {name: body for name in versions if (body := _content(self._folder / name))}
        yield contents
        self._sent.update({name: version for name in contents if (version := versions[name])})

    def _files(self) -> Iterator[tuple[str, Version]]:
        for folder, folders, names in os.walk(self._folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                path = Path(folder, name)
                relative = path.relative_to(self._folder).as_posix()
                if name.startswith(".") or name.endswith(".partial") or not self._includes(relative):
                    continue
                if not path.is_symlink() and (version := _version(path)):
                    yield relative, version


def _version(path: Path) -> Version | None:
    """Return the version of a file; None if it does not exist any more."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _content(path: Path) -> bytes:
    """Return the bytes of a file, of JSON lines the complete ones; none if it does not exist any more."""
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return b""
    return body[: body.rfind(b"\n") + 1] if path.suffix == ".jsonl" else body
