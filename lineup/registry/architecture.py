"""Architectures of timm and torchvision, for weights of the user."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from lineup.config import SAID_ELSEWHERE, Entry
from lineup.errors import BackboneError, brief, did_you_mean
from lineup.registry.known_weights import Candidate
from lineup.registry.meta_device import dry_run, on_meta_device
from lineup.registry.plan import Transform


@dataclass(frozen=True)
class Architecture:
    """A network of timm or torchvision, to be used with other weights than the published ones.

    Attributes:
        name: the library's name of it.
        published: the published weights whose transform is assumed.
        num_classes: the number of classes of the published weights; 0 if they have no head.
        heads: the names of the classification layers; those of a distilled network are two.
        transform: the preprocessing.
        create: builds the network, given `num_classes`.
        recipe: returns Python code that builds the network and its transform, given `num_classes`.
        candidates: returns the published weights that a file may contain, given the number of classes.
        features_of: turns the network into one that returns features.
        poolings: values of the argument `global_pool` that give tensors other names.
        notes: caveats about the predictions.
    """

    name: str
    published: str
    num_classes: int
    heads: tuple[str, ...]
    transform: Transform
    create: Callable[..., nn.Module]
    recipe: Callable[..., str]
    candidates: Callable[[int], list[Candidate]]
    features_of: Callable[[nn.Module], nn.Module]
    poolings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


ArchitectureOf = Callable[[Entry], Architecture]


def head_names(classifier: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the classification layers in a pretrained config of timm; distilled networks have two."""
    return (classifier,) if isinstance(classifier, str) else tuple(classifier or ())


def build(entry: Entry, architecture_of: ArchitectureOf, num_classes: int) -> nn.Module:
    """Build the network of an entry on the meta device.

    Raises:
        BackboneError: it does not accept the entry's `in_chans` or `model_args`.
    """
    architecture = architecture_of(entry)
    try:
        return on_meta_device(partial(architecture.create, num_classes=num_classes))
    except Exception as error:
        if not entry.model_args and entry.in_chans != 1:
            raise
        plain = architecture_of(entry.model_copy(update={"in_chans": None, "model_args": None}))
        network = on_meta_device(partial(plain.create, num_classes=num_classes))
        raise _not_accepted(entry, architecture.name, network, error) from None


def check_outputs(entry: Entry, network: nn.Module, transform: Transform, num_classes: int) -> None:
    """Check that a network with `model_args` or `in_chans` returns one logit for each class, with a dry run.

    Raises:
        BackboneError: it does not.
    """
    if not (entry.model_args or entry.in_chans == 1) or not num_classes:
        return
    key = "model_args" if entry.model_args else "in_chans"
    expected = f"a network that returns {num_classes} logits for an image"
    try:
        output = dry_run(network, transform.input_size, transform.channels)
    except Exception as error:  # the type depends on the network
        got = f"with {entry.model_args or {'in_chans': 1}}, it cannot run: {brief(error, line=0)}"
        raise BackboneError(key, expected, got, f"change `{key}`, or remove it") from None
    shape = tuple(output.shape) if isinstance(output, torch.Tensor) else "several tensors"
    if shape != (1, num_classes):
        raise BackboneError(key, expected, f"its output is {shape}", f"change `{key}`, or remove it")


def _not_accepted(entry: Entry, name: str, network: nn.Module, error: Exception) -> BackboneError:
    """Return the error for arguments with which a network cannot be built, though it can without them."""
    said = entry.model_args or {}
    known = [argument for argument in inspect.signature(type(network)).parameters if argument not in SAID_ELSEWHERE]
    for argument in said:
        if argument not in known:
            hint = did_you_mean(argument, known) or "remove it"
            return BackboneError("model_args", f"arguments of {name} ({', '.join(known)})", f"got {argument!r}", hint)
    if said:
        got = f"got {said}: {brief(error, line=0)}"
        return BackboneError("model_args", f"values that {name} accepts", got, "change or remove them")
    return BackboneError("in_chans", f"3, the channels that {name} takes", "got 1", "remove it, or use another network")
