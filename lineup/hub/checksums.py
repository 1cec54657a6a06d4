"""Verify files against the hashes that their servers publish."""

import hashlib
import re
from pathlib import Path


def sha256_of_etag(etag: str) -> str:
    return etag if re.fullmatch("[0-9a-f]{64}", etag) else ""


def matches_etag(path: Path, etag: str) -> bool:
    """Return whether a file matches the Hub's etag: the SHA-256 of a large file, git's SHA-1 of a small one."""
    if sha256_of_etag(etag):
        return sha256(path) == etag
    if re.fullmatch("[0-9a-f]{40}", etag):
        body = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest() == etag
    return True  # a mirror may send an etag that is no hash: nothing to verify


def delete_cached(path: Path) -> None:
    """Delete a file of the Hub's cache: the symbolic link and the blob that it points to."""
    for target in (path.resolve(), path.parent / path.readlink() if path.is_symlink() else path, path):
        target.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
