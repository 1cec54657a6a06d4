import ast
import copy
import json
import pickle
from importlib import import_module
from pathlib import Path

import pytest

from lineup.errors import (
    BackboneError,
    BusyError,
    ClientDisconnected,
    ConfigError,
    ForwardTimeout,
    HubError,
    ImageError,
    LineupError,
    UnreachableError,
    brief,
    unique_names,
)
from lineup.hub.problems import HubRequestError

ROOT = Path(__file__).parents[1]
ERROR_TYPES = (
    LineupError,
    BackboneError,
    ForwardTimeout,
    HubError,
    UnreachableError,
    ImageError,
    BusyError,
    HubRequestError,
)
ERRORS = [kind("w.bin", "a file", "got 'x'", "fix it") for kind in ERROR_TYPES]
ERRORS += [ClientDisconnected(), ConfigError("a: expected b; got c", "d: expected e; got f")]
kinds = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


class CustomError(BackboneError):
    """An error of a fork, with another constructor signature and an extra attribute."""

    def __init__(self, size: int, *, unit: str) -> None:
        super().__init__("size", f"less {unit}", f"got {size} {unit}")
        self.size = size


# --- message ---


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (("a", "b", "got c", "do d"), "a: expected b; got c; do d"),
        (("a", "b", "there is none", ""), "a: expected b; there is none"),
        (("a", "b", "", "do d"), "a: expected b; do d"),
        (("a", "b", "", ""), "a: expected b"),
        (("a", "", "c", "do d"), "a: c; do d"),
        (("a", "", "c", ""), "a: c"),
        (("", "b", "got c", "do d"), "expected b; got c; do d"),
        (("", "", "c", ""), "c"),
        (("a", "", "", ""), "a"),
    ],
)
def test_message_omits_empty_parts(fields, text):
    error = LineupError(*fields)
    assert str(error) == text
    assert (error.where, error.expected, error.got, error.remedy) == fields


def test_config_error_has_one_line_per_problem():
    assert str(ConfigError("a", "b")) == "a\nb"
    assert ConfigError("a", "b").problems == ("a", "b")


# --- prefixing ---


@kinds
@pytest.mark.parametrize("name", ["resnet18", "hf-hub:me/pets", "a; b: c"])
def test_at_adds_the_prefix_once(error, name):
    named = error.at(name)
    assert str(named) == f"{name}: {error}"
    assert type(named) is type(error)
    assert (named.expected, named.got, named.remedy) == (error.expected, error.got, error.remedy)
    assert str(named.at(name)) == str(named)
    assert not str(error).startswith(name)  # the original is unchanged


def test_at_compares_the_whole_prefix():
    assert LineupError("ab", "x", "y").at("a").where == "a: ab"
    assert LineupError("a:b", "x", "y").at("a").where == "a: a:b"
    assert LineupError("a: b", "x", "y").at("a").where == "a: b"
    assert LineupError("a", "x", "y").at("a").where == "a"


def test_at_keeps_the_cause_and_extra_attributes():
    error = CustomError(3, unit="MB")
    error.__cause__ = ValueError("deep")
    named = error.at("a")
    assert str(named) == "a: size: expected less MB; got 3 MB"
    assert (type(named), named.size, named.__cause__) == (CustomError, 3, error.__cause__)
    assert ConfigError("x", "y").at("a").problems == ("x", "y")


@kinds
def test_errors_can_be_copied_and_pickled(error):
    for clone in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert (type(clone), str(clone), vars(clone)) == (type(error), str(error), vars(error))


# --- serialization ---


def test_to_json_has_the_message_and_its_parts():
    fields = LineupError("a; b", "c", "got 'd; e'", "do f").to_json()
    assert list(fields) == ["error", "where", "expected", "got", "remedy"]
    assert json.loads(json.dumps(fields)) == {
        "error": "a; b: expected c; got 'd; e'; do f",
        "where": "a; b",
        "expected": "c",
        "got": "'d; e'",
        "remedy": "do f",
    }
    assert LineupError("a", "b", "there is none").to_json()["got"] == "there is none"


@pytest.mark.parametrize(
    ("exception", "arguments", "text"),
    [
        (ValueError("it is\n  odd \n"), {}, "it is odd"),
        (ValueError("first\nsecond\n"), {"line": 0}, "first"),
        (ValueError("first\nsecond\n\n"), {"line": -1}, "second"),
        (ValueError("x" * 300), {}, "x" * 200),
        (ValueError("x" * 300), {"max_chars": 250}, "x" * 250),
        (ValueError(), {}, "an error without a message"),
        (ValueError(" \n "), {"line": -1}, "an error without a message"),
        (KeyError("a"), {"line": 0}, "'a'"),
    ],
)
def test_brief_summarizes_an_exception_in_one_line(exception, arguments, text):
    assert brief(exception, **arguments) == text


# --- use in the package ---


def constructor_calls():
    """Yield the location and AST node of each call that constructs a LineupError of four parts."""
    for path in [ROOT / "app.py", *sorted((ROOT / "lineup").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {
                kind.__name__ for kind in ERROR_TYPES
            }:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def is_preformatted(call):
    """Return whether a call passes a preformatted message instead of its parts."""
    texts = [ast.unparse(argument) for argument in call.args]
    parts = [text.lstrip("f").strip("'\"") for text in texts]
    return len(parts) < 3 or any(part.startswith("expected ") or ": expected " in part for part in parts)


def test_errors_are_constructed_from_their_parts():
    calls = list(constructor_calls())
    assert len(calls) > 60
    assert [location for location, call in calls if is_preformatted(call)] == []


@pytest.mark.parametrize(
    "text",
    [
        "BackboneError('a: expected b; got c; do d')",
        "BackboneError(f'{a}: expected b; got c')",
        "BackboneError(text)",
        "LineupError('a', 'expected b', 'got c')",
        "LineupError('', '', 'a: expected b; got c')",
    ],
)
def test_preformatted_messages_are_detected(text):
    assert is_preformatted(ast.parse(text, mode="eval").body)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("lineup.registry", "SOURCES"),
        ("lineup.engines.choice", "ENGINES"),
        ("lineup.images.formats", "FORMATS"),
        ("lineup.features", "FEATURES"),
    ],
)
def test_duplicate_name_in_an_extension_point_raises(module, name):
    table = getattr(import_module(module), name)
    assert unique_names(name, table.items()) == table
    key = next(iter(table))
    with pytest.raises(ValueError, match=f"{name}: expected unique names; got '{key}' twice; rename one of them"):
        unique_names(name, [*table.items(), (key, table[key])])
