"""Networks with seeded random weights, whose predictions are not uniform, and noise for them."""

import numpy as np


def seeded_timm(name: str, **arguments):
    import timm
    import torch

    torch.manual_seed(0)
    return scale_head(timm.create_model(name, pretrained=False, **arguments))


def scale_head(network):
    """Scale the last layer: the nearly uniform predictions of fresh weights would hide mistakes."""
    import torch
    from torch import nn

    layer = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    height, width = getattr(network, "pretrained_cfg", {}).get("input_size", (3, 224, 224))[1:]
    with torch.no_grad():
        layer.bias.zero_()
        logits = network.eval()(torch.rand(1, 3, height, width))
        layer.weight *= 3 / logits.std()
    return network


def network_of(name: str):
    """Return a network of timm, or of torchvision: ``torchvision/resnet18``."""
    if not name.startswith("torchvision/"):
        return seeded_timm(name)
    import torch
    from torchvision import models

    torch.manual_seed(0)
    return scale_head(models.get_model(name.partition("/")[2], weights=None))


def noise(size: tuple[int, int], count: int = 1, seed: int = 1) -> np.ndarray:
    """Return a batch ``(count, 3, H, W)``."""
    return np.random.default_rng(seed).standard_normal((count, 3, *size), np.float32)
