"""Parses backbone specs, such as ``hf-hub:owner/repo@revision``."""

import re
from typing import NamedTuple

from lineup.config.hub_address import A_REPOSITORY, HOSTS, parse_address
from lineup.config.lineup_address import parse_lineup

_ALIASES = {"hf_hub": "hf-hub", "hf": "hf-hub", "huggingface": "hf-hub", "local_dir": "local-dir"}
_WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pth.tar", ".bin", ".ckpt", ".onnx", ".h5", ".npz", ".pkl")
# a member of torchvision's enums; timm's tags are in lower case
_MEMBER = r"(?:(\w+)_Weights\.)?(IMAGENET1K_\w+|DEFAULT)"


class Spec(NamedTuple):
    """A parsed ``backbone:`` value."""

    source: str  # timm, torchvision, hf-hub, local-dir, lineup, or a source added by a fork
    target: str  # the model name, repository or path within the source
    revision: str | None = None  # member of a torchvision weights enum, or revision of a Hub repository

    def __str__(self) -> str:
        """Return the value that is parsed to this, in its usual form."""
        scheme = {"timm": "", "torchvision": "torchvision/"}.get(self.source, f"{self.source}:")
        return f"{scheme}{self.target}" + (f"@{self.revision}" if self.revision else "")


def parse_spec(text: str) -> Spec:
    """Parse a ``backbone:`` value, checking its syntax only.

    Raises:
        ValueError: when the value matches no source's syntax; the message names the closest valid forms.
    """
    stripped = text.strip()
    if re.match(r"https?://", stripped) or stripped.startswith(tuple(f"{host}/" for host in HOSTS)):
        return Spec("hf-hub", *parse_address(stripped))
    if code := re.match(r"(?:timm\.)?create_model\(['\"]([^'\"]+)|(?:torchvision\.)?models\.(\w+)\(", stripped):
        name = code[1] or f"torchvision/{code[2]}"
        raise ValueError(f"expected a name, not Python code; got {text!r}; write {name}")
    scheme, colon, rest = stripped.partition(":")
    if colon and len(scheme) > 1:
        return _of_source(scheme, rest.strip(), text)
    if found := re.fullmatch(r"(?:torchvision\.)?models\.(\w+)(?:@(.+))?", stripped):
        return _of_torchvision(found[1], found[2], text)
    stripped = re.sub(r"^(torchvision\.)?models\.(?=\w+_Weights\.)", "", stripped)
    if stripped.startswith("torchvision/"):
        name, at, member = stripped.removeprefix("torchvision/").rstrip("/").partition("@")
        return _of_torchvision(name, member if at else None, text)
    if found := re.fullmatch(rf"(\w+)(?:@{_MEMBER}|\.(?=[A-Z]){_MEMBER})", stripped, re.ASCII | re.IGNORECASE):
        enum, member = found[2] or found[4], found[3] or found[5]
        if re.search("_weights$", found[1], re.IGNORECASE):  # ResNet50_Weights.IMAGENET1K_V2
            return _of_torchvision(found[1].rpartition("_")[0], member, text)
        return _of_torchvision(found[1], f"{enum}_Weights.{member}" if enum else member, text)
    # .pt is also a tag of timm's: beit3_base_patch16_224.pt
    if stripped.lower().endswith(_WEIGHT_SUFFIXES) or re.search(r"([/\\].*|^best|^last)\.pt$", stripped):
        raise ValueError(
            f"expected the name of a backbone; got {text!r}, a file of weights; "
            f"write its architecture, such as resnet18, and `checkpoint: {stripped}`"
        )
    if "/" in stripped or "\\" in stripped:
        return _of_path(stripped, text)
    if not re.fullmatch(r"[\w.-]+", stripped):
        name, at, _ = stripped.partition("@")
        tag = f"; write {name}.tag for a tag of timm, or torchvision/{name}@WEIGHTS" if name and at else ""
        raise ValueError(f"expected the name of a backbone, such as resnet18; got {text!r}{tag}")
    return Spec("timm", stripped)


def _of_source(scheme: str, rest: str, text: str) -> Spec:
    """Parse the part after ``scheme:``."""
    source = _ALIASES.get(scheme.lower(), scheme.lower() if scheme.lower() in _ALIASES.values() else scheme)
    if not re.fullmatch(r"[a-z][a-z0-9-]+", source) or not rest:
        raise ValueError(f"expected source:name, such as hf-hub:owner/repo or local-dir:path; got {text!r}")
    if source == "checkpoint":
        raise ValueError(
            f"expected the name of a backbone; got {text!r}; "
            f"write its architecture, such as resnet18, and the key `checkpoint: {rest}`"
        )
    if source == "untrained":
        raise ValueError(f"expected the name of a backbone; got {text!r}; write {rest}, and `pretrained: false`")
    if source == "file":
        raise ValueError(f"expected source:name; got {text!r}; write local-dir:{re.sub('^/{2,}', '/', rest)}")
    if source in ("timm", "torchvision"):
        inner = parse_spec(rest if source == "timm" else f"torchvision/{rest.removeprefix('torchvision/')}")
        if inner.source != source:
            raise ValueError(f"expected a name of {source} after {scheme}:; got {text!r}; write {inner}")
        return inner
    if source == "lineup":
        return Spec(source, str(parse_lineup(rest)))
    if source == "local-dir":
        return Spec(source, rest.replace("\\", "/"))
    if source != "hf-hub":
        return Spec(source, rest)
    rest = rest.strip("/")
    if (match := re.fullmatch(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", rest)) or "@" in rest:
        if not match:
            raise ValueError(f"{A_REPOSITORY}{text!r}")
        return Spec(source, match[1], match[2])
    if rest.count("/") < 2:
        owned = f"; write {rest} for timm's own weights of this name" if re.fullmatch(r"[\w.-]+", rest) else ""
        raise ValueError(f"{A_REPOSITORY}{text!r}{owned}")
    return Spec(source, *parse_address(rest))


def _of_torchvision(name: str, member: str | None, text: str) -> Spec:
    """Parse a model of torchvision and the member of its enum, whose name may stand before it."""
    if not re.fullmatch(r"\w+", name) or (member is not None and not re.fullmatch(r"(\w+\.)?\w+", member)):
        raise ValueError(f"expected torchvision/name or torchvision/name@WEIGHTS; got {text!r}")
    enum, _, chosen = (member or "").rpartition(".")
    name, of_enum = name.lower(), re.sub("_weights$", "", enum.lower())
    if of_enum not in ("", name):
        raise ValueError(
            f"expected weights of {name}; got {enum}, those of {of_enum}, in {text!r}; "
            f"write torchvision/{of_enum}@{chosen.upper()}, or torchvision/{name} for the default ones"
        )
    return Spec("torchvision", name, chosen.upper() or None)


def _of_path(stripped: str, text: str) -> Spec:
    """Parse a value with a slash: a repository of timm; others are ambiguous, or need a source in front."""
    path = stripped.replace("\\", "/")
    if name := re.fullmatch(r"timm/([\w.-]+)/?", path):
        return Spec("timm", name[1])
    if name := re.fullmatch(r"timm/([\w.-]+)@([\w./-]+)", path):
        return Spec("hf-hub", f"timm/{name[1]}", name[2])
    if re.fullmatch(r"[\w.-]*[\w-]/[\w.-]+(@[\w./-]+)?/?", stripped):
        remedy = f"hf-hub:{stripped.rstrip('/')} for a Hub repository or local-dir:{path} for a folder"
    else:
        remedy = f"local-dir:{path} for a folder"
    raise ValueError(f"expected a name with its source; got {text!r}; write {remedy}")
