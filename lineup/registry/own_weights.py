"""Architectures of timm and torchvision with the user's own weights, or with random weights."""

from lineup.config import Entry
from lineup.errors import BackboneError
from lineup.registry import checkpoint, timm_models, torchvision_models
from lineup.registry.plan import Context, Plan

ARCHITECTURES = {"timm": timm_models.architecture, "torchvision": torchvision_models.architecture}


def plan(entry: Entry, context: Context) -> Plan:
    """Plan an entry with `checkpoint`, or with `pretrained: false`."""
    if entry.spec.source not in ARCHITECTURES:
        raise BackboneError(
            "", "an architecture of timm or torchvision with `pretrained: false`", f"got {entry.backbone!r}"
        )
    return checkpoint.plan(entry, context, ARCHITECTURES[entry.spec.source](entry))
