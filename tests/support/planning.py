"""Helpers that plan an entry, and write a folder for it."""

from pathlib import Path

from lineup import registry
from lineup.config import Entry
from lineup.hub import downloads


def plan(value, folder: Path = Path(), output: registry.OutputKind = "classes") -> registry.Plan:
    context = registry.Context(folder, lambda file: downloads.fetch(file, 30), output=output)
    return registry.plan(Entry.model_validate(value), context)


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, body in files.items():
        (folder / name).write_bytes(body)
