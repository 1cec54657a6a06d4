"""Unpacks zip files of images, where what would be written is checked before anything is, and packs files."""

import lzma
import posixpath
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path
from typing import Any

from lineup.errors import LineupError
from lineup.images.labelled_folder import IGNORED_FILES

MAX_DEPTH = 12  # folders within folders
MAX_NAME_BYTES = 240  # of a part of a path; file systems allow 255
MAX_RATIO = 200  # of a file's size unpacked and packed: images hardly shrink, and deflate reaches 1,032
_CHUNK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, ValueError, struct.error)


@dataclass(frozen=True)
class ArchiveLimits:
    """What a zip file may hold; None for no limit.

    Attributes:
        max_files: the number of files.
        max_bytes: the size of all files, unpacked.
        max_file_bytes: the size of each file, unpacked.
    """

    max_files: int | None = None
    max_bytes: int | None = None
    max_file_bytes: int | None = None


def unpack(path: Path, folder: Path, limits: ArchiveLimits | None = None, name: str = "") -> int:
    """Unpack a zip file of images to an empty folder, and return the number of files.

    Hidden files are left out. Nothing is written outside of the folder.

    Args:
        path: the zip file.
        folder: is created if necessary.
        limits: of what it holds.
        name: of the zip file in errors; that of its path if it is empty.

    Raises:
        LineupError: when it is not a zip file, is damaged, encrypted, or over a limit, or a name in it leads out of the
            folder or is a link; nothing is left in the folder.
    """
    limits, name = limits or ArchiveLimits(), name or path.name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check_count(name, members, limits)
            targets = {member: _target(name, member) for member in members}
            kept = {member: target for member, target in targets.items() if _is_kept(target)}
            _check_sizes(name, list(kept), limits)
            _check_names(name, list(kept.values()))
            _check_disk(name, sum(member.file_size for member in kept), folder)
            for member, target in kept.items():
                _write(archive, member, folder / target)
            return len(kept)
    except LineupError:
        _clear(folder)
        raise
    except NotImplementedError as error:  # such as Deflate64
        _clear(folder)
        raise LineupError(name, "a zip file of images", str(error)[:100], "pack it again") from error
    except (*_DAMAGED, OSError) as error:
        _clear(folder)
        if not isinstance(error, OSError) or error.errno is None:  # bz2 raises OSError
            got = "it is damaged or cut off, or not a zip file"
            raise LineupError(name, "a zip file of images", got, "pack it again") from error
        raise LineupError(name, "to unpack it", f"writing failed ({error.strerror})", "free some space") from error


def _check_count(name: str, members: list[zipfile.ZipInfo], limits: ArchiveLimits) -> None:
    if limits.max_files is not None and len(members) > limits.max_files:
        got = f"got {len(members):,}"
        raise LineupError(name, f"at most {limits.max_files:,} files", got, "pack fewer, or use the command line")
    for member in members:
        if member.flag_bits & 1:
            raise LineupError(name, "a zip file without a password", f"{member.filename[:80]!r} has one", "remove it")


def _target(name: str, member: zipfile.ZipInfo) -> str:
    """Return the path to unpack a file to, relative to the folder."""
    mode = member.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        got = f"{member.filename[:80]!r} is a link or a device"
        raise LineupError(name, "files", got, "pack the files themselves")
    return safe_name(name, member.filename)


def safe_name(where: str, written: str) -> str:
    """Return a path that leads to nowhere outside of a folder, with slashes.

    Raises:
        LineupError: when it is absolute, has ``..`` or a null byte, or is too deep or too long.
    """
    slashed = written.replace("\\", "/")
    drive = len(slashed) > 1 and slashed[1] == ":"
    if slashed.startswith("/") or drive or ".." in slashed.split("/") or "\0" in slashed:
        raise LineupError(where[:80], "a path inside the folder", f"got {written[:80]!r}", "rename it")
    target = posixpath.normpath(slashed)
    parts = target.split("/")
    if target == "." or len(parts) > MAX_DEPTH or any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        expected = f"a path of at most {MAX_DEPTH} names, each of at most {MAX_NAME_BYTES} bytes"
        raise LineupError(where[:80], expected, f"got {written[:80]!r}", "rename it")
    return target


def _is_kept(target: str) -> bool:
    """Return whether a file is not hidden: `labelled_folder.read` says of each other one why it is left out."""
    *folders, name = target.split("/")
    hidden = name.startswith(".") or name.lower() in IGNORED_FILES
    return not hidden and not any(folder.startswith((".", "__")) for folder in folders)


def _check_sizes(name: str, members: list[zipfile.ZipInfo], limits: ArchiveLimits) -> None:
    """Check the sizes that the archive states; `_write` rejects a file that is larger."""
    total = sum(member.file_size for member in members)
    if limits.max_bytes is not None and total > limits.max_bytes:
        expected = f"at most {limits.max_bytes / 1e6:,.0f} MB unpacked"
        raise LineupError(name, expected, f"got {total / 1e6:,.0f}", "pack fewer, or use the command line")
    for member in members:
        if member.file_size > MAX_RATIO * max(member.compress_size, 1024):
            got = f"{member.filename[:80]!r} grows {member.file_size // max(member.compress_size, 1):,}-fold"
            raise LineupError(name, "images, which hardly shrink", got, "remove it")
        if limits.max_file_bytes is not None and member.file_size > limits.max_file_bytes:
            got = f"{member.filename[:80]!r} has {member.file_size / 1e6:,.1f}"
            raise LineupError(name, f"files of at most {limits.max_file_bytes / 1e6:,.0f} MB", got, "make it smaller")


def _check_names(name: str, targets: list[str]) -> None:
    """Check that no two files have the same path, also where the file system ignores case."""
    seen = dict[str, str]()
    for target in targets:
        if (other := seen.setdefault(target.casefold(), target)) != target:
            raise LineupError(name, "names that differ", f"got {other[:60]!r} and {target[:60]!r}", "rename one")
    if len(seen) < len(targets):
        twice = next(target for target in targets if targets.count(target) > 1)
        raise LineupError(name, "each name once", f"{twice[:80]!r} is there twice", "pack it again")
    folders = {posixpath.dirname(target) for target in targets}
    if both := folders & set(targets):
        raise LineupError(name, "files or folders", f"{min(both)[:80]!r} is both", "pack it again")


def _check_disk(name: str, n_bytes: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free // 2:
        got = f"it has {n_bytes / 1e6:,.0f} MB unpacked, and {free / 1e6:,.0f} MB are free"
        raise LineupError(name, "at most half of the free disk space", got, "free some space")


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Unpack a file; what it has beyond its stated size is an error, as `ZipFile` checks its CRC at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with archive.open(member) as packed, target.open("xb") as file:
        while chunk := packed.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise zipfile.BadZipFile("it is larger than it states")
            file.write(chunk)


def _clear(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


class _Written(RawIOBase):
    """A file that passes on what is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def pack(files: Iterable[tuple[str, str | Path]]) -> Iterator[bytes]:
    """Yield a zip file in parts, one for each file, so that neither memory nor the disk has all of it.

    Args:
        files: the name of each in the zip file, and where it is.
    """
    written = _Written()
    with zipfile.ZipFile(written, "w", strict_timestamps=False) as archive:
        for name, path in files:
            archive.write(path, name)
            yield written.take()
    yield written.take()
