"""Writes a network of timm with a new head as a folder that the sources local-dir and hf-hub read.

If the network with its own classification layer gives the same logits, it is a plain folder of timm; else the network
stays as it is, and the head lies beside it, as `headed` reads it.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from timm.models import save_for_hf
from torch import nn

from lineup.errors import BackboneError
from lineup.registry import headed, labels
from lineup.registry.embedding import TimmFeatures
from lineup.registry.headed import Headed
from lineup.registry.plan import Plan

_TOLERANCE = 1e-5  # of logits, and so of probabilities


def require_savable(plan: Plan) -> None:
    """Check that a backbone can be saved with another head.

    Raises:
        BackboneError: it is none of timm, or its transform is not.
    """
    _ = plan.embedding_dim  # raises
    if not (plan.embedding and plan.embedding.is_of_timm and plan.transform.settings):
        got = f"{plan.architecture} has another one"
        raise BackboneError(plan.name, "a backbone of timm, whose format a new head is saved in", got, "choose another")


def write(
    folder: Path,
    plan: Plan,
    path: Path | None,
    layer: tuple[np.ndarray, np.ndarray],
    label_names: Sequence[str],
    details: Mapping[str, Any],
) -> bool:
    """Write config.json and the weights to a folder, and return whether it is a plain folder of timm.

    Args:
        folder: is created if necessary.
        plan: the backbone's, for classes or features.
        path: its weights file; None if they are random.
        layer: weight ``(classes, features)`` and bias ``(classes,)`` of the head.
        label_names: the classes, in the order of its outputs.
        details: more keys of config.json; `description` is shown with each answer.

    Raises:
        BackboneError: the backbone is none of timm.
        OSError: writing fails, as on a full disk.
    """
    require_savable(plan)
    tower, is_plain = _with_head(plan, path, layer, label_names)
    others = {key: value for key, value in details.items() if key != "description"}
    source = {"license": plan.license, "description": details.get("description", "")}
    if is_plain:
        config = {**others, "label_names": list(label_names)}
        source["tag"] = ""  # these are not the weights of that name
    else:
        plan = plan.features()
        is_normalized = bool(plan.embedding and plan.embedding.is_normalized)
        block = {"head": headed.FILE, "label_names": list(label_names), "is_normalized": is_normalized}
        config = {**others, headed.BLOCK: block}
        source["tag"] = plan.architecture.partition(".")[2]  # says whether the output is an embedding
        folder.mkdir(parents=True, exist_ok=True)
        with _os_errors():
            save_file(dict(zip(("weight", "bias"), _tensors(layer), strict=True)), folder / headed.FILE)
    with _os_errors():
        save_for_hf(
            tower,
            str(folder),
            {**config, "pretrained_cfg": source},
            safe_serialization=True,
            data_config=dict(plan.transform.settings),
        )
    return is_plain


def is_plain(plan: Plan, path: Path | None, layer: tuple[np.ndarray, np.ndarray], label_names: Sequence[str]) -> bool:
    """Return whether the folder that `write` writes with these arguments is a plain one of timm."""
    return _with_head(plan, path, layer, label_names)[1]


def _with_head(
    plan: Plan, path: Path | None, layer: tuple[np.ndarray, np.ndarray], label_names: Sequence[str]
) -> tuple[Any, bool]:
    """Return the network of timm, and whether the head is its classification layer; else it is as it was."""
    plan = plan.features()
    is_normalized = bool(plan.embedding and plan.embedding.is_normalized)
    weight, bias = _tensors(layer)
    features = plan.make(path).eval()
    # LABEL_0, LABEL_1 and so on in timm's config are read as no names at all
    if is_normalized or labels.are_placeholders(label_names):
        return _tower(features), False
    wanted = Headed(features, weight.shape[1], len(weight), is_normalized)
    wanted.head.load_state_dict({"weight": weight, "bias": bias})
    height, width = plan.transform.input_size
    batch = torch.rand(2, plan.transform.channels, height, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = wanted.eval()(batch)
    if _replace_head(_tower(features), weight, bias, batch, expected):
        return _tower(features), True
    return _tower(plan.make(path).eval()), False


def _tensors(layer: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    weight, bias = (torch.from_numpy(np.ascontiguousarray(each, np.float32)) for each in layer)
    return weight, bias


def _tower(features: nn.Module) -> Any:
    return features.network if isinstance(features, TimmFeatures) else features


@contextmanager
def _os_errors() -> Iterator[None]:
    """Translate a SafetensorError of the block into an OSError: the system's number is only in its message."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))  # the path, which may have the same, comes after it
        if not number:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _replace_head(
    tower: Any, weight: torch.Tensor, bias: torch.Tensor, batch: torch.Tensor, expected: torch.Tensor
) -> bool:
    """Replace the classification layer of a network of timm; return whether its logits are as expected."""
    try:
        tower.reset_classifier(len(weight))
    except Exception:  # some networks have no such layer, or another signature
        return False
    layer = tower.get_classifier()
    if not isinstance(layer, nn.Linear) or layer.weight.shape != weight.shape or layer.bias is None:
        return False
    layer.load_state_dict({"weight": weight, "bias": bias})
    with torch.inference_mode():
        difference = (tower.eval()(batch) - expected).abs().max()
    return bool(difference <= _TOLERANCE)
