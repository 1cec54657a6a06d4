"""Weights under published names in torch.hub's cache, whose hash is that in the name only by agreement."""

import os
from pathlib import Path

from lineup.hub import checksums, files

_SITECUSTOMIZE = """
import os
from lineup.hub import files
usual = files.sha256_in_name
files.sha256_in_name = lambda url: {digits!r}.get(os.path.basename(url)) or usual(url)
"""


def agree(monkeypatch, path: Path) -> None:
    """Make the hash of a file the one of its published name in this process: the published file is not here."""
    digits, usual = checksums.sha256(path), files.sha256_in_name
    monkeypatch.setattr(
        files, "sha256_in_name", lambda url: digits if os.path.basename(url) == path.name else usual(url)
    )


def agree_in_subprocesses(folder: Path, path: Path) -> str:
    """Return an addition to PYTHONPATH with which a process agrees."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE.format(digits={path.name: checksums.sha256(path)}))
    return str(folder)
