"""Checkpoints of the user for a known architecture: reads the shapes, and checks that they match."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from timm.models import clean_state_dict, load_state_dict
from torch import nn

from lineup.config import Entry
from lineup.errors import BackboneError, brief
from lineup.hub.files import LocalFile
from lineup.registry import known_weights
from lineup.registry.embedding import Embedding
from lineup.registry.known_weights import Candidate
from lineup.registry.meta_device import check_input_size, count_parameters, on_meta_device
from lineup.registry.plan import Context, Plan, Transform, entry_labels, resolve_labels

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """A network of timm or torchvision, to be used with other weights than the published ones.

    Attributes:
        name: the library's name of it.
        published: the published weights whose transform is assumed.
        num_classes: the number of classes of the published weights; 0 if they have no head.
        head: the name of the classification layer.
        transform: the preprocessing.
        create: builds the network, given `num_classes`.
        recipe: returns Python code that builds the network and its transform, given `num_classes`.
        candidates: returns the published weights that a file may contain, given the number of classes.
        features_of: turns the network into one that returns features.
    """

    name: str
    published: str
    num_classes: int
    head: str
    transform: Transform
    create: Callable[..., nn.Module]
    recipe: Callable[..., str]
    candidates: Callable[[int], list[Candidate]]
    features_of: Callable[[nn.Module], nn.Module]


def plan(entry: Entry, context: Context, architecture: Architecture) -> Plan:
    """Plan an architecture with the checkpoint of the entry, or with random weights."""
    labels, file, stored = entry_labels(entry, context), None, {}
    num_classes = len(labels) if labels else architecture.num_classes
    if entry.checkpoint:
        file = LocalFile(context.folder / entry.checkpoint)
        stored = shapes(file.path)
        num_classes = stored.get(f"{architecture.head}.weight", (num_classes,))[0]
    if num_classes == 0 and context.output == "classes":
        raise BackboneError("", "a number of classes", f"{architecture.name} has no default", "add `labels`")
    create = partial(architecture.create, num_classes=num_classes)
    network, input_size = on_meta_device(create), architecture.transform.input_size
    check_input_size(network, entry, input_size)
    if file:
        check_shapes(stored, network, architecture.name)

    recipe = _recipe(entry.checkpoint, architecture.recipe(num_classes=num_classes)) if entry.checkpoint else ""
    figures: Mapping[str, float] = {}
    figures_note = ""
    if file:
        figures, figures_note = known_weights.figures(file, context, architecture.candidates(num_classes))

    def make(path: Path | None) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same random weights after an eviction and a reload
            network = create()
        if path:
            network.load_state_dict(load_state_dict(str(path)))
        return network

    return Plan(
        name=entry.name,
        source=entry.source,
        architecture=architecture.name,
        parameters=count_parameters(network),
        labels=resolve_labels(labels, None, num_classes),
        transform=architecture.transform,
        weights=file,
        make=make,
        notes=_notes(entry, architecture),
        figures=figures,
        figures_note=figures_note,
        recipe=recipe,
        fingerprint=recipe,
        output="classes" if num_classes else "features",
        embedding=Embedding(create, input_size, architecture.features_of if num_classes else None),
    )


def shapes(path: Path) -> Shapes:
    """Return the shape of each tensor in a checkpoint, without reading the values.

    Raises:
        BackboneError: there is no such file, it is not a checkpoint, or it contains other objects than tensors.
    """
    if not os.path.isfile(path):
        raise BackboneError("", "a checkpoint", f"{path} does not exist", "relative paths start at the config's folder")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return clean_state_dict({key: tuple(file.get_slice(key).get_shape()) for key in file.keys()})  # noqa: SIM118
        tensors = load_state_dict(str(path), device="meta")
        return {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    except (SafetensorError, OSError, EOFError) as error:
        raise BackboneError(
            path.name, "a complete checkpoint", f"got {brief(error, line=0)}", "copy it again"
        ) from None
    except Exception as error:  # unpickling raises any type, with long messages
        raise BackboneError(
            path.name,
            "a state dict and nothing else",
            f"the file holds something else, or is truncated ({type(error).__name__})",
            "save it again: safetensors.torch.save_file(model.state_dict(), …)",
        ) from None


def check_shapes(stored: Mapping[str, tuple[int, ...]], network: nn.Module, architecture: str) -> None:
    """Check that the tensors of a checkpoint match the state dict of a network.

    Raises:
        BackboneError: tensors are missing, unknown, or of another shape.
    """
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    optional = {key for key in expected if key.endswith("num_batches_tracked")}
    missing = sorted(expected.keys() - stored.keys() - optional)
    unknown = sorted(stored.keys() - expected.keys())
    differing = sorted(key for key in expected.keys() & stored.keys() if expected[key] != stored[key])
    problems = [
        f"{len(keys)} {what} (such as {keys[0]})"
        for keys, what in ((missing, "missing"), (unknown, "unknown"), (differing, "of another shape"))
        if keys
    ]
    if problems:
        raise BackboneError(
            "",
            f"the {len(expected)} tensors of {architecture}",
            f"the checkpoint has {', '.join(problems)}",
            "use the architecture and the input_size that it was trained with",
        )


def _notes(entry: Entry, architecture: Architecture) -> tuple[str, ...]:
    if not entry.pretrained:
        return ("untrained: the weights are random, so the predictions are meaningless",)
    is_complete = all((entry.input_size, entry.mean, entry.std, entry.crop_pct, entry.interpolation))
    return () if is_complete else (f"preprocessing assumed from {architecture.published}",)


def _recipe(path: str, recipe: str) -> str:
    # timm's loader also unwraps the state dict in the checkpoint of a training script
    load = f"network.load_state_dict(load_state_dict({path!r}))  # a relative path starts at the config's folder"
    return f"from timm.models import load_state_dict\n{recipe}{load}\n"
