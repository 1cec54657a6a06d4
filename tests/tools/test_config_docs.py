"""The generated JSON Schema and README table match the config's models."""

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
NOT_IN_SCHEMA = (  # constraints that the JSON Schema does not express
    "expected each (key|name) once",
    "expected (the name of|a name with|a name of 1 to)",
    "expected (resnet18, without|hf-hub:|source:|torchvision/|lineup:https|no `pretrained: false` beside)",
    "expected (the class indices|an index (on|and)|each class index once)",
    "expected a folder(, or hf:| that is neither)",
    "expected (auto, ray://host:port|`min` of at most)",
    "expected (an origin|an address or a network|one limit) such as",
    "expected (a finite number|labels that are not empty|mean and std of|either `checkpoint`|a checkpoint only|no @B)",
)


def values(text: str) -> object:
    return yaml_source.parse(text, "config.yaml").values


def parsed() -> list[tuple[str, object, str]]:
    """Return the bad configs that are valid YAML: text, parsed values and first error message."""
    cases = []
    for text, message, *_ in WRONG:
        with suppress(ConfigError):
            cases.append((text, values(text), message))
    return cases


@pytest.mark.parametrize(("path", "text"), list(config_docs.files()), ids=lambda value: getattr(value, "name", ""))
def test_generated_files_are_up_to_date(path, text):
    assert path.read_text(encoding="utf-8") == text, "stale: run .venv/bin/python -m tools.config_docs"


def test_schema_is_valid_and_describes_every_key():
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
    objects = [VALIDATOR.schema, *(item.get("anyOf", [item])[-1] for item in VALIDATOR.schema["$defs"].values())]
    assert all(key["description"] for item in objects for key in item["properties"].values())


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *RECIPES], ids=lambda path: path.stem)
def test_shipped_configs_are_valid_and_name_the_schema_in_line_1(path):
    text = path.read_text(encoding="utf-8")
    assert list(VALIDATOR.iter_errors(values(text))) == []
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert named, "editors read the schema from the first line"
    assert (path.parent / named[1]).resolve() == config_docs.SCHEMA


@pytest.mark.parametrize("text", [*BLOCKS, *GOOD])
def test_good_configs_are_valid(text):
    assert list(VALIDATOR.iter_errors(values(text))) == []


def test_bad_configs_are_invalid_where_the_schema_can_express_it():
    passed = [(text, message) for text, value, message in parsed() if VALIDATOR.is_valid(value)]
    assert [text for text, message in passed if not re.search("|".join(NOT_IN_SCHEMA), message)] == []
    assert len(parsed()) - len(passed) >= 50
