"""Plans entries, and writes folders for them."""

from pathlib import Path

from lineup import registry
from lineup.config import Entry
from lineup.hub import downloads


def plan(value, folder: Path = Path()) -> registry.Plan:
    return registry.plan(Entry.model_validate(value), registry.Context(folder, lambda file: downloads.fetch(file, 30)))


def keep(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, body in files.items():
        (folder / name).write_bytes(body)
