"""Features of an image: what a network computes before its classification layer."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from lineup.errors import BackboneError, FeaturesOnlyError
from lineup.registry.meta_device import dry_run, on_meta_device


@dataclass(frozen=True)
class Embedding:
    """How the network of a plan returns features.

    Attributes:
        create: builds the network without weights.
        input_size: height and width.
        features_of: turns the network into one that returns features ``(N, dim)``, and may change it; None if it
            returns them already.
        channels: of the input.
        is_of_timm: whether the network is one of timm, so that it can be saved with another head.
        is_normalized: whether features are compared by their direction, as those of a contrastive network.
    """

    create: Callable[[], nn.Module]
    input_size: tuple[int, int]
    features_of: Callable[[nn.Module], nn.Module] | None
    channels: int = 3
    is_of_timm: bool = False
    is_normalized: bool = False

    @cached_property
    def dim(self) -> int:
        """The number of features of an image, found on the meta device.

        Raises:
            BackboneError: the network does not return one vector per image.
        """
        network = self.network(on_meta_device(self.create))
        shape = tuple(dry_run(network, self.input_size, self.channels).shape)
        if len(shape) != 2 or not shape[1]:
            expected = "a backbone that returns one vector of features per image"
            raise BackboneError("", expected, f"its output has the shape {shape}", "choose another one")
        return shape[1]

    def network(self, network: nn.Module) -> nn.Module:
        """Return a network that returns features."""
        return self.features_of(network) if self.features_of else network


class TimmFeatures(nn.Module):
    """Returns the features that the classification layer of a timm network gets, pooled: ``(N, dim)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.network.forward_head(self.network.forward_features(batch), pre_logits=True)


def without_layers(network: nn.Module, names: Iterable[str]) -> nn.Module:
    """Replace layers by ones that return their input."""
    for name in names:
        network.set_submodule(name, nn.Identity())
    return network


def not_a_classifier(num_classes: int) -> FeaturesOnlyError:
    """Return the error for a network whose output is features, or an embedding of `num_classes` numbers."""
    if num_classes:
        got = f"its output is an embedding of {num_classes} numbers, not classes"
        remedy = "choose one fine-tuned for classification (with _ft_in1k in its tag)"
    else:
        got = "it has no classification head, and returns only features"
        remedy = "choose one trained for classification, such as one with a tag that ends in in1k"
    return FeaturesOnlyError("", "a backbone that classifies", got, remedy)
