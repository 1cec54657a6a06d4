"""The Space's card: the front matter of README.md, derived from the config.

The Hub reads it to show the Space, to install gradio and Python, and to fetch weights while it builds. The
app itself never reads it: a stale one costs a slower first start, and nothing else.
"""

import re
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import yaml
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled

from lineup.config import Config
from lineup.hub.files import HubFile, Weights

CONSTRAINTS = Path(__file__).parents[3] / "constraints.txt"
PYTHON = "3.12"  # ZeroGPU has this one and 3.10
MAX_DESCRIPTION = 60  # characters; the Hub refuses more
DERIVED = (
    *("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file"),
    *("short_description", "license", "tags", "suggested_hardware", "models", "preload_from_hub"),
)
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in the order in which timm looks for them
_FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_STUB = (
    "\n# {title}\n\n{description}\n\nAll of this page comes from `config.yaml`: edit it, and the Space is built anew.\n"
)

WeightsOf = Callable[[str], Weights | None]  # where the weights of an entry lie, by its name


def text(config: Config, weights: WeightsOf, readme: Path, ask: bool = False) -> str:
    """Return README.md as it should be: the derived front matter, then the body that is there.

    Args:
        config: what to derive it from.
        weights: where the weights of an entry lie, by its name.
        readme: the file that may be there; keys that are not derived stay, and so does the body.
        ask: ask the Hub which files it would give anybody; if not, what was written before is believed.
    """
    before = readme.read_text(encoding="utf-8-sig") if readme.is_file() else ""
    old, body = _split(before)
    front = _front(config, weights, old, ask)
    if before and not _differing(front, old):
        return before
    others = {key: value for key, value in old.items() if key not in DERIVED}
    dumped = yaml.safe_dump({**front, **others}, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{dumped}---\n" + (body if before else _stub(config))


def stale(config: Config, weights: WeightsOf, readme: Path) -> list[str]:
    """Return the keys in which a README's front matter is not what the config gives; asks nobody."""
    old, _ = _split(readme.read_text(encoding="utf-8-sig"))
    return _differing(_front(config, weights, old, ask=False), old)


def _differing(front: dict[str, Any], old: dict[str, Any]) -> list[str]:
    return [key for key in DERIVED if front.get(key) != old.get(key)]


def _split(readme: str) -> tuple[dict[str, Any], str]:
    """Take a README apart: what its front matter says, and its body."""
    found = _FRONT.match(readme)
    if not found:
        return {}, readme
    try:
        front = yaml.safe_load(found[1])
    except yaml.YAMLError:  # nobody could read it
        front = None
    return front if isinstance(front, dict) else {}, readme[found.end() :]


def _stub(config: Config) -> str:
    return re.sub("\n{3,}", "\n\n", _STUB.format(title=config.title, description=config.description))


def _front(config: Config, weights: WeightsOf, old: dict[str, Any], ask: bool) -> dict[str, Any]:
    space, files = config.space, list(files_of(config, weights))
    front = {
        "title": config.title or "Lineup",
        "emoji": space.emoji,
        "colorFrom": space.color_from,
        "colorTo": space.color_to,
        "sdk": "gradio",
        "sdk_version": _gradio(old),
        "python_version": PYTHON,
        "app_file": "app.py",
        "short_description": space.short_description or _description(config),
        "license": space.license,
        "tags": _tags(config),
        "suggested_hardware": space.hardware,
        "models": list(dict.fromkeys(file.repo for file in files)),
        "preload_from_hub": _preload(files, old, ask),
    }
    return {key: value for key, value in front.items() if value != []}


def _gradio(old: dict[str, Any]) -> str:
    """Return the gradio that was tested; a clone of a Space has no constraints, and keeps what it says."""
    if CONSTRAINTS.is_file() and (found := re.search(r"^gradio==(\S+)", CONSTRAINTS.read_text(), re.MULTILINE)):
        return found[1]
    return str(old.get("sdk_version") or version("gradio"))


def _description(config: Config) -> str:
    count, said = len(config.backbones), " ".join(config.description.split())
    made = f"{count} backbones, side by side" if count > 1 else config.default_name
    choices = (said, f"Classify images with {made}", "Classify images with one backbone")
    return next(each for each in choices if 0 < len(each) <= MAX_DESCRIPTION)


def _tags(config: Config) -> list[str]:
    sources = {entry.spec.source for entry in config.backbones}
    libraries = {"timm": sources & {"timm", "hf-hub", "local-dir"}, "torchvision": sources & {"torchvision"}}
    return ["image-classification", *(name for name, used in libraries.items() if used), "mcp-server"]


class _Files(NamedTuple):
    """What an entry loads from a repository: all of `whole`, and the first of `either` that is there."""

    repo: str
    revision: str
    whole: tuple[str, ...]
    either: tuple[str, ...]


def files_of(config: Config, weights: WeightsOf) -> Iterator[_Files]:
    """Yield what the line-up loads from the Hub, entry by entry."""
    for entry in config.backbones:
        if entry.source == "hf-hub":
            yield _Files(entry.spec.target, entry.spec.revision or "main", ("config.json",), _WEIGHTS)
        elif entry.source == "timm" and isinstance(file := weights(entry.name), HubFile):
            yield _Files(file.repo, file.revision or "main", (), file.names)


def _preload(files: list[_Files], old: dict[str, Any], ask: bool) -> list[str]:
    """Return what the Hub should fetch while it builds: ``repository file,file revision``."""
    rows = []
    for each in files:
        names = None
        if ask:
            try:
                names = _published(each)
            except (HfHubHTTPError, OfflineModeIsEnabled, httpx2.HTTPError, OSError):
                ask = False  # it would not answer for the others either
        if names := _believed(each, old) if names is None else names:
            rows.append(f"{each.repo} {','.join(names)} {each.revision}")
    return list(dict.fromkeys(rows))


def _published(files: _Files) -> tuple[str, ...]:
    """Ask the Hub which files it gives to anybody: a build has no token, and fails for one that is not there."""
    api = HfApi(token=False)
    try:
        for name in files.either:
            wanted = (*files.whole, name)
            if all(api.file_exists(files.repo, each, revision=files.revision) for each in reversed(wanted)):
                return wanted
    except GatedRepoError:
        pass
    return ()


def _believed(files: _Files, old: dict[str, Any]) -> tuple[str, ...]:
    """Say what is known without asking: what was found before, or else what timm's own repositories have."""
    if files.repo in (old.get("models") or []):
        rows = [str(row).split() for row in old.get("preload_from_hub") or []]
        return next((tuple(row[1].split(",")) for row in rows if len(row) > 1 and row[0] == files.repo), ())
    return () if files.whole else files.either[:1]
