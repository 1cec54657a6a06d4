"""timm's backbones: by name, from a Hub repository, or from a folder in timm's format."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import timm
from timm.data import create_transform, resolve_data_config
from timm.models import get_pretrained_cfg
from timm.models._hub import load_model_config_from_path  # timm.models does not pass these two on
from timm.models._input import get_model_args
from torch import nn
from torch.hub import get_dir

from lineup.config import Entry
from lineup.errors import BackboneError, did_you_mean
from lineup.hub import files
from lineup.registry import checkpoint, known_weights, labels, published, wordnet
from lineup.registry.checkpoint import Architecture, blank, count
from lineup.registry.known_weights import Candidate
from lineup.registry.labels import LabelSet
from lineup.registry.plan import Context, Plan, Transform, chosen_labels, given_labels, spell

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def pretrained(entry: Entry, context: Context) -> Plan:
    """Plan a backbone that timm has weights for: ``resnet18``, ``resnet18.a1_in1k``."""
    name = entry.spec.target
    cfg = _config(name)
    if not timm.models.is_model_pretrained(name):
        raise BackboneError(
            "",
            "a backbone with weights",
            f"timm publishes none for {name!r}",
            "add `checkpoint: file`, or `pretrained: false` for random weights",
        )
    full_name, sizes = _full_name(cfg), _size_arguments(entry, cfg)

    def make(path: Path | None) -> nn.Module:
        # timm's own loading code, given the file that was fetched under our deadline
        return timm.create_model(full_name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **sizes)

    create = partial(timm.create_model, full_name, **sizes)
    return _plan(entry, context, cfg, full_name, create, _where(cfg), make, full_name)


def from_folder(entry: Entry, context: Context) -> Plan:
    """Plan a backbone that lies in a folder: config.json and model.safetensors, as timm saves them."""
    folder = context.folder / entry.spec.target
    if not os.path.isdir(folder):
        raise BackboneError("", "a folder", f"{folder} is not there", "paths start at the config's folder")
    # in the order in which timm looks for them
    patterns = (*WEIGHT_FILES, "pytorch_model.pth", "model.pth", "*.safetensors", "*.pth", "*.pth.tar", "*.bin")
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    if not found:
        raise BackboneError("", f"weights in {folder}", "there are none", "add model.safetensors")
    return _from_folder(entry, context, folder, files.LocalFile(found[0]), entry.backbone)


def from_hub(entry: Entry, context: Context) -> Plan:
    """Plan a backbone that lies in a Hub repository in timm's format: ``hf-hub:owner/repo@revision``."""
    repo, revision = entry.spec.target, entry.spec.revision
    config = context.fetch(files.HubFile(repo, ("config.json",), revision, companions=WEIGHT_FILES))
    # The cache keeps one folder per commit, so config and weights meet there, and stay of one commit.
    commit = config.parent.name
    file = files.HubFile(repo, WEIGHT_FILES, commit)
    return _from_folder(entry, context, config.parent, file, f"hf-hub:{repo}@{commit}")


def architecture(entry: Entry) -> Architecture:
    """Return one of timm's architectures, for weights of the user's own."""
    cfg = _config(entry.spec.target)
    head = cfg["classifier"] or ""
    return Architecture(
        name=cfg["architecture"],
        published=_full_name(cfg),
        num_classes=cfg["num_classes"],
        head=head if isinstance(head, str) else head[0],
        transform=_transform(entry, cfg),
        create=partial(timm.create_model, cfg["architecture"], pretrained=False, **_size_arguments(entry, cfg)),
        recipe=partial(_recipe, entry, cfg, cfg["architecture"]),
        candidates=partial(_candidates, entry, cfg, cfg["architecture"]),
    )


def _from_folder(entry: Entry, context: Context, folder: Path, file: files.Weights, name: str) -> Plan:
    cfg, architecture, arguments = _read_config(folder)
    full_name, sizes = _full_name({**cfg, "architecture": architecture}), _size_arguments(entry, cfg)
    arguments |= {"num_classes": cfg.get("num_classes"), **sizes}
    create = partial(timm.create_model, architecture, **arguments)

    def make(path: Path | None) -> nn.Module:
        return timm.create_model(f"local-dir:{folder}", pretrained=True, **sizes)

    return _plan(entry, context, cfg, full_name, create, file, make, name)


def _plan(
    entry: Entry,
    context: Context,
    cfg: Mapping[str, Any],
    full_name: str,
    create: partial[nn.Module],
    file: files.Weights,
    make: Callable[[Path | None], nn.Module],
    name: str,
) -> Plan:
    """Plan what a pretrained config describes; `name` is what timm.create_model calls it."""
    num_classes, transform = _num_classes(cfg, full_name), _transform(entry, cfg)
    found = wordnet.for_tag(cfg.get("tag") or "", num_classes)
    if cfg.get("label_names"):
        origin = f"label_names of {entry.spec.target}"
        found = labels.from_hub(cfg["label_names"], cfg.get("label_descriptions"), wordnet.wordnet(), origin)
    _refuse_embedding(full_name, num_classes, found)
    network = blank(create)
    checkpoint.dry_run(network, entry, transform)
    if isinstance(file, files.LocalFile):
        checkpoint.fit(checkpoint.shapes(file.path), network, full_name.partition(".")[0])
    figures, facts_note = _figures(entry, context, cfg, full_name, network, file)
    return Plan(
        name=entry.name,
        source=entry.source,
        architecture=full_name,
        parameters=count(network),
        labels=chosen_labels(given_labels(entry, context), found, num_classes),
        transform=transform,
        weights=file,
        make=make,
        license=str(cfg.get("license") or ""),
        notes=(str(cfg["description"]),) if cfg.get("description") else (),
        facts=figures,
        facts_note=facts_note,
        recipe=_recipe(entry, cfg, name, pretrained=True),
        fingerprint=repr((create.args, create.keywords, sorted(cfg.items()))),
    )


def _figures(
    entry: Entry, context: Context, cfg: Mapping[str, Any], full_name: str, network: nn.Module, file: files.Weights
) -> tuple[Mapping[str, float], str]:
    """Return what is published of a plan's weights, and a remark on it.

    What comes by a name of timm's is verified while it is fetched, so the name decides. Any other config.json may have
    been edited, and any other file replaced: transform and network are compared, and the file's hash decides, except
    in timm's own repository as it is now.
    """
    if entry.source == "timm":
        known = _prepares(cfg, entry) == _prepares(cfg) and known_weights.verified(file)
        return (published.published(full_name, _size(_data_config(entry, cfg))) if known else {}), ""
    architecture, num_classes = full_name.partition(".")[0], cfg["num_classes"]
    candidates = _candidates(entry, cfg, architecture, num_classes)
    if candidates:
        usual = partial(timm.create_model, architecture, num_classes=num_classes, **_size_arguments(entry, cfg))
        if get_model_args(network) != get_model_args(blank(usual)):
            return {}, ""  # another pooling, say: the same weights give other answers
    if entry.spec[:2] == ("hf-hub", f"timm/{full_name}") and entry.spec.revision in (None, "main"):
        return next((each.figures for each in candidates if each.name == full_name), {}), ""
    return known_weights.figures(file, context, candidates)


def _candidates(entry: Entry, cfg: Mapping[str, Any], architecture: str, num_classes: int) -> list[Candidate]:
    """Return the published weights of an architecture that have figures, as many classes, and the same transform."""
    size, found = _size(_data_config(entry, cfg)), []
    for full_name in timm.list_pretrained(f"{architecture}.*"):
        theirs, figures = asdict(get_pretrained_cfg(full_name)), published.published(full_name, size)
        if figures and theirs["num_classes"] == num_classes and _prepares(theirs) == _prepares(cfg, entry):
            where = _where(theirs)
            hub_file = where if isinstance(where, files.HubFile) else None
            found.append(Candidate(full_name, figures, files.sha256_in_name(theirs["url"] or ""), hub_file))
    return found


def _prepares(cfg: Mapping[str, Any], entry: Entry | None = None) -> dict[str, Any]:
    """Return what decides the transform, but for the size: figures are by size anyway."""
    data = _data_config(entry, cfg) if entry else resolve_data_config({}, pretrained_cfg=dict(cfg))
    return {key: tuple(said) if isinstance(said, list) else said for key, said in data.items() if key != "input_size"}


def _config(name: str) -> dict[str, Any]:
    """Return timm's pretrained config of a name with or without a tag."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        hint = did_you_mean(architecture, timm.list_models()) or "timm.list_models() has all names"
        raise BackboneError("", "a name that timm knows", f"got {name!r}", hint)
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        hint = did_you_mean(tag, tags) or f"it has: {', '.join(tags) or 'none'}"
        raise BackboneError("", f"a pretrained tag of {architecture}", f"got {tag!r}", hint)
    return {**asdict(get_pretrained_cfg(name)), "architecture": architecture}


def _full_name(cfg: Mapping[str, Any]) -> str:
    return f"{cfg['architecture']}.{cfg['tag']}" if cfg.get("tag") else str(cfg["architecture"])


def _num_classes(cfg: Mapping[str, Any], name: str) -> int:
    num_classes = cfg.get("num_classes")
    if isinstance(num_classes, str):
        raise BackboneError("", "a whole number for num_classes in config.json", f"got {num_classes!r}", "mend it")
    if not isinstance(num_classes, int) or num_classes <= 0:
        raise BackboneError(
            "",
            "a backbone that classifies",
            "it gives only features and has no classification head",
            "choose one that was trained on classes (timm's tags that end in in1k were)",
        )
    return num_classes


def _refuse_embedding(name: str, num_classes: int, found: LabelSet | None) -> None:
    # Contrastive models (CLIP and its kin) state their embedding's width as num_classes. Widths are
    # multiples of 64; the published class sets without names here (19,168 and 115,217) are not. Weights
    # of somebody's own may have any number of classes, so they have to be the published ones.
    published = get_pretrained_cfg(name) if name in timm.list_pretrained(name) else None
    if found is None and num_classes % 64 == 0 and published and published.num_classes == num_classes:
        raise BackboneError(
            "",
            "a backbone that classifies",
            f"its output is an embedding of {num_classes} numbers, not classes",
            "choose one that was fine-tuned on classes (its tag has _ft_in1k)",
        )


def _read_config(folder: Path) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Read a config.json in timm's format: pretrained config, architecture, arguments."""
    try:
        cfg, architecture, arguments = load_model_config_from_path(folder)
    except FileNotFoundError:
        raise BackboneError(
            "", f"{folder / 'config.json'}", "it is not there", "timm's save_for_hf writes it"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BackboneError("", f"JSON in {folder / 'config.json'}", f"got {error}", "save it again") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise BackboneError(
            "", f"timm's format in {folder / 'config.json'}", f"{error} is missing or wrong", "save_for_hf writes it"
        ) from None
    if not timm.is_model(architecture):
        hint = did_you_mean(str(architecture), timm.list_models()) or "a newer timm may know it"
        raise BackboneError("", "an architecture of timm in config.json", f"got {architecture!r}", hint)
    return cfg, architecture, dict(arguments or {})


def _where(cfg: Mapping[str, Any]) -> files.Weights:
    if cfg["hf_hub_id"]:
        names = (cfg["hf_hub_filename"],) if cfg["hf_hub_filename"] else WEIGHT_FILES
        repo, _, revision = cfg["hf_hub_id"].partition("@")
        return files.HubFile(repo, names, revision or None)
    return files.torch_hub_file(cfg["url"], get_dir())


def _data_config(entry: Entry, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the checkpoint's own transform is made of, with what the entry says instead."""
    said = {
        "input_size": (3, *entry.input_size) if entry.input_size else None,
        "mean": entry.mean,
        "std": entry.std,
        "crop_pct": entry.crop_pct,
        "interpolation": entry.interpolation,
    }
    return resolve_data_config(said, pretrained_cfg=dict(cfg))


def _size(data: Mapping[str, Any]) -> tuple[int, int]:
    _, height, width = data["input_size"]
    return height, width


def _transform(entry: Entry, cfg: Mapping[str, Any]) -> Transform:
    data = _data_config(entry, cfg)
    channels, height, width = data["input_size"]
    if channels != 3:
        raise BackboneError("", "a backbone for RGB images", f"it takes {channels} channels", "choose another one")
    steps, resize_px = create_transform(**data), int(max(height, width) / data["crop_pct"])
    return Transform(steps, (height, width), tuple(data["mean"]), tuple(data["std"]), repr(data), resize_px)


def _size_arguments(entry: Entry, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an architecture of fixed size must be told when the entry wants another one."""
    return {"img_size": entry.input_size} if entry.input_size and cfg.get("fixed_input_size") else {}


def _recipe(entry: Entry, cfg: Mapping[str, Any], name: str, **arguments: Any) -> str:
    network = spell("timm.create_model", name, **arguments, **_size_arguments(entry, cfg))
    transform = spell("timm.data.create_transform", **_data_config(entry, cfg))
    note = "  # a relative path starts at the config's folder" if name.startswith("local-dir:") else ""
    return f"import timm\n\nnetwork = {network}.eval(){note}\ntransform = {transform}\n"
