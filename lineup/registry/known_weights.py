"""Identifies published weights by the SHA-256 of a file: published figures belong to weights, not to names."""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from lineup.hub import checksums, downloads
from lineup.hub.files import HubFile, LocalFile, UrlFile, Weights
from lineup.registry.plan import Context

CONVERTED = "figures published for timm's conversion of the same checkpoint"


@dataclass(frozen=True)
class Candidate:
    """Published weights that a file may contain, for the same network and transform."""

    name: str  # resnet18.a1_in1k, resnet50@IMAGENET1K_V1
    figures: Mapping[str, float]  # at the input size in question
    sha256: str = ""  # the prefix that torch.hub compares; empty if the URL does not contain it
    file: HubFile | None = None  # the same weights on the Hub


def figures(file: Weights, context: Context, candidates: Iterable[Candidate]) -> tuple[Mapping[str, float], str]:
    """Return the figures published for the weights in a file, and a note; empty if its SHA-256 is unknown."""
    found = find(file, context, candidates)
    return (found[0].figures, found[1]) if found else ({}, "")


def find(file: Weights, context: Context, candidates: Iterable[Candidate]) -> tuple[Candidate, str] | None:
    """Return the published weights that a file contains, and a note; None if its SHA-256 is unknown."""
    known = [(prefix, candidate, note) for candidate in candidates for prefix, note in _hashes(candidate).items()]
    if known:  # otherwise skip the hash, which takes seconds for a large file that was not hashed before
        sha256 = _sha256(file, context)
        for prefix, candidate, note in known:
            if sha256.startswith(prefix):
                return candidate, note
    return None


def verified(file: Weights) -> bool:
    """Return whether a file is verified before it is loaded: by the Hub's etag, or the hash prefix in its name."""
    return isinstance(file, HubFile) or (isinstance(file, UrlFile) and bool(file.sha256))


def _sha256(file: Weights, context: Context) -> str:
    if isinstance(file, LocalFile):
        return checksums.sha256(file.path)
    return context.sha256(file) if isinstance(file, HubFile) else file.sha256


def _hashes(candidate: Candidate) -> dict[str, str]:
    """Map the SHA-256, or its prefix, of each file with these weights to a note on the figures."""
    notes = dict.fromkeys(_table().get(candidate.name, ()), CONVERTED)
    if file := candidate.file:
        notes |= {downloads.cached_sha256(replace(file, names=(name,))): "" for name in file.names}
    notes[candidate.sha256] = ""
    return {prefix: note for prefix, note in notes.items() if prefix}


@cache
def _table() -> dict[str, list[str]]:
    """Read known_weights.csv: the hashes of files converted from the checkpoint of a tag, by tag."""
    hashes: dict[str, list[str]] = {}
    with Path(__file__).with_name("known_weights.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            hashes.setdefault(row["tag"], []).append(row["sha256"])
    return hashes
