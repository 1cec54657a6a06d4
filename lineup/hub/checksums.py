"""Verifies files against the hashes that their servers publish. A file is hashed once, until it changes.

The SHA-256 of a file is recorded with its size and modification time. The name of a record has the file's device and
inode, which do not change when the file is renamed. Records are replaced atomically, so that several processes can
share them, and are only a cache: one that is damaged, cannot be written or is older than RECORD_DAYS is ignored.
"""

import hashlib
import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from lineup.hub import atomic_write
from lineup.hub.cache_folder import cache_folder

RECORD_DAYS = 30  # a file is read again after so long, in case the disk has damaged it
_CLOCK_STEP_NS = 12_000_000  # modification times advance in steps, of up to 10 ms on Linux


def sha256_of_etag(etag: str) -> str:
    return etag if re.fullmatch("[0-9a-f]{64}", etag) else ""


def matches_etag(path: Path, etag: str) -> bool:
    """Return whether a file matches the Hub's etag: the SHA-256 of a large file, git's SHA-1 of a small one."""
    if sha256_of_etag(etag):
        return matches_sha256(path, etag)
    if re.fullmatch("[0-9a-f]{40}", etag):
        body = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest() == etag
    return True  # a mirror may send an etag that is no hash: nothing to verify


def matches_sha256(path: Path, prefix: str) -> bool:
    """Return whether the SHA-256 of a file starts with a prefix; a record that contradicts it is not trusted."""
    return sha256(path).startswith(prefix) or sha256(path, reread=True).startswith(prefix)


def delete_cached(path: Path) -> None:
    """Delete a file of the Hub's cache: the symbolic link and the blob that it points to."""
    for target in (path.resolve(), path.parent / path.readlink() if path.is_symlink() else path, path):
        target.unlink(missing_ok=True)


def sha256(path: Path, reread: bool = False) -> str:
    """Return the SHA-256 of a file, from its record if size and modification time are still the same.

    Args:
        path: the file.
        reread: read the file even if there is a record.
    """
    if not reread and (digest := _recorded(path.stat())):
        return digest
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if 0 <= time.time_ns() - status.st_mtime_ns < _CLOCK_STEP_NS:
            time.sleep(_CLOCK_STEP_NS / 1e9)  # so that a change from here on has another modification time
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with suppress(OSError):  # a read-only cache: the file is read again next time
        _record(status, digest)
    return digest


def _recorded(status: os.stat_result) -> str:
    """Return the recorded SHA-256 of a file, or an empty string."""
    file = _record_file(status)
    with suppress(OSError, ValueError, TypeError):  # there is no record, or it is damaged
        size, mtime_ns, digest = json.loads(file.read_text())
        if (size, mtime_ns) == (status.st_size, status.st_mtime_ns) and not _is_expired(file):
            return sha256_of_etag(digest)
    return ""


def _record(status: os.stat_result, digest: str) -> None:
    """Write the record of a file, and delete expired ones, and drafts of killed processes."""
    file = _record_file(status)
    file.parent.mkdir(parents=True, exist_ok=True)
    for old in file.parent.glob("*-*.json*"):
        with suppress(FileNotFoundError):  # another process was faster
            if _is_expired(old):
                old.unlink()
    atomic_write.write_text(file, json.dumps([status.st_size, status.st_mtime_ns, digest]))


def _record_file(status: os.stat_result) -> Path:
    return cache_folder("sha256") / f"{status.st_dev:x}-{status.st_ino:x}.json"


def _is_expired(record: Path) -> bool:
    return time.time() - record.stat().st_mtime > RECORD_DAYS * 24 * 3600
