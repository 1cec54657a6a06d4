"""`python -m lineup train`: figures, a saved folder that `classify` reads, a push, and what is refused."""

import json
import signal

import pytest
from commands import run_command
from drawing import draw

from lineup.analysis import heads
from lineup.errors import LineupError
from lineup.features.training import saving

CONFIG = "precision: float32\nengine: torch\nbackbones: [{name: a, backbone: test_resnet.r160_in1k, input_size: 64}]"


@pytest.fixture
def train(tmp_path, monkeypatch, publish, hub, fresh_cache, capsys):
    """Return a function that runs the command on four images of two classes; it returns its status and output."""
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    publish("test_resnet.r160_in1k")
    (tmp_path / "config.yaml").write_text(CONFIG)
    for index in range(4):
        path = tmp_path / "birds" / ("jay", "wren")[index % 2] / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path, seed=index)

    def run(*arguments, command="train", source="birds"):
        options = ["--config", str(tmp_path / "config.yaml")]
        status = run_command([command, str(tmp_path / source), *options, *arguments])
        return status, *capsys.readouterr()

    return run


def test_saved_folder_is_a_line_of_the_config(train, tmp_path):
    status, out, _ = train("--out", str(tmp_path / "my-birds"))
    assert status == 0
    assert "of 4 images" in out
    card = (tmp_path / "my-birds" / "README.md").read_text()
    assert 'backbones:\n  - {name: "my-birds", backbone: "local-dir:my-birds"}' in card
    line = out.strip().splitlines()[-1]
    assert line == '  - {name: "my-birds", backbone: "local-dir:my-birds"}'
    (tmp_path / "config.yaml").write_text(f"engine: torch\nbackbones:\n{line}")
    status, out, _ = train("--json", command="classify", source="birds/jay/0.jpg")
    assert {each["label"] for each in json.loads(out)["predictions"]} == {"jay", "wren"}


def test_json_has_the_figures_of_each_backbone(train):
    status, out, _ = train("--json", "--backbones", "a", "--backbones", "test_resnet.r160_in1k")
    report = json.loads(out)
    assert status == 0
    assert [each["backbone"] for each in report["backbones"]] == ["a", "test_resnet.r160_in1k"]
    assert report["backbones"][0]["n"] == 4
    assert report["classes"] == [{"label": "jay", "images": 2}, {"label": "wren", "images": 2}]


def test_classifier_is_pushed_to_a_model_repository(train, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_me")
    status, out, err = train("--push", "me/my-birds")
    assert status == 0, err
    assert out.strip().endswith("/me/my-birds")
    files = hub.spaces.files("models/me/my-birds")
    assert {"README.md", "config.json"} <= files.keys()
    assert b"# my-birds" in files["README.md"]


def test_what_cannot_be_saved_is_refused_before_it_is_computed(train, tmp_path, monkeypatch):
    monkeypatch.setattr(heads, "cross_validated", lambda *arguments, **named: pytest.fail("it was computed"))
    status, _, err = train("--out", str(tmp_path / "birds"))
    assert (status, "a new folder; there is one; choose another name" in err) == (2, True)
    status, _, err = train("--out", str(tmp_path / ("x" * 230)))
    assert (status, "a name of at most 200 bytes" in err) == (2, True)
    for name in (" birds", "my\nbirds", "my\\birds", "\u202ebirds"):
        status, _, err = train("--out", str(tmp_path / name))
        assert (status, "a name that config.yaml can have" in err) == (2, True)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert train("--out", str(tmp_path / "link"))[0] == 2
    for name in ("my-birds", "me/..", "../x", "me/möwen", "me/a/b"):
        status, _, err = train("--push", name)
        assert (status, "--push: expected owner/name, such as me/my-birds" in err) == (2, True)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    status, _, err = train("--push", "me/my-birds")
    assert (status, "--push: expected a token of the Hub; there is none; create one" in err) == (2, True)
    status, _, err = train("--save", "b")
    assert (status, "--save: expected a backbone that is trained; got 'b'; use one of: a" in err) == (2, True)


def test_failed_push_costs_neither_the_report_nor_the_folder(train, tmp_path, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_me")
    hub.spaces.faults["create"] = "403"
    status, out, err = train("--out", str(tmp_path / "my-birds"), "--push", "me/my-birds")
    assert (status, err.count("error: me/my-birds")) == (2, 1)
    assert "of 4 images" in out
    assert f"saved a to {tmp_path / 'my-birds'}" in out
    assert (tmp_path / "my-birds" / "config.json").is_file()


def test_failed_save_costs_no_report(train, tmp_path, monkeypatch):
    def save(*arguments):
        raise LineupError("my-birds", "a folder to save to", "the disk is full", "free some space")

    monkeypatch.setattr(saving, "save", save)
    status, out, err = train("--out", str(tmp_path / "my-birds"))
    assert (status, "of 4 images" in out, "the disk is full" in err) == (2, True, True)
    assert "config.yaml" not in out


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signal_while_it_saves_leaves_nothing_half_written(train, tmp_path, monkeypatch, name):
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(saving.card, "text", lambda *arguments: signal.raise_signal(getattr(signal, name)))
    status, _, err = train("--out", str(tmp_path / "my-birds"))
    assert status == 130
    assert err.strip() == "stopped, and nothing was saved; run it again to go on: the features are kept"
    assert sorted(path for path in tmp_path.iterdir() if path.name != "cache") == before


def test_unknown_backbone_is_one_sentence(train, tmp_path):
    status, _, err = train("--backbones", "resnet81", "--out", str(tmp_path / "mine"))
    assert status == 2
    assert err.count("error:") == 1
    assert "expected a model name of timm; got 'resnet81'; did you mean" in err
    assert not (tmp_path / "mine").exists()


def test_missing_scikit_learn_is_said_before_anything_is_computed(train, tmp_path, monkeypatch):
    monkeypatch.setattr(heads.importlib.util, "find_spec", lambda name: None)
    for index in range(20):
        draw(tmp_path / "birds" / ("jay", "wren")[index % 2] / f"more{index}.jpg", seed=90 + index)
    status, _, err = train()
    assert status == 2
    assert "expected scikit-learn for 10 or more images a class; it is not installed; pip install" in err
