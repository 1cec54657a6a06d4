"""What editors are told of a config is what the config itself says."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from bad_configs import GOOD, WRONG
from jsonschema import Draft202012Validator

from lineup.config import yaml_source
from lineup.errors import ConfigError
from tools import config_docs

ROOT = Path(__file__).parents[2]
VALIDATOR = Draft202012Validator(json.loads(config_docs.SCHEMA.read_text(encoding="utf-8")))
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
BLOCKS = re.findall(r"```yaml\n(.*?)```", config_docs.README.read_text(encoding="utf-8"), re.DOTALL)
BEYOND = (  # wrong by more than a key, a type or a range: a schema cannot tell
    "expected each (key|name) once",
    "expected (the name of|a name that says|a name that …|a name of 1 to)",
    "expected (resnet18, without|hf-hub:|source:|torchvision/)",
    "expected (a finite number|labels that are not empty|std of three|either `checkpoint`|a checkpoint only|no @B)",
)


def values(text: str) -> object:
    return yaml_source.parse(text, "config.yaml").values


def parsed() -> list[tuple[str, object, str]]:
    """Return the bad configs that are YAML: their text, what stands in it, and what is wrong first."""
    found = []
    for text, message, *_ in WRONG:
        with suppress(ConfigError):
            found.append((text, values(text), message))
    return found


@pytest.mark.parametrize(("path", "text"), list(config_docs.files()), ids=lambda value: getattr(value, "name", ""))
def test_what_is_written_down_is_what_the_classes_say(path, text):
    assert path.read_text(encoding="utf-8") == text, "stale: run .venv/bin/python -m tools.config_docs"


def test_it_is_a_json_schema_and_each_key_has_its_description():
    Draft202012Validator.check_schema(VALIDATOR.schema)
    keys = VALIDATOR.schema["properties"]
    assert list(keys)[:3] == ["title", "description", "default"]
    assert keys["top_k"] == {
        "default": 3,
        "description": "how many labels to show",
        "maximum": 1000,
        "minimum": 1,
        "type": "integer",
    }
    kinds = [VALIDATOR.schema, *(kind.get("anyOf", [kind])[-1] for kind in VALIDATOR.schema["$defs"].values())]
    assert all(key["description"] for kind in kinds for key in kind["properties"].values())


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *RECIPES], ids=lambda path: path.stem)
def test_what_is_shipped_is_valid_and_names_the_schema_in_its_first_line(path):
    text = path.read_text(encoding="utf-8")
    assert list(VALIDATOR.iter_errors(values(text))) == []
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert named, "editors look in the first line"
    assert (path.parent / named[1]).resolve() == config_docs.SCHEMA


@pytest.mark.parametrize("text", [*BLOCKS, *GOOD])
def test_a_good_config_is_valid(text):
    assert list(VALIDATOR.iter_errors(values(text))) == []


def test_a_bad_config_is_invalid_unless_it_is_wrong_in_what_no_schema_can_tell():
    passed = [(text, message) for text, value, message in parsed() if VALIDATOR.is_valid(value)]
    assert [text for text, message in passed if not re.search("|".join(BEYOND), message)] == []
    assert len(parsed()) - len(passed) >= 50
