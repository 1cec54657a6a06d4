"""`python -m lineup evaluate`: the same figures as a table, as JSON and as files."""

import csv
import json
import signal
import tempfile

import numpy as np
import pytest
import yaml
from drawing import draw

from lineup.cli import job_progress
from lineup.cli.main import main
from lineup.features import FEATURES

LOGITS = {"a": [9.0, 1.0, 0.0], "b": [0.0, 9.0, 1.0]}


@pytest.fixture
def evaluate(tmp_path, monkeypatch, fakes, capsys):
    """Return a function that runs the command on a folder of labelled images, and returns its status and output."""
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "config.yaml").write_text("backbones: ['fake:a', 'fake:b']")
    fakes.logits |= LOGITS
    for index, label in enumerate(["cat", "cat", "cat", "dog", "zebra"]):
        path = tmp_path / "pets" / label / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path, seed=index)

    def run(*arguments):
        command = ["evaluate", str(tmp_path / "pets"), "--config", str(tmp_path / "config.yaml"), *arguments]
        status = main(command, FEATURES.values())
        return status, *capsys.readouterr()

    return run


def test_verdict_and_figures_are_printed(evaluate):
    status, out, _ = evaluate()
    assert status == 0
    assert "fake:a is right on 3 of 4 (75%" in out
    assert "fake:b on 1 (25%" in out
    assert "note: zebra: no backbone has a class for it" in out


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signal_stops_it_and_nothing_is_left(evaluate, fakes, tmp_path, monkeypatch, name):
    held, before = fakes.hold("answer a"), signal.getsignal(signal.SIGTERM)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(job_progress, "_PROGRESS_S", 0.01)

    def stop(*arguments):
        held.set()
        signal.raise_signal(getattr(signal, name))

    monkeypatch.setattr(job_progress, "_show", stop)
    status, _, err = evaluate()
    assert (status, err.strip()) == (130, "stopped; run it again to go on: the answers so far are kept")
    assert list((tmp_path / "temporary").iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_json_has_the_figures_of_the_report(evaluate):
    status, out, _ = evaluate("--json")
    report = json.loads(out)
    assert status == 0
    assert [each["top1_among"]["right"] for each in report["backbones"]] == [3, 1]
    assert report["verdict"]["pairs"][0]["only_first"] == 3
    assert report["images"]["evaluated"] == 5
    assert report["n_differing"] == 5


def test_files_to_take_away_are_written(evaluate, tmp_path):
    status, _, err = evaluate("--out", str(tmp_path / "out"))
    assert status == 0
    assert "wrote" in err
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").open(encoding="utf-8-sig", newline="")))
    assert len(rows) == 10
    assert rows[0]["image"] == "cat/0.jpg"
    assert (rows[0]["backbone"], rows[0]["label_1"], rows[0]["right_among"]) == ("fake:a", "cat", "True")
    probabilities = np.exp(LOGITS["a"]) / np.exp(LOGITS["a"]).sum()
    assert float(rows[0]["probability_1"]) == pytest.approx(probabilities[0], abs=1e-6)
    assert len(list((tmp_path / "out" / "differing").rglob("*.jpg"))) == 5
    assert "fake:a" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["name"] == "pets"


def test_mapping_is_written_corrected_and_read_again(evaluate, tmp_path):
    evaluate("--out", str(tmp_path / "out"))
    path = tmp_path / "out" / "mapping.yaml"
    mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert mapping == {"cat": "cat", "dog": "dog"}
    path.write_text(yaml.safe_dump({**mapping, "zebra": "owl", "dog": None}), encoding="utf-8")
    status, out, _ = evaluate("--mapping", str(path), "--json")
    report = json.loads(out)
    assert status == 0
    assert [label["state"] for label in report["labels"]] == ["chosen", "left out", "chosen"]
    assert report["backbones"][0]["top1_among"]["images"] == 4


def test_command_that_repeats_it_has_every_choice(evaluate, tmp_path):
    (tmp_path / "pets").rename(tmp_path / "all")
    (tmp_path / "pets").mkdir()
    (tmp_path / "all").rename(tmp_path / "pets" / "Test")
    status, out, _ = evaluate("--split", "test", "--scoring", "anywhere", "--out", str(tmp_path / "out"))
    assert status == 0
    assert "label cat: cat (1 class)" in out
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "--split test --backbone fake:a --backbone fake:b --scoring anywhere</pre>" in html


@pytest.mark.parametrize("name", ["pets.tar.gz", "1.jpg"])
def test_file_that_is_no_zip_is_an_error(tmp_path, capsys, name):
    (tmp_path / "config.yaml").write_text("backbones: ['fake:a']")
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    assert main(["evaluate", str(tmp_path / name), "--config", str(tmp_path / "config.yaml")], FEATURES.values()) == 2
    assert "expected a folder, a zip file, or hf://datasets/OWNER/NAME; it is another file" in capsys.readouterr().err


BAD = [
    (["--backbone", "fake:c"], "expected a name of the line-up"),
    (["--split", "train"], "expected a split called 'train'; pets has none"),
    (["--mapping", "missing.yaml"], "missing.yaml: expected labels"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_wrong_argument_is_an_error_with_its_remedy(evaluate, arguments, message):
    status, out, err = evaluate(*arguments)
    assert (status, out) == (2, "")
    assert message in err


def test_folder_without_images_is_an_error(evaluate, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    status = main(["evaluate", str(tmp_path / "empty"), "--config", str(tmp_path / "config.yaml")], FEATURES.values())
    assert status == 2
    assert "empty: expected images; it has none" in capsys.readouterr().err
