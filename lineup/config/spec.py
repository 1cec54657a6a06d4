"""The short names that say which backbone is meant and where it comes from."""

import re
from typing import NamedTuple


class Spec(NamedTuple):
    """What a ``backbone:`` value names, taken apart."""

    source: str  # timm, torchvision, hf-hub, local-dir, or the name of a source that a fork adds
    target: str  # the name, repository or path inside that source
    revision: str | None = None  # a weights enum of torchvision, a revision of a Hub repository


def parse_spec(text: str) -> Spec:
    """Take a ``backbone:`` value apart, by form alone.

    Raises:
        ValueError: when the form fits no source, with the forms that come nearest.
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
            f"expected a name that says where it comes from; got {text!r}; write {plain}"
            f"hf-hub:{text} for a Hub repository or local-dir:{text} for a folder"
        )
    if not re.fullmatch(r"[\w.-]+", text):
        raise ValueError(f"expected the name of a backbone, such as resnet18; got {text!r}")
    return Spec("timm", text)
