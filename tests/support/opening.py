"""Records which files Python opens."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_recordings: list[list[Path]] = []
_hooked: list[object] = []


def _record(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _recordings and isinstance(arguments[0], str | os.PathLike):
        for recording in _recordings:
            recording.append(Path(os.path.realpath(arguments[0])))


@contextmanager
def opened_files() -> Iterator[list[Path]]:
    """Return a list to which each file is added that is opened inside the block, with symbolic links resolved."""
    if not _hooked:
        sys.addaudithook(_record)  # permanent: audit hooks cannot be removed
        _hooked.append(_record)
    recording: list[Path] = []
    _recordings.append(recording)
    try:
        yield recording
    finally:
        _recordings.remove(recording)
