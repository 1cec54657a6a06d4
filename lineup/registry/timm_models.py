"""Backbones of timm: by name, from a Hub repository, or from a folder in timm's format."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import timm
from timm.data import create_transform, resolve_data_config
from timm.models import get_model_args, get_pretrained_cfg
from timm.models._hub import load_model_config_from_path  # not re-exported
from torch import nn
from torch.hub import get_dir

from lineup.config import Entry
from lineup.errors import BackboneError, did_you_mean
from lineup.hub import files
from lineup.registry import checkpoint, known_weights, labels, published, wordnet
from lineup.registry.checkpoint import Architecture
from lineup.registry.embedding import Embedding, TimmFeatures
from lineup.registry.known_weights import Candidate
from lineup.registry.labels import LabelSet
from lineup.registry.meta_device import check_input_size, count_parameters, on_meta_device
from lineup.registry.plan import Context, Plan, Transform, entry_labels, format_call, resolve_labels

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


def pretrained(entry: Entry, context: Context) -> Plan:
    """Plan a backbone with timm's own weights: ``resnet18``, ``resnet18.a1_in1k``."""
    name = entry.spec.target
    cfg = _pretrained_cfg(name)
    if not timm.models.is_model_pretrained(name):
        raise BackboneError(
            "",
            "a backbone with weights",
            f"timm publishes none for {name!r}",
            "add `checkpoint: file`, or `pretrained: false` for random weights",
        )
    full_name, sizes = _full_name(cfg), _size_arguments(entry, cfg)

    def make(path: Path | None) -> nn.Module:
        # timm's own loading code, with the file that was downloaded with our timeout
        return timm.create_model(full_name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **sizes)

    create = partial(timm.create_model, full_name, **sizes)
    return _plan(entry, context, cfg, full_name, create, _weights_file(cfg), make, full_name)


def from_folder(entry: Entry, context: Context) -> Plan:
    """Plan a backbone in a folder with config.json and model.safetensors, as saved by timm."""
    folder = context.folder / entry.spec.target
    if not os.path.isdir(folder):
        raise BackboneError("", "a folder", f"{folder} does not exist", "relative paths start at the config's folder")
    # in timm's order of preference
    patterns = (*WEIGHT_FILES, "pytorch_model.pth", "model.pth", "*.safetensors", "*.pth", "*.pth.tar", "*.bin")
    paths = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    if not paths:
        raise BackboneError("", f"weights in {folder}", "there are none", "add model.safetensors")
    return _from_folder(entry, context, folder, files.LocalFile(paths[0]), entry.backbone)


def from_hub(entry: Entry, context: Context) -> Plan:
    """Plan a backbone in a Hub repository in timm's format: ``hf-hub:owner/repo@revision``."""
    repo, revision = entry.spec.target, entry.spec.revision
    config = context.fetch(files.HubFile(repo, ("config.json",), revision, companions=WEIGHT_FILES))
    # The cache has one folder per commit: pinning the weights to the commit of config.json keeps the two consistent.
    commit = config.parent.name
    file = files.HubFile(repo, WEIGHT_FILES, commit)
    return _from_folder(entry, context, config.parent, file, f"hf-hub:{repo}@{commit}")


def architecture(entry: Entry) -> Architecture:
    """Return an architecture of timm, for the user's own weights."""
    cfg = _pretrained_cfg(entry.spec.target)
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
        features_of=TimmFeatures,
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
    """Plan the backbone of a pretrained config; `name` is the argument of timm.create_model."""
    num_classes, transform = _num_classes(cfg), _transform(entry, cfg)
    of_weights = wordnet.for_tag(cfg.get("tag") or "", num_classes)
    if cfg.get("label_names"):
        origin = f"label_names of {entry.spec.target}"
        of_weights = labels.from_hub(cfg["label_names"], cfg.get("label_descriptions"), wordnet.wordnet(), origin)
    classifies = num_classes > 0 and not _is_embedding(full_name, num_classes, of_weights)
    if not classifies and context.output == "classes":
        raise _not_a_classifier(num_classes)
    of_entry = entry_labels(entry, context)
    network = on_meta_device(create)
    check_input_size(network, entry, transform.input_size)
    if isinstance(file, files.LocalFile):
        checkpoint.check_shapes(checkpoint.shapes(file.path), network, full_name.partition(".")[0])
    figures, figures_note = _figures(entry, context, cfg, full_name, network, file)
    return Plan(
        name=entry.name,
        source=entry.source,
        architecture=full_name,
        parameters=count_parameters(network),
        labels=resolve_labels(of_entry, of_weights, num_classes) if classifies else labels.numbered(0),
        transform=transform,
        weights=file,
        make=make,
        license=str(cfg.get("license") or ""),
        notes=(str(cfg["description"]),) if cfg.get("description") else (),
        figures=figures,
        figures_note=figures_note,
        recipe=_recipe(entry, cfg, name, pretrained=True),
        fingerprint=repr((create.args, create.keywords, sorted(cfg.items()))),
        output="classes" if classifies else "features",
        # the output of a contrastive model is the embedding that its text encoder shares
        embedding=Embedding(create, transform.input_size, TimmFeatures if classifies else None),
    )


def _figures(
    entry: Entry, context: Context, cfg: Mapping[str, Any], full_name: str, network: nn.Module, file: files.Weights
) -> tuple[Mapping[str, float], str]:
    """Return the figures published for the weights of a plan, and a note.

    A download by timm's name is verified, so that the name is sufficient. Any other config.json may have been edited,
    and any other file replaced: transform and network are compared, and the hash of the file decides, except in timm's
    own repository at its current revision.
    """
    if entry.source == "timm":
        known = _transform_settings(cfg, entry) == _transform_settings(cfg) and known_weights.verified(file)
        return (published.published(full_name, _size(_data_config(entry, cfg))) if known else {}), ""
    architecture, num_classes = full_name.partition(".")[0], cfg["num_classes"]
    candidates = _candidates(entry, cfg, architecture, num_classes)
    if candidates:
        default = partial(timm.create_model, architecture, num_classes=num_classes, **_size_arguments(entry, cfg))
        if get_model_args(network) != get_model_args(on_meta_device(default)):
            return {}, ""  # with another pooling, for example, the same weights give other predictions
    if entry.spec[:2] == ("hf-hub", f"timm/{full_name}") and entry.spec.revision in (None, "main"):
        return next((known.figures for known in candidates if known.name == full_name), {}), ""
    return known_weights.figures(file, context, candidates)


def _candidates(entry: Entry, cfg: Mapping[str, Any], architecture: str, num_classes: int) -> list[Candidate]:
    """Return the published weights of an architecture with figures, this number of classes, and the same transform."""
    size, candidates = _size(_data_config(entry, cfg)), []
    for full_name in timm.list_pretrained(f"{architecture}.*"):
        published_cfg, figures = asdict(get_pretrained_cfg(full_name)), published.published(full_name, size)
        if (
            figures
            and published_cfg["num_classes"] == num_classes
            and _transform_settings(published_cfg) == _transform_settings(cfg, entry)
        ):
            file = _weights_file(published_cfg)
            hub_file = file if isinstance(file, files.HubFile) else None
            candidates.append(Candidate(full_name, figures, files.sha256_in_name(published_cfg["url"] or ""), hub_file))
    return candidates


def _transform_settings(cfg: Mapping[str, Any], entry: Entry | None = None) -> dict[str, Any]:
    """Return the settings of the transform without the size, which the figures depend on separately."""
    data = _data_config(entry, cfg) if entry else resolve_data_config({}, pretrained_cfg=dict(cfg))
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key != "input_size"
    }


def _pretrained_cfg(name: str) -> dict[str, Any]:
    """Return the pretrained config of a timm model name, with or without a tag."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        hint = did_you_mean(architecture, timm.list_models()) or "timm.list_models() lists all names"
        raise BackboneError("", "a model name of timm", f"got {name!r}", hint)
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        hint = did_you_mean(tag, tags) or f"it has: {', '.join(tags) or 'none'}"
        raise BackboneError("", f"a pretrained tag of {architecture}", f"got {tag!r}", hint)
    return {**asdict(get_pretrained_cfg(name)), "architecture": architecture}


def _full_name(cfg: Mapping[str, Any]) -> str:
    return f"{cfg['architecture']}.{cfg['tag']}" if cfg.get("tag") else str(cfg["architecture"])


def _num_classes(cfg: Mapping[str, Any]) -> int:
    """Return the number of outputs of the head; 0 if there is none."""
    num_classes = cfg.get("num_classes")
    if not isinstance(num_classes, int) or num_classes < 0:
        raise BackboneError("", "a whole number for num_classes in config.json", f"got {num_classes!r}", "fix it")
    return num_classes


def _is_embedding(name: str, num_classes: int, of_weights: LabelSet | None) -> bool:
    """Tell whether the outputs are an embedding, and not classes."""
    # Contrastive models such as CLIP state the embedding dimension as num_classes. Dimensions are multiples of 64; the
    # published class sets without names here (19,168 and 115,217) are not. A user's own weights may have any number of
    # classes, so that only published ones are embeddings.
    published = get_pretrained_cfg(name) if name in timm.list_pretrained(name) else None
    same = published is not None and published.num_classes == num_classes
    return same and of_weights is None and num_classes % 64 == 0


def _not_a_classifier(num_classes: int) -> BackboneError:
    if num_classes:
        got = f"its output is an embedding of {num_classes} numbers, not classes"
        remedy = "choose one fine-tuned for classification (with _ft_in1k in its tag)"
    else:
        got = "it has no classification head, and returns only features"
        remedy = "choose one trained for classification, such as one with a tag that ends in in1k"
    return BackboneError("", "a backbone that classifies", got, remedy)


def _read_config(folder: Path) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Read a config.json in timm's format: pretrained config, architecture, arguments."""
    try:
        cfg, architecture, arguments = load_model_config_from_path(folder)
    except FileNotFoundError:
        raise BackboneError(
            "", f"{folder / 'config.json'}", "it does not exist", "create it with timm's save_for_hf"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BackboneError("", f"JSON in {folder / 'config.json'}", f"got {error}", "save it again") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise BackboneError(
            "",
            f"timm's format in {folder / 'config.json'}",
            f"{error} is missing or invalid",
            "create it with timm's save_for_hf",
        ) from None
    if not timm.is_model(architecture):
        hint = did_you_mean(str(architecture), timm.list_models()) or "a newer version of timm may have it"
        raise BackboneError("", "an architecture of timm in config.json", f"got {architecture!r}", hint)
    return cfg, architecture, dict(arguments or {})


def _weights_file(cfg: Mapping[str, Any]) -> files.Weights:
    if cfg["hf_hub_id"]:
        names = (cfg["hf_hub_filename"],) if cfg["hf_hub_filename"] else WEIGHT_FILES
        repo, _, revision = cfg["hf_hub_id"].partition("@")
        return files.HubFile(repo, names, revision or None)
    return files.torch_hub_file(cfg["url"], get_dir())


def _data_config(entry: Entry, cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the checkpoint's transform, with the overrides of the entry."""
    overrides = {
        "input_size": (3, *entry.input_size) if entry.input_size else None,
        "mean": entry.mean,
        "std": entry.std,
        "crop_pct": entry.crop_pct,
        "interpolation": entry.interpolation,
    }
    return resolve_data_config(overrides, pretrained_cfg=dict(cfg))


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
    """Return the arguments that set the input size of an architecture with a fixed one."""
    return {"img_size": entry.input_size} if entry.input_size and cfg.get("fixed_input_size") else {}


def _recipe(entry: Entry, cfg: Mapping[str, Any], name: str, **arguments: Any) -> str:
    network = format_call("timm.create_model", name, **arguments, **_size_arguments(entry, cfg))
    transform = format_call("timm.data.create_transform", **_data_config(entry, cfg))
    note = "  # a relative path starts at the config's folder" if name.startswith("local-dir:") else ""
    return f"import timm\n\nnetwork = {network}.eval(){note}\ntransform = {transform}\n"
