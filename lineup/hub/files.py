"""References to weight files: in a Hub repository, at a URL, or local."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlparse


@dataclass(frozen=True)
class HubFile:
    """A file in a Hub repository.

    Attributes:
        names: alternatives in order of preference; the first that exists is used.
        companions: alternative names of a file that must be of the same commit, as weights and their config.json. If
            both are cached, a newer commit replaces them only when both are downloaded.
        repo_type: model or dataset.
    """

    repo: str
    names: tuple[str, ...]
    revision: str | None = None
    companions: tuple[str, ...] = ()
    repo_type: Literal["model", "dataset"] = "model"

    def __str__(self) -> str:
        return f"{self.repo}/{self.names[0]}"


@dataclass(frozen=True)
class UrlFile:
    """A file at a URL, cached at `path`; its SHA-256 starts with `sha256`, which may be empty."""

    url: str
    path: Path
    sha256: str = ""

    def __str__(self) -> str:
        return os.path.basename(urlparse(self.url).path)


@dataclass(frozen=True)
class LocalFile:
    """A local file."""

    path: Path

    def __str__(self) -> str:
        return self.path.name


Weights = HubFile | UrlFile | LocalFile


def torch_hub_file(url: str, torch_hub: str) -> UrlFile:
    """Return a file that is cached in torch.hub's folder, and verified by the hash in its name."""
    name = os.path.basename(urlparse(url).path)
    return UrlFile(url, Path(torch_hub) / "checkpoints" / name, sha256_in_name(url))


def sha256_in_name(url: str) -> str:
    """Return the prefix of a file's SHA-256 in its name, as in ``resnet18-f37072fd.pth``; empty if there is none."""
    digits = re.search(r"-([a-f0-9]{8,})\.", os.path.basename(urlparse(url).path))
    return digits[1] if digits else ""
