"""The Space card: the YAML front matter of README.md, derived from the config.

The Hub reads it to present the Space, to install gradio and Python, and to preload weights during the build.
The app never reads it: stale front matter only makes the first start slower.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import yaml
from huggingface_hub import CardData, HfApi, RepoCard
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from lineup.config import Config
from lineup.hub.files import HubFile, Weights

CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"
PYTHON = "3.12"  # ZeroGPU supports this one and 3.10
MAX_DESCRIPTION = 60  # characters; the limit of the Hub
DERIVED = (
    *("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file"),
    *("short_description", "license", "tags", "suggested_hardware", "models", "preload_from_hub"),
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in the order in which timm tries them
_STUB = "\n# {title}\n\n{description}\n\nThis page is configured by `config.yaml`: edit it, and the Space is rebuilt.\n"

WeightsOf = Callable[[str], Weights | None]  # the location of an entry's weights, by its name


def text(config: Config, weights: WeightsOf, readme: Path, query_hub: bool = False) -> str:
    """Return the updated content of README.md: the derived front matter and the existing body.

    Args:
        config: the config to derive it from.
        weights: returns the location of an entry's weights, by its name.
        readme: the file, which may not exist; its body and the keys that are not derived are preserved.
        query_hub: ask the Hub which files are public; otherwise reuse what the front matter lists.
    """
    current = _read(readme) if readme.is_file() else ""
    card = _card(current)
    front = _front(config, weights, card.data, query_hub)
    if current and not _differing(front, card.data):
        return current
    others = {key: value for key, value in card.data.to_dict().items() if key not in DERIVED}
    card.data = CardData(**front, **others)
    card.text = card.text if current else _stub(config)
    return str(card)


def stale(config: Config, weights: WeightsOf, readme: Path) -> list[str]:
    """Return the keys whose value in README.md differs from the derived one; sends no requests."""
    old = _card(_read(readme)).data
    return _differing(_front(config, weights, old, query_hub=False), old)


def _differing(front: dict[str, Any], old: CardData) -> list[str]:
    return [key for key in DERIVED if front.get(key) != old.get(key)]


def _read(readme: Path) -> str:
    return readme.read_bytes().decode("utf-8-sig")  # as it is: `read_text` would translate CRLF


def _card(readme: str) -> RepoCard:
    """Parse a README; front matter that is missing or invalid is read as empty, and the body preserved."""
    if REGEX_YAML_BLOCK.search(readme):
        with suppress(yaml.YAMLError, ValueError, TypeError):  # the last: keys that are not text
            return RepoCard(readme)
    return RepoCard("---\n\n---\n" + REGEX_YAML_BLOCK.sub("", readme, count=1))


def _stub(config: Config) -> str:
    return re.sub("\n{3,}", "\n\n", _STUB.format(title=config.title, description=config.description))


def _front(config: Config, weights: WeightsOf, old: CardData, query_hub: bool) -> dict[str, Any]:
    space, files = config.space, list(files_of(config, weights))
    front = {
        "title": config.title or "Lineup",
        "emoji": space.emoji,
        "colorFrom": space.color_from,
        "colorTo": space.color_to,
        "sdk": "gradio",
        "sdk_version": _gradio_version(old),
        "python_version": PYTHON,
        "app_file": "app.py",
        "short_description": space.short_description or _description(config),
        "license": space.license,
        "tags": _tags(config),
        "suggested_hardware": space.hardware,
        "models": list(dict.fromkeys(file.repo for file in files)),
        "preload_from_hub": _preload(files, old, query_hub),
    }
    return {key: value for key, value in front.items() if value != []}


def _gradio_version(old: CardData) -> str:
    """Return the tested version of gradio; without constraints.txt, as in some clones, keep the old one."""
    if CONSTRAINTS.is_file() and (match := re.search(r"^gradio==(\S+)", CONSTRAINTS.read_text(), re.MULTILINE)):
        return match[1]
    return str(old.get("sdk_version") or version("gradio"))


def _description(config: Config) -> str:
    count, description = len(config.backbones), " ".join(config.description.split())
    subject = f"{count} backbones, side by side" if count > 1 else config.default_name
    candidates = (description, f"Classify images with {subject}", "Classify images with one backbone")
    return next(text for text in candidates if 0 < len(text) <= MAX_DESCRIPTION)


def _tags(config: Config) -> list[str]:
    sources = {entry.spec.source for entry in config.backbones}
    libraries = {"timm": sources & {"timm", "hf-hub", "local-dir"}, "torchvision": sources & {"torchvision"}}
    return ["image-classification", *(name for name, used in libraries.items() if used), "mcp-server"]


class _Files(NamedTuple):
    """The files that an entry loads from a repository: all of `required`, and the first existing one of `either`."""

    repo: str
    revision: str
    required: tuple[str, ...]
    either: tuple[str, ...]


def files_of(config: Config, weights: WeightsOf) -> Iterator[_Files]:
    """Yield the files that the line-up loads from the Hub, entry by entry."""
    for entry in config.backbones:
        if entry.source == "hf-hub":
            yield _Files(entry.spec.target, entry.spec.revision or "main", ("config.json",), _WEIGHTS)
        elif entry.source == "timm" and isinstance(file := weights(entry.name), HubFile):
            yield _Files(file.repo, file.revision or "main", (), file.names)


def _preload(files: list[_Files], old: CardData, query_hub: bool) -> list[str]:
    """Return the files to preload during the build, as rows ``repository file,file revision``."""
    rows = []
    for entry_files in files:
        names = None
        if query_hub:
            try:
                names = _public(entry_files)
            except (HfHubHTTPError, OfflineModeIsEnabled, httpx2.HTTPError, OSError):
                query_hub = False  # one failure is enough: do not wait for a timeout per entry
        if names := _assumed(entry_files, old) if names is None else names:
            rows.append(f"{entry_files.repo} {','.join(names)} {entry_files.revision}")
    return list(dict.fromkeys(rows))


def _public(files: _Files) -> tuple[str, ...]:
    """Query the Hub for the public files: a build has no token, and fails on a missing file."""
    api = HfApi(token=False)
    try:
        for name in files.either:
            names = (*files.required, name)
            if all(api.file_exists(files.repo, file, revision=files.revision) for file in reversed(names)):
                return names
    except GatedRepoError:
        pass
    return ()


def _assumed(files: _Files, old: CardData) -> tuple[str, ...]:
    """Return the files without a request: those listed before, or else those of timm's own repositories."""
    if files.repo in (old.get("models") or []):
        rows = [str(row).split() for row in old.get("preload_from_hub") or []]
        return next((tuple(row[1].split(",")) for row in rows if len(row) > 1 and row[0] == files.repo), ())
    return () if files.required else files.either[:1]
