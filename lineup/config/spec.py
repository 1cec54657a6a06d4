"""Parses backbone specs, such as ``hf-hub:owner/repo@revision``."""

import re
from typing import NamedTuple


class Spec(NamedTuple):
    """A parsed ``backbone:`` value."""

    source: str  # timm, torchvision, hf-hub, local-dir, or a source added by a fork
    target: str  # the model name, repository or path within the source
    revision: str | None = None  # member of a torchvision weights enum, or revision of a Hub repository


def parse_spec(text: str) -> Spec:
    """Parse a ``backbone:`` value, checking its syntax only.

    Raises:
        ValueError: when the value matches no source's syntax; the message names the closest valid forms.
    """
    scheme, colon, rest = text.partition(":")
    if colon:
        if not re.fullmatch(r"[a-z][a-z0-9-]+", scheme) or not rest or rest != rest.strip():
            raise ValueError(f"expected source:name, such as hf-hub:owner/repo or local-dir:path; got {text!r}")
        if scheme in ("timm", "torchvision", "checkpoint", "untrained"):
            name = f"torchvision/{rest}" if scheme == "torchvision" else rest
            raise ValueError(f"expected {name}, without {scheme}: in front; got {text!r}")
        if scheme != "hf-hub":
            return Spec(scheme, rest)
        match = re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", rest)
        if not match:
            raise ValueError(f"expected hf-hub:owner/repo or hf-hub:owner/repo@revision; got {text!r}")
        return Spec("hf-hub", match[1], match[2])
    if text.startswith("torchvision/"):
        match = re.fullmatch(r"torchvision/(\w+)(?:@(\w+))?", text)
        if not match:
            raise ValueError(f"expected torchvision/name or torchvision/name@WEIGHTS; got {text!r}")
        return Spec("torchvision", match[1], match[2])
    if "/" in text or "\\" in text:
        plain = f"{text.removeprefix('timm/')} for timm's own weights, " if text.startswith("timm/") else ""
        raise ValueError(
            f"expected a name with its source; got {text!r}; write {plain}"
            f"hf-hub:{text} for a Hub repository or local-dir:{text} for a folder"
        )
    if not re.fullmatch(r"[\w.-]+", text):
        raise ValueError(f"expected the name of a backbone, such as resnet18; got {text!r}")
    return Spec("timm", text)
