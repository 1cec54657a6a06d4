"""Backbones of timm: by name, from a Hub repository, or from a folder in timm's format."""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import timm
from timm.models import get_pretrained_cfg
from torch import nn

from lineup.config import Entry, normalization
from lineup.errors import BackboneError, did_you_mean
from lineup.hub import files
from lineup.registry import (
    checkpoint,
    headed,
    labels,
    pretrained_folder,
    timm_config,
    timm_names,
    timm_published,
    timm_transform,
    transformers_models,
    weights_folder,
    wordnet,
)
from lineup.registry.activation import activated
from lineup.registry.architecture import Architecture, head_names
from lineup.registry.embedding import Embedding, TimmFeatures, not_a_classifier
from lineup.registry.labels import LabelSet
from lineup.registry.meta_device import check_input_size, count_parameters, describe_head, on_meta_device
from lineup.registry.plan import (
    Context,
    Plan,
    Transform,
    entry_labels,
    format_call,
    grayscale,
    resolve_labels,
)

WEIGHT_FILES = weights_folder.PREFERRED


def pretrained(entry: Entry, context: Context) -> Plan:
    """Plan a backbone with timm's own weights: ``resnet18``, ``resnet18.a1_in1k``."""
    name = timm_names.current_name(entry.spec.target)
    cfg = _pretrained_cfg(name)
    if not timm.models.is_model_pretrained(name):
        raise BackboneError(
            "",
            "a backbone with weights",
            f"timm publishes none for {name!r}",
            "add `checkpoint: file`, or `pretrained: false` for random weights",
        )
    full_name, sizes = _full_name(cfg), timm_transform.size_arguments(entry, cfg)

    def make(path: Path | None) -> nn.Module:
        # timm's own loading code, with the file that was downloaded with our timeout
        return timm.create_model(full_name, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **sizes)

    create = partial(timm.create_model, full_name, **sizes)
    try:
        planned = _plan(entry, context, cfg, full_name, create, timm_published.weights_file(cfg), make, full_name)
    except BackboneError as error:
        raise (error.at(full_name) if name != entry.spec.target else error) from error.__cause__
    return planned.with_loading_notes(timm_names.renamed(entry.spec.target))


def from_folder(entry: Entry, context: Context) -> Plan:
    """Plan a backbone in a folder with config.json and model.safetensors, as saved by timm."""
    folder = context.path(entry.spec.target)
    if not os.path.isdir(folder):
        raise weights_folder.no_folder(folder, entry.spec.target)
    if pretrained_folder.recognises(folder):
        return transformers_models.from_folder(entry, context, folder)
    path, notes = weights_folder.choose(folder)
    name = f"local-dir:{folder if entry.spec.target[0] == '~' else entry.spec.target}"
    planned = _from_folder(entry, context, folder, files.LocalFile(path), name)
    return planned.with_loading_notes(notes)


def from_hub(entry: Entry, context: Context) -> Plan:
    """Plan a backbone in a Hub repository in timm's format: ``hf-hub:owner/repo@revision``."""
    repo, revision = entry.spec.target, entry.spec.revision
    config = context.fetch(files.HubFile(repo, ("config.json",), revision, companions=WEIGHT_FILES))
    # The cache has one folder per commit: pinning the weights to the commit of config.json keeps the two consistent.
    commit = config.parent.name
    if pretrained_folder.recognises(config.parent):
        return transformers_models.from_hub(entry, context, config.parent, commit)
    file = files.HubFile(repo, WEIGHT_FILES, commit)
    return _from_folder(entry, context, config.parent, file, f"hf-hub:{repo}@{commit}")


def architecture(entry: Entry) -> Architecture:
    """Return an architecture of timm, for the user's own weights."""
    cfg = _pretrained_cfg(timm_names.current_name(entry.spec.target))
    sizes = timm_transform.size_arguments(entry, cfg)
    arguments = {**({"in_chans": 1} if entry.in_chans == 1 else {}), **(entry.model_args or {})}
    return Architecture(
        name=cfg["architecture"],
        published=_full_name(cfg),
        num_classes=cfg["num_classes"],
        heads=head_names(cfg.get("classifier")),
        transform=_transform(entry, cfg),
        create=partial(timm.create_model, cfg["architecture"], **sizes, **arguments),
        recipe=partial(_recipe, entry, cfg, cfg["architecture"], **arguments),
        candidates=partial(timm_published.candidates_for, entry, cfg, cfg["architecture"]),
        features_of=TimmFeatures,
        poolings=("avg", "token", "map"),
    )


def _from_folder(entry: Entry, context: Context, folder: Path, file: files.Weights, name: str) -> Plan:
    """Plan a network in a folder, with the head beside it if there is one."""
    if (block := headed.block_of(folder)) is None:
        return _network_of_folder(entry, context, folder, file, name)
    bare = entry.model_copy(update={"labels": None, "activation": None})
    tower = _network_of_folder(bare, replace(context, output="features"), folder, file, name).features()
    head = folder / headed.FILE
    if isinstance(file, files.HubFile):
        head = context.fetch(files.HubFile(file.repo, (headed.FILE,), file.revision))
    return headed.plan(entry, context, block, head, tower)


def _network_of_folder(entry: Entry, context: Context, folder: Path, file: files.Weights, name: str) -> Plan:
    cfg, stated, arguments = timm_config.read(folder)
    architecture = timm_names.current_name(stated).partition(".")[0]  # the tag is that of config.json, if it has one
    cfg = timm_transform.checked(cfg, entry)
    full_name, sizes = _full_name({**cfg, "architecture": architecture}), timm_transform.size_arguments(entry, cfg)
    arguments |= {"num_classes": cfg.get("num_classes"), **sizes}
    create = partial(timm.create_model, architecture, **arguments)

    def make(path: Path | None) -> nn.Module:
        if isinstance(file, files.LocalFile):
            return checkpoint.load(create(), file.path, architecture, head_names(cfg.get("classifier")))
        overlay = pretrained_folder.timm_overlay(path)
        timm_cfg = {key: value for key, value in cfg.items() if key != "problem_type"}
        return timm.create_model(
            architecture, pretrained=True, pretrained_cfg=timm_cfg, pretrained_cfg_overlay=overlay, **arguments
        )

    planned = _plan(entry, context, cfg, full_name, create, file, make, name)
    return planned.with_loading_notes(timm_names.renamed(stated))


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
    entry, assumed = _as_grayscale(entry, cfg)
    num_classes, transform = _num_classes(cfg), _transform(entry, cfg)
    context = replace(context, sha256=cache(context.sha256))  # at most one request
    of_weights, label_notes = _labels(entry, context, cfg, full_name, file)
    classifies = num_classes > 0 and not _is_embedding(full_name, num_classes, of_weights)
    if not classifies and context.output == "classes":
        raise not_a_classifier(num_classes)
    of_entry = entry_labels(entry, context)
    network = on_meta_device(create)
    check_input_size(network, entry, transform.input_size, transform.channels)
    heads = head_names(cfg.get("classifier"))
    fit = checkpoint.check(file.path, network, full_name, heads) if isinstance(file, files.LocalFile) else None
    figures, figures_note = timm_published.figures_of(entry, context, cfg, full_name, network, file)
    # of several files in a folder, timm chooses by an order of its own
    is_reproducible = fit is None or (fit.is_plain and Path(str(file)).name in WEIGHT_FILES)
    planned = Plan(
        name=entry.name,
        source=entry.source,
        architecture=full_name,
        parameters=count_parameters(network),
        labels=resolve_labels(of_entry, of_weights, num_classes) if classifies else labels.numbered(0),
        transform=transform,
        weights=file,
        make=make,
        license=str(cfg.get("license") or ""),
        notes=(*((str(cfg["description"]),) if cfg.get("description") else ()), *assumed),
        figures=figures,
        figures_note=figures_note,
        recipe=_recipe(entry, cfg, name, pretrained=True) if is_reproducible else "",
        fingerprint=repr((create.args, create.keywords, sorted(cfg.items()))),
        loading_notes=(
            *(() if of_entry else label_notes),
            *(fit.notes if fit else ()),
            *normalization.unusual_range(transform.mean, transform.std),
        ),
        head=describe_head(network, heads),
        output="classes" if classifies else "features",
        embedding=_embedding(create, transform, classifies, num_classes),
    )
    return activated(planned, entry, num_classes, cfg.get("problem_type"))


def _embedding(create: partial[nn.Module], transform: Transform, classifies: bool, num_classes: int) -> Embedding:
    # the output of a contrastive model is the embedding that its text encoder shares, which compares directions
    is_normalized = not classifies and num_classes > 0
    features_of = TimmFeatures if classifies else None
    return Embedding(create, transform.input_size, features_of, transform.channels, True, is_normalized)


def _labels(
    entry: Entry, context: Context, cfg: Mapping[str, Any], full_name: str, file: files.Weights
) -> tuple[LabelSet | None, tuple[str, ...]]:
    """Return the labels of the weights, if they have any, and a note if their tag's are not theirs."""
    num_classes = cfg["num_classes"]
    if cfg.get("label_names") and not labels.are_placeholders(cfg["label_names"]):
        origin, known = f"label_names of {labels.shown_target(entry.spec.target)}", wordnet.wordnet()
        described = cfg.get("label_descriptions")
        return labels.from_hub(cfg["label_names"], described, known, origin, num_classes), ()
    of_tag = wordnet.for_tag(cfg.get("tag") or "", num_classes)
    if of_tag and not timm_published.is_published(entry, context, full_name, file):
        # a tag remains in config.json when the weights are trained further
        note = f"no class names: config.json names {full_name}, but these are not the weights published as that"
        return None, (note,)
    return of_tag, ()


def _pretrained_cfg(name: str) -> dict[str, Any]:
    """Return the pretrained config of a timm model name, with or without a tag."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        hint = did_you_mean(architecture, timm.list_models()) or "timm.list_models() lists all names"
        raise BackboneError("", "a model name of timm", f"got {name!r}", hint)
    tags = timm_names.tags_of(architecture)
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


def _as_grayscale(entry: Entry, cfg: Mapping[str, Any]) -> tuple[Entry, tuple[str, ...]]:
    """Return an entry, for a network of one channel if the config is of one, and a note."""
    data = timm_transform.data_config(entry, cfg)
    if data["input_size"][0] != 1:
        return entry, ()
    return grayscale(entry, cfg.get("mean") or data["mean"], cfg.get("std") or data["std"])


def _transform(entry: Entry, cfg: Mapping[str, Any]) -> Transform:
    data = timm_transform.data_config(entry, cfg)
    channels = data["input_size"][0]
    if channels not in (1, 3):
        expected = "a backbone for RGB or grayscale images"
        raise BackboneError("", expected, f"it takes {channels} channels", "choose another one")
    return timm_transform.build(data)


def _recipe(entry: Entry, cfg: Mapping[str, Any], name: str, **arguments: Any) -> str:
    network = format_call("timm.create_model", name, **arguments, **timm_transform.size_arguments(entry, cfg))
    transform = timm_transform.recipe(timm_transform.data_config(entry, cfg))
    note = "  # a relative path starts at the config's folder" if name.startswith("local-dir:") else ""
    imports = "import timm\nimport torchvision\n" if entry.in_chans == 1 else "import timm\n"
    return f"{imports}\nnetwork = {network}.eval(){note}\ntransform = {transform}\n"
