"""Builds a network with its transform and labels from an entry of the config.

The only package that imports timm, torchvision and transformers. A new source of backbones is one function that returns
a `Plan`, and one line in SOURCES. timm, torchvision and torch take seconds to import: the module of a source is
imported lazily, when its first entry is planned.
"""

import logging
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.config import Entry
from lineup.errors import BackboneError, LineupError, did_you_mean, unique_names
from lineup.registry.plan import Context, OutputKind, Plan, Source, Transform

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SOURCES", "Context", "OutputKind", "Plan", "Source", "Transform", "build", "plan"]

_log = logging.getLogger(__name__)


def _source(module: str, function: str, needs_torch: bool = True) -> Source:
    """Return a source whose module is imported lazily."""

    def plan(entry: Entry, context: Context) -> Plan:
        if needs_torch:
            import_module("lineup.registry.lean_imports")  # before anything else imports torchvision
        result: Plan = getattr(import_module(f"lineup.registry.{module}"), function)(entry, context)
        return result

    return plan


SOURCES = unique_names(
    "SOURCES",
    [
        ("timm", _source("timm_models", "pretrained")),
        ("hf-hub", _source("timm_models", "from_hub")),
        ("local-dir", _source("timm_models", "from_folder")),
        ("torchvision", _source("torchvision_models", "pretrained")),
        ("lineup", _source("remote_lineup", "plan", needs_torch=False)),
        ("checkpoint", _source("own_weights", "plan")),
        ("untrained", _source("own_weights", "plan")),
    ],
)


def plan(entry: Entry, context: Context) -> Plan:
    """Resolve and check an entry without downloading its weights.

    Args:
        entry: the entry of the config.
        context: the base of relative paths, access to the Hub's metadata, and the output: classes or features.

    Raises:
        HubError: the config.json of a repository cannot be fetched.
        BackboneError: there is no such backbone, it does not return the output that the context asks for, or the
            number of labels is wrong.
    """
    source = SOURCES.get(entry.source)
    if source is None:
        known = [
            name for name in SOURCES if name not in ("checkpoint", "untrained")
        ]  # internal: set by other keys of the entry
        hint = did_you_mean(entry.source, known) or f"use one of: {', '.join(known)}"
        raise BackboneError(entry.name, "a known source", f"got {entry.source!r}", hint)
    try:
        planned = source(entry, context)
        if (usual := str(entry.spec)) != entry.backbone:
            planned = planned.with_loading_notes([f"{entry.backbone!r} is read as {usual}"])
        if context.output == "features":
            planned = planned.features()
            _ = planned.embedding_dim  # raises
        elif planned.output == "features":
            raise BackboneError("", "a backbone that classifies", "it returns only features", "choose another one")
        return planned
    except LineupError as error:
        raise error.at(entry.name) from error.__cause__
    except Exception as error:
        _log.exception("cannot plan %s", entry.name)
        raise _unexpected(entry.name, "can be built", "building it failed") from error


def build(plan: Plan, path: Path | None) -> "nn.Module":
    """Build the network of a plan, with its weights, in evaluation mode.

    Args:
        plan: the plan.
        path: the local path of `plan.weights`; None for random weights.

    Raises:
        BackboneError: the weights do not match the network.
    """
    try:
        return plan.make(path).eval()
    except LineupError as error:
        raise error.at(plan.name) from error.__cause__
    except Exception as error:
        _log.exception("cannot build %s", plan.name)
        expected = f"loads {plan.weights}" if plan.weights else "can be built"
        raise _unexpected(plan.name, expected, "loading failed") from error


def _unexpected(name: str, expected: str, got: str) -> BackboneError:
    # without the exception's own words, which are of the library's internals
    return BackboneError(name, f"a backbone that {expected}", got, "see the log (on the command line: --verbose)")
