"""The front matter of README.md: derived from the config, written by `readme`, reported when stale."""

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
BODY = "\n# Mine\n\n---\nA horizontal rule is above.\n"


@pytest.fixture
def run_with(tmp_path, capsys, fresh_cache, hub):
    """Return a function that runs a command with a config, and returns its status and output."""

    def run(text: str, *arguments: str) -> tuple[int, str]:
        (tmp_path / "config.yaml").write_text(text)
        status = run_command([*arguments, "--config", str(tmp_path / "config.yaml")])
        return status, "".join(capsys.readouterr())

    return run


def front(readme: Path) -> dict[str, object]:
    return yaml.safe_load(readme.read_text().split("---")[1])


def test_missing_readme_is_created_and_then_unchanged(run_with, tmp_path):
    text = "title: Birds\ndescription: Which bird?\nbackbones: ['local-dir:x', torchvision/resnet18]"
    assert run_with(text, "readme") == (0, f"{tmp_path / 'README.md'}: written\n")
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
    assert run_with(text, "readme") == (0, f"{tmp_path / 'README.md'}: nothing changed\n")
    assert json.loads(run_with(text, "readme", "--json")[1]) == {"file": str(tmp_path / "README.md"), "changed": False}


@pytest.mark.parametrize(
    "before",
    ["---\ntitle: old\npinned: true\nmodels: [gone/gone]\n---\n", "---\r\npinned: true\r\n---\r\n"],
)
def test_body_and_other_keys_are_preserved(run_with, tmp_path, before):
    (tmp_path / "README.md").write_bytes((before + BODY).encode())
    assert run_with("title: 'A: b # c'\nbackbones: [torchvision/resnet18]", "readme")[0] == 0
    text = (tmp_path / "README.md").read_bytes().decode()
    assert text.endswith("\n---\n" + BODY)
    assert (front(tmp_path / "README.md")["title"], front(tmp_path / "README.md")["pinned"]) == ("A: b # c", True)
    assert "models" not in front(tmp_path / "README.md")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_order_of_keys_and_line_ends_are_preserved(run_with, tmp_path, end):
    before = end.join(["---", "pinned: true", "sdk: static", "emoji: 🐦", "title: old", "---", "", "# Mine", ""])
    (tmp_path / "README.md").write_bytes(before.encode())
    assert run_with("title: A\nbackbones: [torchvision/resnet18]", "readme")[0] == 0
    written = (tmp_path / "README.md").read_bytes().decode()
    assert written.startswith(end.join(["---", "pinned: true", "sdk: gradio", "emoji: 🖼️", "title: A", ""]))
    assert written.endswith(end.join(["", "---", "", "# Mine", ""]))
    assert written.count("\n") == written.count(end)
    assert "nothing changed" in run_with("title: A\nbackbones: [torchvision/resnet18]", "readme")[1]


@pytest.mark.parametrize(
    "before", ["", "---\nnot: [closed\n---\n", "---\n- a list\n---\n", "---\n1: x\n---\n", "---\n\n---\n"]
)
def test_invalid_front_matter_is_replaced_and_the_body_preserved(run_with, tmp_path, before):
    (tmp_path / "README.md").write_text(before + "# Mine\n")
    run_with("backbones: [torchvision/resnet18]", "readme")
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
def test_public_files_are_preloaded(run_with, tmp_path, monkeypatch, hub):
    monkeypatch.setenv("HF_TOKEN", "hf_mine")  # a build has none
    run_with(MANY, "readme")
    written = front(tmp_path / "README.md")
    assert (written["models"], written["preload_from_hub"]) == (MODELS, FOUND)
    hub.requests.clear()
    run_with(MANY, "readme", "--offline")
    assert hub.requests == []
    assert front(tmp_path / "README.md") == written  # reused from the file


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("how", ["offline", "gone", "500"])
def test_without_the_hub_only_files_of_timm_are_preloaded(run_with, tmp_path, hub, how):
    if how == "gone":
        with hub.unreachable():
            run_with(MANY, "readme")
    else:
        hub.faults["timm/resnet18.a1_in1k"] = "500"
        run_with(MANY, "readme", *(["--offline"] if how == "offline" else []))
        assert len(hub.requests) <= (how == "500")  # no further requests after a failure
    written = front(tmp_path / "README.md")
    assert (written["models"], written["preload_from_hub"]) == (MODELS, FOUND[:1])


def test_listed_files_are_reused_for_another_revision(run_with, tmp_path):
    (tmp_path / "README.md").write_text(f"---\nmodels: [me/pets]\npreload_from_hub: ['{FOUND[1]}']\n---\n")
    run_with("backbones: ['hf-hub:me/pets@v3']", "readme", "--offline")
    assert front(tmp_path / "README.md")["preload_from_hub"] == ["me/pets config.json,model.safetensors v3"]


def test_readme_without_timm_does_not_import_torch(env, tmp_path):
    (tmp_path / "config.yaml").write_text("backbones: ['hf-hub:me/pets', torchvision/resnet18]")
    imports = "import sys; from lineup.cli.main import main; from lineup.features import FEATURES; "
    code = f"{imports}main(['readme'], FEATURES.values()); print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert output.stdout.endswith("README.md: written\nFalse\n"), output.stderr


def test_stale_readme_is_a_note_of_check(run_with, tmp_path):
    text = "backbones: [{backbone: torchvision/squeezenet1_1, pretrained: false}]\n"
    assert "note: README.md" not in run_with(text, "check", "--offline")[1]  # no README.md: not meant for a Space
    run_with(text, "readme", "--offline")
    assert "note: README.md" not in run_with(text, "check", "--offline")[1]
    status, output = run_with(text + "title: Another\nspace: {color_to: red}\n", "check", "--offline")
    note = (
        "README.md: expected the front matter derived from config.yaml; got a different title, colorTo; "
        "run python -m lineup readme"
    )
    assert (status, output.splitlines()[-1]) == (0, f"note: {note}")
    assert json.loads(run_with(text + "title: Another\nspace: {color_to: red}\n", "check", "--json")[1])["notes"] == [
        note
    ]


def test_misspelt_entry_is_reported_and_the_others_are_written(run_with, tmp_path):
    status, output = run_with("backbones: [resnet5O, resnet18]", "readme", "--offline")
    assert status == 2
    assert "error: config.yaml:1:13: backbones[0]: resnet5O: " in output
    assert front(tmp_path / "README.md")["models"] == ["timm/resnet18.a1_in1k"]


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("backbones: [{name: NAME, backbone: resnet18}]", "Classify images with NAME"),
        ("backbones: [{name: NAME, backbone: resnet18}, b]", "Classify images with 2 backbones, side by side"),
        ("description: '" + 61 * "x" + "'\nbackbones: [a]", "Classify images with a"),
        ("backbones: ['hf-hub:me/" + 60 * "x" + "']", "Classify images with one backbone"),
        ("description: d\nspace: {short_description: s}\nbackbones: [a]", "s"),
    ],
)
def test_short_description_fits_the_limit(make_service, text, description, tmp_path):
    service = make_service(text)
    front_matter = yaml.safe_load(card.text(service.config, service.weights, tmp_path / "README.md").split("---")[1])
    assert front_matter["short_description"] == description


def test_sdk_version_is_kept_without_constraints(run_with, tmp_path, monkeypatch):
    monkeypatch.setattr(card, "CONSTRAINTS", tmp_path / "constraints.txt")
    (tmp_path / "README.md").write_text("---\nsdk_version: 6.1.2\n---\n")
    run_with("backbones: [torchvision/resnet18]", "readme")
    assert front(tmp_path / "README.md")["sdk_version"] == "6.1.2"


def test_readme_of_this_repository_is_current():
    service = Service(config.load(ROOT / "config.yaml"))
    service.probe(offline=True)
    assert card.stale(service.config, service.weights, ROOT / "README.md") == [], "run python -m lineup readme"
