"""An architecture with weights of the user's own: what is in the file, and whether it fits."""

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
from lineup.registry.known_weights import Candidate
from lineup.registry.plan import Context, Plan, Transform, chosen_labels, given_labels

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """A network of timm's or torchvision's, to be given other weights than the published ones."""

    name: str
    published: str  # the weights whose transform is assumed
    num_classes: int  # of the published weights; 0 when they have no head
    head: str  # the layer that gives the classes
    transform: Transform
    create: Callable[..., nn.Module]  # takes num_classes
    recipe: Callable[..., str]  # so does this: the Python that makes the same network, and its transform
    candidates: Callable[[int], list[Candidate]]  # and this: which published weights a file may hold


def plan(entry: Entry, context: Context, architecture: Architecture) -> Plan:
    """Plan an architecture with the entry's checkpoint, or with random weights."""
    given, file, there = given_labels(entry, context), None, {}
    num_classes = len(given) if given else architecture.num_classes
    if entry.checkpoint:
        file = LocalFile(context.folder / entry.checkpoint)
        there = shapes(file.path)
        num_classes = there.get(f"{architecture.head}.weight", (num_classes,))[0]
    if num_classes == 0:
        raise BackboneError("", "a number of classes", f"{architecture.name} has none of its own", "add `labels`")
    create = partial(architecture.create, num_classes=num_classes)
    network = blank(create)
    dry_run(network, entry, architecture.transform)
    if file:
        fit(there, network, architecture.name)

    recipe = _recipe(entry.checkpoint, architecture.recipe(num_classes=num_classes)) if entry.checkpoint else ""
    facts, facts_note = known_weights.figures(file, context, architecture.candidates(num_classes)) if file else ({}, "")

    def make(path: Path | None) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # random weights are the same each time: a backbone may leave, and come back
            network = create()
        if path:
            network.load_state_dict(load_state_dict(str(path)))
        return network

    return Plan(
        name=entry.name,
        source=entry.source,
        architecture=architecture.name,
        parameters=count(network),
        labels=chosen_labels(given, None, num_classes),
        transform=architecture.transform,
        weights=file,
        make=make,
        notes=_notes(entry, architecture),
        facts=facts,
        facts_note=facts_note,
        recipe=recipe,
        fingerprint=recipe,
    )


def blank(create: Callable[[], nn.Module]) -> nn.Module:
    """Build a network without memory behind it, to count and to compare shapes."""
    try:
        with torch.device("meta"):
            return create()
    except Exception:  # torchvision's regnets ask their weights for numbers while they are built
        return create()


def dry_run(network: nn.Module, entry: Entry, transform: Transform) -> None:
    """Check that a network takes the size that the entry asks for, if it asks for one.

    Raises:
        BackboneError: when it does not.
    """
    if entry.input_size is None:
        return
    try:
        device = next(network.parameters()).device
        network.eval()(torch.empty(1, 3, *transform.input_size, device=device))
    except Exception as error:  # each network has its own way to say so
        raise BackboneError(
            "",
            "an input_size that the network takes",
            f"got {list(entry.input_size)}: {brief(error, line=0)}",
            "choose another one, or leave it out",
        ) from None


def count(network: nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def shapes(path: Path) -> Shapes:
    """Return the shape of each tensor in a checkpoint, without reading the numbers.

    Raises:
        BackboneError: when there is no file, it is no checkpoint, or it holds more than weights.
    """
    if not os.path.isfile(path):
        raise BackboneError("", "a checkpoint", f"{path} is not there", "paths start at the config's folder")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return clean_state_dict({key: tuple(file.get_slice(key).get_shape()) for key in file.keys()})  # noqa: SIM118
        tensors = load_state_dict(str(path), device="meta")
        return {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    except (SafetensorError, OSError, EOFError) as error:
        raise BackboneError(path.name, "a whole checkpoint", f"got {brief(error, line=0)}", "copy it again") from None
    except Exception as error:  # unpickling raises what it likes, and says it at length
        raise BackboneError(
            path.name,
            "a state dict and nothing else",
            f"this is something else, or cut off ({type(error).__name__})",
            "save it anew: safetensors.torch.save_file(model.state_dict(), …)",
        ) from None


def fit(there: Mapping[str, tuple[int, ...]], network: nn.Module, architecture: str) -> None:
    """Check that a checkpoint's tensors are this network's.

    Raises:
        BackboneError: when some are missing, unknown, or of another shape.
    """
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    optional = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = sorted(wanted.keys() - there.keys() - optional)
    unknown = sorted(there.keys() - wanted.keys())
    differing = sorted(key for key in wanted.keys() & there.keys() if wanted[key] != there[key])
    found = [
        f"{len(keys)} {what} (such as {keys[0]})"
        for keys, what in ((missing, "missing"), (unknown, "unknown"), (differing, "of another shape"))
        if keys
    ]
    if found:
        raise BackboneError(
            "",
            f"the {len(wanted)} tensors of {architecture}",
            f"the checkpoint has {', '.join(found)}",
            "name the architecture, and the input_size, that it was trained with",
        )


def _notes(entry: Entry, architecture: Architecture) -> tuple[str, ...]:
    if not entry.pretrained:
        return ("untrained: the weights are random, so the answers mean nothing",)
    told = all((entry.input_size, entry.mean, entry.std, entry.crop_pct, entry.interpolation))
    return () if told else (f"preprocessing assumed from {architecture.published}",)


def _recipe(path: str, recipe: str) -> str:
    # timm's loader also unwraps what training scripts put around a state dict
    load = f"network.load_state_dict(load_state_dict({path!r}))  # a relative path starts at the config's folder"
    return f"from timm.models import load_state_dict\n{recipe}{load}\n"
