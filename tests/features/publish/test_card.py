"""The README's front matter: derived from the config, written by one command, and noticed when it is stale."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from commands import run_command
from hub import timm_repo
from networks import seeded_timm

from lineup import config
from lineup.features.publish import card
from lineup.service import Service

ROOT = Path(__file__).parents[3]
BODY = "\n# Mine\n\n---\nA rule stands above.\n"


@pytest.fixture
def beside(tmp_path, capsys, fresh_cache, hub):
    """Return a function that runs a command beside a config's text: its status, and what it printed."""

    def run(text: str, *arguments: str) -> tuple[int, str]:
        (tmp_path / "config.yaml").write_text(text)
        status = run_command([*arguments, "--config", str(tmp_path / "config.yaml")])
        return status, "".join(capsys.readouterr())

    return run


def front(readme: Path) -> dict[str, object]:
    return yaml.safe_load(readme.read_text().split("---")[1])


def test_a_missing_readme_is_made_and_a_second_run_changes_nothing(beside, tmp_path):
    text = "title: Birds\ndescription: Which bird?\nbackbones: ['local-dir:x', torchvision/resnet18]"
    assert beside(text, "readme") == (0, f"{tmp_path / 'README.md'}: written\n")
    assert front(tmp_path / "README.md") == {
        "title": "Birds",
        "emoji": "🖼️",
        "colorFrom": "indigo",
        "colorTo": "pink",
        "sdk": "gradio",
        "sdk_version": "6.31.0",
        "python_version": "3.12",
        "app_file": "app.py",
        "short_description": "Which bird?",
        "license": "apache-2.0",
        "tags": ["image-classification", "timm", "torchvision", "mcp-server"],
        "suggested_hardware": "zero-a10g",
    }
    assert "# Birds\n\nWhich bird?\n" in (tmp_path / "README.md").read_text()
    assert beside(text, "readme") == (0, f"{tmp_path / 'README.md'}: nothing changed\n")
    assert json.loads(beside(text, "readme", "--json")[1]) == {"file": str(tmp_path / "README.md"), "changed": False}


@pytest.mark.parametrize(
    "before",
    ["---\ntitle: old\npinned: true\nmodels: [gone/gone]\n---\n", "---\r\npinned: true\r\n---\r\n"],
)
def test_the_body_and_the_keys_that_are_not_derived_stay(beside, tmp_path, before):
    (tmp_path / "README.md").write_bytes((before + BODY).encode())
    assert beside("title: 'A: b # c'\nbackbones: [torchvision/resnet18]", "readme")[0] == 0
    text = (tmp_path / "README.md").read_bytes().decode()
    assert text.endswith("\n---\n" + BODY)
    assert (front(tmp_path / "README.md")["title"], front(tmp_path / "README.md")["pinned"]) == ("A: b # c", True)
    assert "models" not in front(tmp_path / "README.md")


@pytest.mark.parametrize("before", ["", "---\nnot: [closed\n---\n", "---\n- a list\n---\n"])
def test_what_is_no_front_matter_gives_way_and_the_body_stays(beside, tmp_path, before):
    (tmp_path / "README.md").write_text(before + "# Mine\n")
    beside("backbones: [torchvision/resnet18]", "readme")
    assert (tmp_path / "README.md").read_text().endswith("\n---\n# Mine\n")
    assert front(tmp_path / "README.md")["sdk"] == "gradio"


MANY = """
backbones:
  - resnet18
  - {name: again, backbone: resnet18.a1_in1k}
  - {backbone: resnet34, pretrained: false}
  - torchvision/squeezenet1_1
  - hf-hub:me/gated
  - hf-hub:me/private
  - hf-hub:me/nowhere
  - hf-hub:me/pets@v2
  - hf-hub:me/pickled
"""
FOUND = [
    "timm/resnet18.a1_in1k model.safetensors main",
    "me/pets config.json,model.safetensors v2",
    "me/pickled config.json,pytorch_model.bin main",
]
MODELS = ["timm/resnet18.a1_in1k", "me/gated", "me/private", "me/nowhere", "me/pets", "me/pickled"]


@pytest.fixture
def many(hub, publish):
    publish("resnet18.a1_in1k")
    network = seeded_timm("test_resnet", num_classes=2)
    hub.put("me/pets", timm_repo(network), branch="v2")
    for closed in ("gated", "private"):
        hub.put(f"me/{closed}", timm_repo(network))
        hub.faults[f"me/{closed}"] = closed
    hub.put("me/pickled", timm_repo(network, safe=False))


@pytest.mark.usefixtures("many")
def test_what_the_hub_gives_anybody_is_fetched_while_it_builds(beside, tmp_path, monkeypatch, hub):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")  # a build has none
    beside(MANY, "readme")
    made = front(tmp_path / "README.md")
    assert (made["models"], made["preload_from_hub"]) == (MODELS, FOUND)
    hub.requests.clear()
    beside(MANY, "readme", "--offline")
    assert hub.requests == []
    assert front(tmp_path / "README.md") == made  # what was found before is believed


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("how", ["offline", "gone", "500"])
def test_what_nobody_could_be_asked_about_is_timms_own_alone(beside, tmp_path, hub, how):
    if how == "gone":
        with hub.gone():
            beside(MANY, "readme")
    else:
        hub.faults["timm/resnet18.a1_in1k"] = "500"
        beside(MANY, "readme", *(["--offline"] if how == "offline" else []))
        assert len(hub.requests) <= (how == "500")  # one that fails is not asked again for the others
    made = front(tmp_path / "README.md")
    assert (made["models"], made["preload_from_hub"]) == (MODELS, FOUND[:1])


def test_another_revision_is_no_reason_to_forget_what_was_found(beside, tmp_path):
    (tmp_path / "README.md").write_text(f"---\nmodels: [me/pets]\npreload_from_hub: ['{FOUND[1]}']\n---\n")
    beside("backbones: ['hf-hub:me/pets@v3']", "readme", "--offline")
    assert front(tmp_path / "README.md")["preload_from_hub"] == ["me/pets config.json,model.safetensors v3"]


def test_a_config_without_timm_needs_no_torch(env, tmp_path):
    (tmp_path / "config.yaml").write_text("backbones: ['hf-hub:me/pets', torchvision/resnet18]")
    imports = "import sys; from lineup.cli.main import main; from lineup.features import FEATURES; "
    code = f"{imports}main(['readme'], FEATURES.values()); print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert told.stdout.endswith("README.md: written\nFalse\n"), told.stderr


def test_a_stale_one_is_a_note_of_check_and_no_error(beside, tmp_path):
    text = "backbones: [{backbone: torchvision/squeezenet1_1, pretrained: false}]\n"
    assert "note: README.md" not in beside(text, "check", "--offline")[1]  # there is none: nobody wants a Space
    beside(text, "readme", "--offline")
    assert "note: README.md" not in beside(text, "check", "--offline")[1]
    status, told = beside(text + "title: Another\nspace: {color_to: red}\n", "check", "--offline")
    note = (
        "README.md: expected the front matter that config.yaml gives; got another title, colorTo; "
        "run python -m lineup readme"
    )
    assert (status, told.splitlines()[-1]) == (0, f"note: {note}")
    assert json.loads(beside(text + "title: Another\nspace: {color_to: red}\n", "check", "--json")[1])["notes"] == [
        note
    ]


def test_a_misspelt_entry_is_told_and_the_others_are_written(beside, tmp_path):
    status, told = beside("backbones: [resnet5O, resnet18]", "readme", "--offline")
    assert status == 2
    assert "error: config.yaml:1:13: backbones[0]: resnet5O: " in told
    assert front(tmp_path / "README.md")["models"] == ["timm/resnet18.a1_in1k"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("backbones: [{name: NAME, backbone: resnet18}]", "Classify images with NAME"),
        ("backbones: [{name: NAME, backbone: resnet18}, b]", "Classify images with 2 backbones, side by side"),
        ("description: '" + 61 * "x" + "'\nbackbones: [a]", "Classify images with a"),
        ("backbones: ['hf-hub:me/" + 60 * "x" + "']", "Classify images with one backbone"),
        ("description: d\nspace: {short_description: s}\nbackbones: [a]", "s"),
    ],
)
def test_the_short_description_fits(make_service, text, said, tmp_path):
    service = make_service(text)
    found = yaml.safe_load(card.text(service.config, service.weights, tmp_path / "README.md").split("---")[1])
    assert found["short_description"] == said


def test_a_clone_of_a_space_has_no_constraints_and_keeps_its_gradio(beside, tmp_path, monkeypatch):
    monkeypatch.setattr(card, "CONSTRAINTS", tmp_path / "constraints.txt")
    (tmp_path / "README.md").write_text("---\nsdk_version: 6.1.2\n---\n")
    beside("backbones: [torchvision/resnet18]", "readme")
    assert front(tmp_path / "README.md")["sdk_version"] == "6.1.2"


def test_the_readme_of_this_repository_is_not_stale():
    service = Service(config.load(ROOT / "config.yaml"))
    service.look(offline=True)
    assert card.stale(service.config, service.weights, ROOT / "README.md") == [], "run python -m lineup readme"
