"""Remembers the etag of each file that was downloaded from the Hub: the hash that the file must have.

In the Hub's cache the name of a blob is its etag, but only where the cache has symbolic links: a copy of a cache, or a
cache on Windows, has plain files, and a link can be pointed at another blob.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from lineup.hub import atomic_write
from lineup.hub.cache_folder import cache_folder


def etag_of(path: Path) -> str:
    """Return the etag of a file in the Hub's cache; empty if unknown."""
    with suppress(OSError, UnicodeDecodeError):
        return _record_file(path).read_text(encoding="utf-8")
    return path.readlink().name if path.is_symlink() else ""


def record(path: Path, etag: str) -> None:
    """Record the etag of a file in the Hub's cache, whose path contains the commit."""
    with suppress(OSError):  # a read-only cache
        if _record_file(path).is_file() and etag_of(path) == etag:
            return
        _record_file(path).parent.mkdir(parents=True, exist_ok=True)
        atomic_write.write_text(_record_file(path), etag)


def _record_file(path: Path) -> Path:
    return cache_folder("etags") / hashlib.sha256(str(path.absolute()).encode()).hexdigest()
