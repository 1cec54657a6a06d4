"""Writes files so that other processes see the old content or the new, and never half of it."""

import os
import threading
from pathlib import Path


def draft_of(path: Path, suffix: str = "") -> Path:
    """Return a name beside a file that no other thread or process writes to, to be renamed to it."""
    return path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{suffix}")


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8 in one step; its folder must exist.

    Raises:
        OSError: when it cannot be written.
    """
    draft = draft_of(path)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
