"""Turns a config's entry into a network with its transform and its labels.

The only place that knows timm and torchvision. `SOURCES` is the door for a new kind of backbone: one function that
makes a `Plan`, and one line. timm, torchvision and torch take seconds to import, so that a source's module is
imported when its first entry is planned.
"""

import logging
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lineup.config import Entry
from lineup.errors import BackboneError, LineupError, brief, did_you_mean
from lineup.registry.plan import Context, Plan, Source, Transform

if TYPE_CHECKING:
    from torch import nn

__all__ = ["SOURCES", "Context", "Plan", "Source", "Transform", "build", "by_name", "plan"]

_log = logging.getLogger(__name__)


def _source(module: str, function: str) -> Source:
    """Return a source whose module is imported at its first use."""

    def plan(entry: Entry, context: Context) -> Plan:
        import_module("lineup.registry.lean_imports")  # before anything else imports torchvision
        made: Plan = getattr(import_module(f"lineup.registry.{module}"), function)(entry, context)
        return made

    return plan


def by_name(sources: Iterable[tuple[str, Source]]) -> dict[str, Source]:
    """Index sources by name.

    Raises:
        ValueError: two sources have the same name.
    """
    index: dict[str, Source] = {}
    for name, source in sources:
        if name in index:
            raise ValueError(f"sources: expected unique names; got {name!r} twice; rename one of them")
        index[name] = source
    return index


SOURCES = by_name(
    [
        ("timm", _source("timm_models", "pretrained")),
        ("hf-hub", _source("timm_models", "from_hub")),
        ("local-dir", _source("timm_models", "from_folder")),
        ("torchvision", _source("torchvision_models", "pretrained")),
        ("checkpoint", _source("own_weights", "plan")),
        ("untrained", _source("own_weights", "plan")),
    ]
)


def plan(entry: Entry, context: Context) -> Plan:
    """Work out what an entry means, without its weights.

    Args:
        entry: what the config says.
        context: where relative paths start, and how a repository's config.json is fetched.

    Raises:
        HubError: when a repository's config.json cannot be fetched.
        BackboneError: when there is no such backbone, it cannot classify, or its labels do not fit.
    """
    source = SOURCES.get(entry.source)
    if source is None:
        known = [name for name in SOURCES if name not in ("checkpoint", "untrained")]  # these are not written
        hint = did_you_mean(entry.source, known) or f"use one of: {', '.join(known)}"
        raise BackboneError(entry.name, "a known source", f"got {entry.source!r}", hint)
    try:
        return source(entry, context)
    except LineupError as error:
        raise error.at(entry.name) from error.__cause__
    except Exception as error:
        _log.exception("cannot plan %s", entry.name)
        raise _unexpected(entry.name, "can be built", error) from error


def build(plan: Plan, path: Path | None) -> "nn.Module":
    """Make a plan's network, with its weights, ready to answer.

    Args:
        plan: what to build.
        path: where `plan.weights` was fetched to; None for random weights.

    Raises:
        BackboneError: when the file does not hold this network's weights.
    """
    try:
        return plan.make(path).eval()
    except LineupError as error:
        raise error.at(plan.name) from error.__cause__
    except Exception as error:
        _log.exception("cannot build %s", plan.name)
        raise _unexpected(plan.name, f"loads {plan.weights}", error) from error


def _unexpected(name: str, expected: str, error: Exception) -> BackboneError:
    got = f"got {type(error).__name__}: {brief(error, most=300)}"
    return BackboneError(name, f"a backbone that {expected}", got, "the log has the rest")
