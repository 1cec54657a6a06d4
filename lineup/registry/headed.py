"""Folders of timm with a head beside the network: a linear layer on its features, which may be normalised first.

config.json has a block that describes it, and timm loads the network as if there were none::

    "lineup": {"head": "head.safetensors", "label_names": ["jay", "owl"], "is_normalized": true}
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from lineup.config import Entry
from lineup.errors import BackboneError, brief
from lineup.hub import checksums
from lineup.registry import labels, pretrained_folder, wordnet
from lineup.registry.plan import Context, Plan, entry_labels, resolve_labels
from lineup.registry.remote import RemoteEmbedding

BLOCK, FILE = "lineup", "head.safetensors"


class Headed(nn.Module):
    """A network that returns features, and a linear layer on them.

    Args:
        tower: returns features ``(N, dim)``.
        dim: the number of features.
        num_classes: the number of classes.
        is_normalized: whether features have length 1 before the layer.
    """

    def __init__(self, tower: nn.Module, dim: int, num_classes: int, is_normalized: bool) -> None:
        super().__init__()
        self.tower, self.is_normalized = tower, is_normalized
        self.head = nn.Linear(dim, num_classes)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        features = self.tower(batch)
        return self.head(nn.functional.normalize(features, dim=-1) if self.is_normalized else features)


def tower_of(network: nn.Module) -> nn.Module:
    """Return the network without its head."""
    assert isinstance(network, Headed)
    return network.tower


def block_of(folder: Path) -> dict[str, Any] | None:
    """Return the block in a folder's config.json; None if it has none, or if timm's reader is to say what is wrong.

    Raises:
        BackboneError: it is no such block.
    """
    block = None
    if (folder / "config.json").is_file():
        with suppress(BackboneError):
            block = pretrained_folder.read_json(folder / "config.json").get(BLOCK)
    if block is None:
        return None
    names = block.get("label_names") if isinstance(block, Mapping) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) < 2:
        expected = f"`{BLOCK}` in config.json with `label_names` of two classes or more"
        raise BackboneError("", expected, f"got {str(block)[:60]}", "save the folder again")
    return dict(block)


def plan(entry: Entry, context: Context, block: Mapping[str, Any], head: Path, tower: Plan) -> Plan:
    """Plan a network with a head.

    Args:
        entry: the entry of the config.
        context: what a source needs besides the entry.
        block: as `block_of` returns it.
        head: the file of the layer.
        tower: the plan of the network that returns features.

    Raises:
        BackboneError: the head does not fit the network or the labels.
    """
    names, is_normalized = block["label_names"], bool(block.get("is_normalized"))
    tensors, dim, embedding = _tensors(head), tower.embedding_dim, tower.embedding
    assert embedding  # it has features
    assert not isinstance(embedding, RemoteEmbedding)
    shape = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    if shape != (expected := {"weight": (len(names), dim), "bias": (len(names),)}):
        raise BackboneError("", f"tensors of the shapes {expected} in {head.name}", f"got {shape}", "save it again")
    of_weights = labels.from_hub(
        names, None, wordnet.wordnet(), f"label_names of {labels.shown_target(entry.spec.target)}"
    )

    def network(of: Callable[[], nn.Module]) -> Headed:
        return Headed(of(), dim, len(names), is_normalized)

    def make(path: Path | None) -> nn.Module:
        made = network(lambda: tower.make(path))
        made.head.load_state_dict(_tensors(head))
        return made

    return replace(
        tower,
        output="classes",
        labels=resolve_labels(entry_labels(entry, context), of_weights, len(names)),
        parameters=tower.parameters + len(names) * (dim + 1),
        make=make,
        head=f"head ({dim} → {len(names)})",
        loading_notes=(),  # those of the tower are on its own classes
        fingerprint=tower.fingerprint and f"{tower.fingerprint} {checksums.sha256(head)} {is_normalized}",
        embedding=replace(
            embedding,
            create=lambda: network(lambda: embedding.network(embedding.create())),
            features_of=tower_of,
        ),
    )


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own, and OSError
        expected = f"the head in {path.name}, beside config.json"
        raise BackboneError("", expected, brief(error, line=0), "save the folder again") from None
