"""Where a weight file lies: in a Hub repository, at an address, or on this machine."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse


@dataclass(frozen=True)
class HubFile:
    """A file in a Hub repository; the first of `names` that is there counts.

    The first of `beside` is of use only together with it: where both are on this machine, neither is
    replaced by a newer commit's before both are there.
    """

    repo: str
    names: tuple[str, ...]
    revision: str | None = None
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.repo}/{self.names[0]}"


@dataclass(frozen=True)
class UrlFile:
    """A file at an address, kept at `path`; its SHA-256 starts with `sha256`."""

    url: str
    path: Path
    sha256: str = ""

    def __str__(self) -> str:
        return os.path.basename(urlparse(self.url).path)


@dataclass(frozen=True)
class LocalFile:
    """A file that is on this machine already."""

    path: Path

    def __str__(self) -> str:
        return self.path.name


Weights = HubFile | UrlFile | LocalFile


def torch_hub_file(url: str, torch_hub: str) -> UrlFile:
    """Name a file by its address, kept where torch.hub keeps it, checked by the hash in its name."""
    name = os.path.basename(urlparse(url).path)
    return UrlFile(url, Path(torch_hub) / "checkpoints" / name, sha256_in_name(url))


def sha256_in_name(url: str) -> str:
    """Return the first digits of a file's SHA-256 as its name states them: ``resnet18-f37072fd.pth``; empty if not."""
    digits = re.search(r"-([a-f0-9]{8,})\.", os.path.basename(urlparse(url).path))
    return digits[1] if digits else ""
