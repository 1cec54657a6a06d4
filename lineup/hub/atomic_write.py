"""Writes files so that other processes see the old content or the new, and never half of it."""

import os
import threading
from pathlib import Path


def draft_of(path: Path) -> Path:
    """Return a hidden name beside a file that no other thread or process writes to, to be renamed to it."""
    return path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")


def write_bytes(path: Path, body: bytes) -> None:
    """Write a file in one step; its folder must exist.

    Raises:
        OSError: when it cannot be written; no part of it remains.
    """
    draft = draft_of(path)
    try:
        draft.write_bytes(body)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8 in one step, as `write_bytes` does."""
    write_bytes(path, text.encode())
