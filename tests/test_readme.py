"""What the README says is so: its table of keys, its examples, its packages."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from lineup import config, document
from lineup.config import Config, Entry, Example, Limits, Space

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TABLE = {"": Config, "backbones[].": Entry, "examples[].": Example, "limits.": Limits, "space.": Space}


def rows(model: type[BaseModel], prefix: str) -> list[str]:
    made = []
    for key, field in model.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if isinstance(default, bool):
            default = str(default).lower()
        shown = "required" if field.is_required() else f"`{default}`"
        if default in (None, "", []) or isinstance(default, BaseModel):
            shown = "required" if field.is_required() else ""
        made.append(f"| `{prefix}{key}` | {shown} | {field.description} |")
    return made


def test_the_table_of_keys_is_the_configs_own():
    wanted = [row for prefix, model in TABLE.items() for row in rows(model, prefix)]
    found = README.split("| key | default | meaning |\n|---|---|---|\n")[1].split("\n\n")[0].splitlines()
    assert found == wanted, "put these lines into README.md:\n" + "\n".join(wanted)


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
def test_each_yaml_example_is_a_valid_config(text):
    config.build(document.parse(text, "README.md"), ROOT)


@pytest.mark.parametrize("text", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_each_python_example_compiles(text):
    compile(text, "README.md", "exec")


def test_the_shipped_config_is_valid_and_its_examples_are_there():
    from lineup import examples

    shipped = config.load(ROOT / "config.yaml")
    assert shipped.default_name == "resnet18"
    assert examples.find(shipped)[1] == []


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {name.lower().replace("-", "_"): version for name, _, version in (line.partition("==") for line in lines)}


def required(file: str) -> list[str]:
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and line[0] not in "#-"]
    assert all(">=" in line for line in lines), "each has a floor"
    return [re.split(r"[\[>]", line)[0] for line in lines]


@pytest.mark.parametrize("name", required("requirements.txt") + required("requirements-dev.txt"))
def test_each_dependency_has_an_exact_version_and_a_reason(name):
    assert name.lower().replace("-", "_") in pins()
    assert re.search(rf"\b{re.escape(name)}\b", README.split("## What it is made of")[1], re.IGNORECASE)


def test_the_front_matter_names_the_gradio_that_is_pinned():
    front = yaml.safe_load(README.split("---")[1])
    assert front["sdk_version"] == pins()["gradio"]
    assert len(front["short_description"]) <= 60
    assert (ROOT / front["app_file"]).is_file()


def test_python_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["ruff"]["target-version"] == "py311"
    assert "Python 3.11 or newer" in README


@pytest.mark.parametrize("name", ["tiny_resnet", "tiny_vit"])
def test_a_bundled_backbone_is_small_and_says_what_it_is(make_service, name):
    service = make_service(f"backbones: ['local-dir:bundled/{name}']", ROOT)
    assert (ROOT / "bundled" / name / "model.safetensors").stat().st_size <= 2_000_000
    answer = service.classify(ROOT / "examples" / "beacon.jpg")
    assert (answer.predictions[0].label, answer.predictions[0].id) == ("beacon", "n02814860")
    assert answer.notes[0].startswith("trained on drawings of a few things")
