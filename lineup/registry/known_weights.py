"""Tells by a file's SHA-256 which published weights it holds: published figures belong to weights, not to names."""

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
    """Published weights that a file may hold, if the network and the transform are theirs."""

    name: str  # resnet18.a1_in1k, resnet50@IMAGENET1K_V1
    figures: Mapping[str, float]  # at the input size in question
    sha256: str = ""  # the first digits, which torch.hub compares; empty if the address does not state them
    file: HubFile | None = None  # where the same weights lie on the Hub


def figures(file: Weights, context: Context, candidates: Iterable[Candidate]) -> tuple[Mapping[str, float], str]:
    """Return what is published of the weights in a file, and a remark on it; nothing if its SHA-256 is not known."""
    known = [(digits, each, remark) for each in candidates for digits, remark in _hashes(each).items()]
    if known:  # otherwise nothing is hashed: a large file takes seconds
        sha256 = _sha256(file, context)
        for digits, candidate, remark in known:
            if sha256.startswith(digits):
                return candidate.figures, remark
    return {}, ""


def verified(file: Weights) -> bool:
    """Tell whether a download is compared with a hash: with the Hub's etag, or with the digits in the file's name.

    torch.hub does not compare a file that is in its folder already; here that is done.
    """
    if not isinstance(file, UrlFile):
        return isinstance(file, HubFile)
    kept = downloads.cached(file)
    return bool(file.sha256) and (kept is None or checksums.sha256(kept).startswith(file.sha256))


def _sha256(file: Weights, context: Context) -> str:
    if isinstance(file, LocalFile):
        return checksums.sha256(file.path)
    return context.sha256(file) if isinstance(file, HubFile) else file.sha256


def _hashes(candidate: Candidate) -> dict[str, str]:
    """Return the SHA-256 of each file that holds these weights, or its first digits, with a remark on the figures."""
    found = dict.fromkeys(_table().get(candidate.name, ()), CONVERTED)
    if file := candidate.file:
        found |= {downloads.cached_sha256(replace(file, names=(name,))): "" for name in file.names}
    found[candidate.sha256] = ""
    return {digits: remark for digits, remark in found.items() if digits}


@cache
def _table() -> dict[str, list[str]]:
    """Read known_weights.csv: the files that were made from the checkpoint of a tag, by that tag."""
    found: dict[str, list[str]] = {}
    with Path(__file__).with_name("known_weights.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["tag"], []).append(row["sha256"])
    return found
