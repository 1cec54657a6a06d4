"""Converts pydantic's validation errors to messages with a position in the file."""

import re
from typing import Any

from pydantic import BaseModel

from lineup.config import yaml_source
from lineup.config.models import Config, Entry, Example, Limits, Space
from lineup.config.sections import Cluster, Evaluation, Feedback, Replicas, Rest, Training
from lineup.config.yaml_source import Document, Location, format_value
from lineup.errors import did_you_mean

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "literal_error": "one of {expected}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "text that is not empty",
}
_EXPECTED_OF_UNION = {  # keys that accept more than one type
    "examples": "a folder, or a list of images",
    "labels": "a file, a list of names, or a mapping from index to name",
    "input_size": "a whole number, or a list of two",
    "mean": "a number, or a list of three",
    "std": "a number, or a list of three",
}


def explain(source: Document, problem: Any) -> str:
    """Convert one of pydantic's errors to *where: expected X; got Y; remedy*."""
    trail, value, kind = location(source, problem), problem["input"], problem["type"]
    where = source.where(trail)
    if kind == "extra_forbidden":
        known = list(_model_at(trail[:-1]).model_fields)
        hint = did_you_mean(str(trail[-1]), known) or f"remove it, or use one of: {', '.join(known)}"
        if len(trail) > 1 and trail[-1] in Config.model_fields:
            hint = f"move it out of `{trail[-2]}`, to the top level"
        if (key := str(trail[-1]).partition(":"))[0] in known:
            hint = f"write a space after the colon: {key[0]}: {key[2]}"
        return f"{where}: expected a known key; got {trail[-1]!r}; {hint}"
    if kind == "missing" and isinstance(trail[-1], int):
        where = source.where(trail[:-1])
        return f"{where}: expected {trail[-1] + 1} numbers; got {format_value(value)}{_remedy(trail, value)}"
    if kind == "missing":
        return f"{where}: expected a value; there is none; add `{trail[-1]}:`"
    if kind == "value_error":
        return f"{where}: {yaml_source.printable(str(problem['ctx']['error']))}"
    if kind in ("too_short", "too_long"):
        minimum = kind == "too_short"
        length = problem["ctx"]["min_length" if minimum else "max_length"]
        expected = f"{length} {'or more' if minimum else 'at most'}"
        return f"{where}: expected {expected}; got {format_value(value)}{_remedy(trail, value)}"
    expected = _EXPECTED.get(kind, problem["msg"]).format(**problem.get("ctx", {}))
    if kind == "tuple_type" or (kind.endswith("_type") and not isinstance(value, str | list)):
        expected = _EXPECTED_OF_UNION.get(str(trail[-1]) if trail else "", expected)
    hint = "; put it in quotes" if kind == "string_type" and isinstance(value, bool | int | float) else ""
    if kind == "float_type" and re.fullmatch(r"[-+]?\d+e[-+]?\d+", str(value)):
        hint = f"; write it with a decimal point: {str(value).replace('e', '.0e')}"
    return f"{where}: expected {expected}; got {format_value(value)}{hint or _remedy(trail, value)}"


def _remedy(trail: Location, value: Any) -> str:
    """Return the remedy for an invalid value: nearly every key is optional."""
    key = next((step for step in reversed(trail) if isinstance(step, str)), "")
    if key in ("", "backbones"):  # the expectation is remedy enough
        return ""
    action = "add one" if value is None else "fix it"
    return f"; {action}" if key in ("backbone", "image") else f"; {action}, or leave `{key}` out"


def location(source: Document, problem: Any) -> Location:
    """Strip the tags of union branches from pydantic's location, leaving the keys and indices of the file."""
    trail: Location = ()
    for step in problem["loc"]:
        missing = problem["type"] == "missing" and step is problem["loc"][-1]
        if missing or (*trail, step) in source.positions:
            trail = (*trail, step)
    return trail


def _model_at(trail: Location) -> type[BaseModel]:
    models: dict[str | int, type[BaseModel]] = {
        "backbones": Entry,
        "examples": Example,
        "limits": Limits,
        "evaluation": Evaluation,
        "training": Training,
        "feedback": Feedback,
        "rest": Rest,
        "cluster": Replicas if "replicas" in trail else Cluster,
        "space": Space,
    }
    return models[trail[0]] if trail else Config
