"""Checkpoints of the user for a known architecture: finds the settings of the network that fits, and loads it."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lineup.config import Entry, normalization
from lineup.errors import BackboneError
from lineup.hub.files import LocalFile
from lineup.registry import checkpoint_file, known_weights, misfits, state_dict
from lineup.registry.activation import activated
from lineup.registry.architecture import Architecture, ArchitectureOf, build, check_outputs
from lineup.registry.checkpoint_recipe import loading_code
from lineup.registry.embedding import Embedding, TimmFeatures
from lineup.registry.labels import LabelSet, from_names
from lineup.registry.meta_device import check_input_size, count_parameters, describe_head
from lineup.registry.plan import TRANSFORM_KEYS, Context, Plan, entry_labels, grayscale, resolve_labels
from lineup.registry.state_dict import Fit, Shapes

Others = Callable[[Iterable[str]], Iterator[Entry]]
ANY_COUNT = 2  # of classes, where it does not matter
_NAMES_KEYS = ("class_to_idx", "classes", "class_names", "label_names")  # as training scripts save names
_POOLING = re.compile(r"\b(fc_norm|attn_pool)\.")  # modules that depend on `global_pool`


def plan(entry: Entry, context: Context, architecture_of: ArchitectureOf, others: Others) -> Plan:
    """Plan an architecture with the checkpoint of the entry, or with random weights.

    Args:
        entry: the entry of the config.
        context: what a source needs besides the entry.
        architecture_of: returns the architecture of an entry.
        others: yields entries of other architectures that a checkpoint with these keys may belong to.
    """
    labels, architecture = entry_labels(entry, context), architecture_of(entry.model_copy(update={"in_chans": None}))
    num_classes, notes, found = len(labels) if labels else architecture.num_classes, _notes(entry, architecture), None
    as_grayscale = partial(grayscale, mean=architecture.transform.mean, std=architecture.transform.std)
    assumed: tuple[str, ...] = ()
    if entry.in_chans == 1:
        entry, assumed = as_grayscale(entry)
    if entry.checkpoint:
        found = _recognize(entry, context, architecture_of, num_classes, others)
        num_classes = found.num_classes
        is_news = found.entry.in_chans == 1 and not entry.in_chans
        entry, assumed = as_grayscale(found.entry) if is_news else (found.entry, assumed)
    if num_classes == 0 and context.output == "classes":
        raise BackboneError("", "a number of classes", f"{architecture.name} has no default", "add `labels`")
    architecture, network = architecture_of(entry), build(entry, architecture_of, num_classes)
    transform, create = architecture.transform, partial(architecture.create, num_classes=num_classes)
    check_input_size(network, entry, transform.input_size, transform.channels)
    check_outputs(entry, network, transform, num_classes)

    def make(path: Path | None) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same random weights after an eviction and a reload
            network = create()
        return load(network, path, architecture.name, architecture.heads) if path else network

    features_of = architecture.features_of if num_classes else None
    is_of_timm = architecture.features_of is TimmFeatures
    planned = Plan(
        name=entry.name,
        source=entry.source,
        architecture=architecture.name,
        parameters=count_parameters(network),
        labels=resolve_labels(labels, _stored_labels(found, labels, num_classes), num_classes),
        transform=transform,
        weights=None,
        make=make,
        notes=(*notes, *assumed, *architecture.notes),
        head=describe_head(network, architecture.heads),
        output="classes" if num_classes else "features",
        embedding=Embedding(create, transform.input_size, features_of, transform.channels, is_of_timm),
    )
    planned = activated(planned, entry, num_classes)
    return _with_weights(planned, entry, context, architecture, network, found) if found else planned


def _stored_labels(found: "_Recognized | None", of_entry: LabelSet | None, num_classes: int) -> LabelSet | None:
    """Return the class names that a training script saved beside the weights; None if there are none.

    Raises:
        BackboneError: those of the entry are the same, in another order.
    """
    content = found.content if found and isinstance(found.content, Mapping) else {}
    for key, value in ((key, content.get(key)) for key in _NAMES_KEYS):
        if isinstance(value, Mapping) and sorted(map(str, value.values())) == sorted(map(str, range(num_classes))):
            names = [str(name) for name in sorted(value, key=lambda name: int(value[name]))]
        elif isinstance(value, list | tuple) and len(value) == num_classes and all(isinstance(n, str) for n in value):
            names = list(value)
        else:
            continue
        ours = [label.name for label in of_entry.labels] if of_entry else names
        if sorted(ours) == sorted(names) and ours != names:
            at = next(index for index in range(num_classes) if ours[index] != names[index])
            got = f"class {at} is {ours[at]!r} in the entry, and {names[at]!r} in the checkpoint"
            raise BackboneError("labels", f"the order of `{key}` in the checkpoint", got, "leave `labels` out")
        return from_names(names, f"{key} of the checkpoint")
    return None


def check(path: Path, network: nn.Module, name: str, heads: Sequence[str]) -> Fit:
    """Check that the tensors of a checkpoint match the state dict of a network, and return how.

    Raises:
        BackboneError: it is no checkpoint, or tensors are missing, unknown, or of another shape.
    """
    return _fit(checkpoint_file.read(path, "meta"), network, name, heads)


def load(network: nn.Module, path: Path, name: str, heads: Sequence[str]) -> nn.Module:
    """Load a checkpoint into a network and return it, after the check that `check` does."""
    _fit(checkpoint_file.read(path, "cpu"), network, name, heads).load_into(network)
    return network


@dataclass(frozen=True)
class _Recognized:
    """What the shapes in a checkpoint say about the network.

    Attributes:
        entry: with `in_chans` and `model_args` of the network.
        num_classes: the number of outputs of its classification layer; 0 without one.
        content: of the checkpoint, with tensors on the meta device.
        notes: what was inferred.
    """

    entry: Entry
    num_classes: int
    content: Any
    notes: tuple[str, ...]


def _recognize(
    entry: Entry, context: Context, architecture_of: ArchitectureOf, num_classes: int, others: Others
) -> _Recognized:
    """Find the settings with which an architecture fits the checkpoint of an entry.

    Raises:
        BackboneError: there are none.
    """
    content, architecture = checkpoint_file.read(context.path(str(entry.checkpoint)), "meta"), architecture_of(entry)
    misfit: tuple[Fit, Shapes] | None = None
    for tried, count in _attempts(entry, architecture, num_classes):
        if misfit and tried is not entry and not _POOLING.search(" ".join((*misfit[0].missing, *misfit[0].unknown))):
            continue
        try:
            network = build(tried, architecture_of, count)
        except Exception:
            if misfit is None:  # the first attempt is what the entry says
                raise
            continue
        expected, first = _open_shapes(network, architecture.heads, entry.in_chans or 3)
        fit = state_dict.find(content, expected, architecture.heads)
        if fit.fits:
            return _settings(entry, tried, fit, first, architecture.heads if count else (), content)
        misfit = misfit or (fit, expected)
    assert misfit
    search = partial(misfits.first_fitting, _others(content, architecture_of, others))
    size = architecture.transform.input_size
    raise misfits.explain(*misfit, content, architecture.name, architecture.heads, size, search)


def _attempts(entry: Entry, architecture: Architecture, num_classes: int) -> Iterator[tuple[Entry, int]]:
    """Yield entries, with a number of classes, that a checkpoint may fit."""
    yield entry, num_classes or ANY_COUNT
    if "global_pool" not in (said := entry.model_args or {}):
        for pooling in architecture.poolings:
            yield entry.model_copy(update={"model_args": {**said, "global_pool": pooling}}), num_classes or ANY_COUNT
    if architecture.num_classes == 0:
        yield entry, 0


def _open_shapes(network: nn.Module, heads: Sequence[str], channels: int) -> tuple[Shapes, str]:
    """Return the shapes of a network for any number of classes and of channels, and the key of its first layer."""
    shapes: dict[str, state_dict.Shape] = dict(state_dict.shapes_of(network))
    for key in (f"{head}.{leaf}" for head in heads for leaf in ("weight", "bias")):
        if key in shapes:
            shapes[key] = (None, *shapes[key][1:])
    first = next((key for key, shape in shapes.items() if len(shape) == 4), "")
    if first and shapes[first][1] == channels:
        shapes[first] = (shapes[first][0], None, *shapes[first][2:])
        return shapes, first
    return shapes, ""


def _settings(entry: Entry, tried: Entry, fit: Fit, first: str, heads: Sequence[str], content: Any) -> _Recognized:
    """Read the number of classes and of channels from a checkpoint that fits."""
    head = (fit.shape(f"{heads[0]}.weight") if heads else None) or (0,)
    channels, notes = (fit.shape(first) or (0, 0))[1], []
    if first and channels != (entry.in_chans or channels):
        got = f"the first layer of the checkpoint takes {channels}"
        raise BackboneError("in_chans", f"{entry.in_chans} channels", got, "remove `in_chans`")
    if first and channels not in (1, 3):
        expected = "a network for RGB or grayscale images, of 3 channels or 1"
        raise BackboneError("", expected, f"the first layer of the checkpoint takes {channels}", "train one of these")
    if first and channels == 1 and not entry.in_chans:
        notes.append("in_chans: 1, as the first layer has in the checkpoint: grayscale images")
        tried = tried.model_copy(update={"in_chans": 1})
    if tried.model_args != entry.model_args:
        pooling = (tried.model_args or {})["global_pool"]
        notes.append(f"global_pool: {pooling}, with which the tensors have the names in the checkpoint")
    return _Recognized(tried, head[0], content, tuple(notes))


def _others(content: Any, architecture_of: ArchitectureOf, others: Others) -> Iterator[tuple[str, Callable[[], bool]]]:
    """Yield the names of other architectures, each with a function that returns whether the checkpoint fits it."""
    for other in others(state_dict.keys_of(content)):
        yield other.backbone, partial(_fits, content, other, architecture_of)


def _fits(content: Any, entry: Entry, architecture_of: ArchitectureOf) -> bool:
    try:
        architecture = architecture_of(entry)
        with torch.device("meta"):
            network = architecture.create(num_classes=ANY_COUNT)
        return state_dict.find(content, _open_shapes(network, architecture.heads, 3)[0], architecture.heads).fits
    except Exception:  # it cannot be built without memory, or without a head
        return False


def _with_weights(
    planned: Plan, entry: Entry, context: Context, architecture: Architecture, network: nn.Module, found: _Recognized
) -> Plan:
    """Return a plan with the checkpoint of its entry, which fits the network."""
    path = context.path(str(entry.checkpoint))
    fit = _fit(found.content, network, architecture.name, architecture.heads)
    code = architecture.recipe(num_classes=found.num_classes)
    recipe = loading_code(str(entry.checkpoint), path, fit, code)
    figures: Mapping[str, float] = {}
    figures_note = ""
    if not entry.model_args and planned.transform.channels == 3:
        figures, figures_note = known_weights.figures(
            LocalFile(path), context, architecture.candidates(found.num_classes)
        )
    return replace(
        planned,
        weights=LocalFile(path),
        loading_notes=(*found.notes, *fit.notes, *_loading_notes(entry, architecture), *planned.loading_notes),
        figures=figures,
        figures_note=figures_note,
        recipe=recipe,
        fingerprint=recipe or repr((code, fit.container, fit.prefixes)),
    )


def _fit(content: Any, network: nn.Module, name: str, heads: Sequence[str]) -> Fit:
    expected = state_dict.shapes_of(network)
    fit = state_dict.find(content, expected, heads)
    if not fit.fits:
        raise misfits.explain(fit, expected, content, name, heads)
    return fit


def _notes(entry: Entry, architecture: Architecture) -> tuple[str, ...]:
    if not entry.pretrained:
        return ("untrained: the weights are random, so the predictions are meaningless",)
    implied = ("crop_pct",) if entry.crop_mode in ("squash", "border") else ()
    assumed = ", ".join(key for key in TRANSFORM_KEYS if not getattr(entry, key) and key not in implied)
    return (f"preprocessing assumed from {architecture.published}: {assumed}",) if assumed else ()


def _loading_notes(entry: Entry, architecture: Architecture) -> Iterator[str]:
    transform = architecture.transform
    if not entry.crop_mode:
        yield (
            f"crop_mode: assumed from {architecture.published} ({transform.resizing}); if the images were resized to "
            "the input size in training, as by `Resize((h, w))`, write `crop_mode: squash`"
        )
    yield from normalization.unusual_range(transform.mean, transform.std)
