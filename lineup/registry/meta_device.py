"""Networks on the meta device, which computes shapes, and allocates no memory."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from lineup.config import Entry
from lineup.errors import BackboneError, brief


def on_meta_device(create: Callable[[], nn.Module]) -> nn.Module:
    """Build a network on the meta device, to count parameters and compare shapes."""
    try:
        with torch.device("meta"):
            return create()
    except Exception:  # torchvision's regnets read values of their weights in the constructor
        return create().to("meta")


def check_input_size(network: nn.Module, entry: Entry, input_size: tuple[int, int], channels: int = 3) -> None:
    """Check that a network accepts the `input_size` of the entry, if it has one, with a dry run.

    Raises:
        BackboneError: the forward pass failed.
    """
    if entry.input_size is None:
        return
    try:
        dry_run(network, input_size, channels)
    except Exception as error:  # the type depends on the network
        raise BackboneError(
            "",
            "an input_size that the network accepts",
            f"got {list(entry.input_size)}: {brief(error, line=0)}",
            "choose another one, or leave it out",
        ) from None


def dry_run(network: nn.Module, input_size: tuple[int, int], channels: int = 3) -> torch.Tensor:
    """Return a network's output for one image: a tensor with a shape, and without values."""
    with torch.inference_mode():
        return network.eval()(torch.empty(1, channels, *input_size, device="meta"))


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def describe_head(network: nn.Module, names: Sequence[str]) -> str:
    """Return the name and the shape of the first classification layer: ``fc (512 → 5)``; empty if there is none."""
    modules = dict(network.named_modules())
    weight = next((getattr(modules.get(name), "weight", None) for name in names), None)
    return "" if weight is None else f"{names[0]} ({weight.shape[1]} → {weight.shape[0]})"
