"""Turns a config's entry into a network with its transform and its labels.

The only place that knows timm and torchvision. `SOURCES` is the door for a new kind of
backbone: one function that makes a `Plan`, and one line.
"""

import logging
from pathlib import Path

from lineup.registry import lean  # noqa: F401  (before anything else imports torchvision)

# isort: split
from torch import nn

from lineup.config import Entry, did_you_mean
from lineup.errors import BackboneError, LineupError
from lineup.registry import checkpoint, timm_models, torchvision_models
from lineup.registry.plan import Context, Plan, Source, Transform

__all__ = ["SOURCES", "Context", "Plan", "Source", "Transform", "build", "plan"]

_log = logging.getLogger(__name__)


def _own(entry: Entry, context: Context) -> Plan:
    libraries = {"timm": timm_models.architecture, "torchvision": torchvision_models.architecture}
    if entry.spec.source not in libraries:
        raise BackboneError(
            f"expected an architecture of timm or torchvision beside `pretrained: false`; got {entry.backbone!r}"
        )
    return checkpoint.plan(entry, context, libraries[entry.spec.source](entry))


SOURCES: dict[str, Source] = {
    "timm": timm_models.published,
    "hf-hub": timm_models.from_hub,
    "local-dir": timm_models.from_folder,
    "torchvision": torchvision_models.published,
    "checkpoint": _own,
    "untrained": _own,
}


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
        hint = did_you_mean(entry.source, known) or f"; use one of: {', '.join(known)}"
        raise BackboneError(f"{entry.name}: expected a known source; got {entry.source!r}{hint}")
    try:
        return source(entry, context)
    except LineupError as error:
        raise type(error)(f"{entry.name}: {error}") from error.__cause__
    except Exception as error:
        _log.exception("cannot plan %s", entry.name)
        raise BackboneError(_unexpected(entry.name, "can be built", error)) from error


def build(plan: Plan, path: Path | None) -> nn.Module:
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
        raise type(error)(f"{plan.name}: {error}") from error.__cause__
    except Exception as error:
        _log.exception("cannot build %s", plan.name)
        raise BackboneError(_unexpected(plan.name, f"loads {plan.weights}", error)) from error


def _unexpected(name: str, expected: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return f"{name}: expected a backbone that {expected}; got {type(error).__name__}: {reason}; the log has the rest"
