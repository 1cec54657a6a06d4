import ast
import copy
import json
import pickle
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
)
from lineup.hub.problems import RefusalError

ROOT = Path(__file__).parents[1]
FORM = (LineupError, BackboneError, ForwardTimeout, HubError, UnreachableError, ImageError, BusyError, RefusalError)
MADE = [kind("w.bin", "a file", "got 'x'", "mend it") for kind in FORM]
MADE += [ClientDisconnected(), ConfigError("a: expected b; got c", "d: expected e; got f")]
kinds = pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)


class Odd(BackboneError):
    """A kind of a fork, with a constructor of its own."""

    def __init__(self, size: int, *, unit: str) -> None:
        super().__init__("size", f"less {unit}", f"got {size} {unit}")
        self.size = size


# --- the text ---


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
def test_the_text_is_made_of_what_is_there(fields, text):
    error = LineupError(*fields)
    assert str(error) == text
    assert (error.where, error.expected, error.got, error.remedy) == fields


def test_several_problems_of_a_config_are_a_line_each():
    assert str(ConfigError("a", "b")) == "a\nb"
    assert ConfigError("a", "b").problems == ("a", "b")


# --- where it is ---


@kinds
@pytest.mark.parametrize("name", ["resnet18", "hf-hub:me/pets", "a; b: c"])
def test_a_name_comes_in_front_once_and_all_else_stays(error, name):
    named = error.at(name)
    assert str(named) == f"{name}: {error}"
    assert type(named) is type(error)
    assert (named.expected, named.got, named.remedy) == (error.expected, error.got, error.remedy)
    assert str(named.at(name)) == str(named)
    assert not str(error).startswith(name)  # the error itself is left as it was


def test_a_name_is_in_front_only_if_it_is_all_of_it():
    assert LineupError("ab", "x", "y").at("a").where == "a: ab"
    assert LineupError("a:b", "x", "y").at("a").where == "a: a:b"
    assert LineupError("a: b", "x", "y").at("a").where == "a: b"
    assert LineupError("a", "x", "y").at("a").where == "a"


def test_what_caused_it_stays_and_so_does_what_a_kind_holds_beside():
    error = Odd(3, unit="MB")
    error.__cause__ = ValueError("deep")
    named = error.at("a")
    assert str(named) == "a: size: expected less MB; got 3 MB"
    assert (type(named), named.size, named.__cause__) == (Odd, 3, error.__cause__)
    assert ConfigError("x", "y").at("a").problems == ("x", "y")


@kinds
def test_an_error_can_be_copied_and_go_to_another_process(error):
    for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))


# --- for programs ---


def test_programs_get_the_text_and_its_parts():
    found = LineupError("a; b", "c", "got 'd; e'", "do f").to_json()
    assert list(found) == ["error", "where", "expected", "got", "remedy"]
    assert json.loads(json.dumps(found)) == {
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
        (ValueError("x" * 300), {"most": 250}, "x" * 250),
        (ValueError(), {}, "ValueError"),
        (ValueError(" \n "), {"line": -1}, "ValueError"),
        (KeyError("a"), {"line": 0}, "'a'"),
    ],
)
def test_the_exceptions_of_others_are_told_in_one_line(exception, arguments, text):
    assert brief(exception, **arguments) == text


# --- how the house raises them ---


def raised():
    """Yield each place in the house that makes an error of a kind that has the form."""
    for path in [ROOT / "app.py", *sorted((ROOT / "lineup").rglob("*.py"))]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in {each.__name__ for each in FORM}:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def unformed(call):
    """Tell whether a call hands over a text that was put together by hand, instead of its parts."""
    texts = [ast.unparse(argument) for argument in call.args]
    parts = [text.lstrip("f").strip("'\"") for text in texts]
    return len(parts) < 3 or any(part.startswith("expected ") or ": expected " in part for part in parts)


def test_every_error_is_made_of_its_parts():
    found = list(raised())
    assert len(found) > 60
    assert [where for where, call in found if unformed(call)] == []


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
def test_a_text_put_together_by_hand_is_found(text):
    assert unformed(ast.parse(text, mode="eval").body)
