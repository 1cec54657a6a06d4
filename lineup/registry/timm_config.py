"""Reads a config.json in timm's format, and says what is wrong with another one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
from timm.models._hub import _parse_model_cfg

from lineup.errors import BackboneError, brief, did_you_mean
from lineup.registry.plan import TRANSFORM_KEYS


def _refuse_misplaced(stored: Mapping[str, Any]) -> None:
    """Refuse settings of the transform where timm ignores them, as `save_for_hf(model_config=…)` writes them."""
    misplaced = [key for key in TRANSFORM_KEYS if key in stored and "pretrained_cfg" in stored]
    if misplaced:
        got = f"config.json has `{misplaced[0]}` beside it, where timm ignores it"
        remedy = "move it into `pretrained_cfg`, or write it in the entry, and delete it there"
        raise BackboneError(misplaced[0], "the settings of the transform in `pretrained_cfg`", got, remedy)


def read(folder: Path) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Read a config.json in timm's format: pretrained config, architecture, arguments.

    Raises:
        BackboneError: there is none, or it has another format.
    """
    try:
        stored = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if stored.get("model_args", {}) is None:  # as saved by transformers
            del stored["model_args"]
        _refuse_misplaced(stored)
        problem_type = stored.get("problem_type")
        cfg, architecture, arguments = _parse_model_cfg(stored, {"file": str(folder), "source": "local-dir"})
    except FileNotFoundError:
        raise BackboneError(
            "",
            f"{folder / 'config.json'}",
            "it does not exist",
            "create it with timm's save_for_hf, or write the architecture as `backbone` and the file as `checkpoint`",
        ) from None
    except OSError as error:
        raise BackboneError("", f"a file {folder / 'config.json'}", brief(error, line=0), "check it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BackboneError("", f"JSON in {folder / 'config.json'}", f"got {error}", "save it again") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise BackboneError(
            "",
            f"timm's format in {folder / 'config.json'}",
            f"{error} is missing" if isinstance(error, KeyError) else "a value is of another type",
            "create it with timm's save_for_hf",
        ) from None
    if not timm.is_model(architecture):
        hint = did_you_mean(str(architecture), timm.list_models()) or "a newer version of timm may have it"
        raise BackboneError("", "an architecture of timm in config.json", f"got {architecture!r}", hint)
    return {"problem_type": problem_type, **cfg}, architecture, dict(arguments or {})
