"""The command line: exit status, stdout and stderr."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import run_command

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lineup(fresh_cache, hub, tmp_path, monkeypatch, capsys):
    """Return a function that runs a command in this process, in the folder of a config."""
    monkeypatch.chdir(tmp_path)

    def run(config: str, *arguments: str) -> SimpleNamespace:
        (tmp_path / "config.yaml").write_text(config)
        capsys.readouterr()
        status = run_command(arguments)
        printed = capsys.readouterr()
        return SimpleNamespace(returncode=status, stdout=printed.out, stderr=printed.err)

    return run


@pytest.fixture
def lineup_process(env, tmp_path):
    """Return a function that runs ``python -m lineup`` in a subprocess, in the folder of a config."""

    def run(config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "config.yaml").write_text(config)
        command = [sys.executable, "-m", "lineup", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)

    return run


GOOD = "backbones:\n  - {backbone: resnet18, pretrained: false, labels: labels.txt, name: mine}\n"


@pytest.fixture
def labels(tmp_path):
    (tmp_path / "labels.txt").write_text("jay\ncrow\nowl\n")


@pytest.mark.usefixtures("labels")
def test_classify_prints_a_table_or_json(lineup, lineup_process, image):
    done = lineup_process(GOOD, "classify", str(image), "--json", "--top-k", "2")
    answer = json.loads(done.stdout)
    assert done.returncode == 0
    assert list(answer) == [
        "backbone",
        "predictions",
        "activation",
        "above_half",
        "input_size",
        "engine",
        "milliseconds",
        "notes",
    ]
    assert len(answer["predictions"]) == 2
    assert set(answer["predictions"][0]) == {"class_index", "id", "label", "probability"}
    assert sorted(answer["milliseconds"]) == ["decode", "forward", "preprocess"]

    lines = lineup(GOOD, "classify", str(image)).stdout.splitlines()
    assert sorted(line.split()[0] for line in lines[:3]) == ["crow", "jay", "owl"]
    assert lines[4].startswith("mine · 224 × 224 px · torch on cpu · ")
    assert lines[5] == "note: untrained: the weights are random, so the predictions are meaningless"


@pytest.mark.usefixtures("labels")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--backbone", "mime"], "error: backbone: expected a name of the line-up; got 'mime'; did you mean 'mine'?"),
        (["--top-k", "0"], "error: top_k: expected a whole number from 1 to 100000; got 0; send another, or none"),
    ],
)
def test_invalid_argument_exits_with_2(lineup, image, arguments, error):
    done = lineup(GOOD, "classify", str(image), *arguments)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (2, "", error)


@pytest.mark.usefixtures("labels")
def test_missing_image_exits_with_2(lineup):
    done = lineup(GOOD, "classify", "none.jpg")
    assert (done.returncode, done.stderr) == (
        2,
        "error: none.jpg: expected an image; there is no such file; check the path\n",
    )


# the torchvision model is small and fast to load; the last two cannot run
SEVERAL = """
top_k: 2
backbones:
  - {backbone: test_resnet, pretrained: false, labels: labels.txt, name: one}
  - {backbone: torchvision/squeezenet1_1, pretrained: false, labels: labels.txt, name: other}
  - {backbone: test_resnet, checkpoint: gone.pth, name: gone}
  - {backbone: resnet5O, name: misspelt}
"""


@pytest.mark.usefixtures("labels")
def test_compare_prints_answers_and_errors_and_exits_with_2(lineup_process, image):
    done = lineup_process(SEVERAL, "compare", str(image), *(f"--backbones={name}" for name in ("other", "gone", "one")))
    table, labels, verdict = done.stdout.strip().split("\n\n")
    sentence, *notes = verdict.splitlines()
    head, *rows = table.splitlines()
    assert head.split() == ["backbone", "top", "class", "probability", "forward", "parameters", "ImageNet", "top-1"]
    other, gone, one = (row.split() for row in rows)
    assert (other[0], other[-2:], one[0], one[-2:]) == ("other", ["724,035", "-"], "one", ["372,979", "-"])
    assert {other[1], one[1]} <= {"jay", "crow", "owl"}
    assert gone == ["gone", "-", "-", "-", "-", "-"]
    assert [line.partition(": ")[0] for line in labels.splitlines()] == ["other", "one"]
    assert [line.count("%") for line in labels.splitlines()] == [2, 2]
    assert sentence.endswith("gone did not answer.")
    assert [note.partition(": untrained")[0] for note in notes] == ["note: other", "note: one"]
    assert done.returncode == 2
    (error,) = done.stderr.splitlines()
    assert error.startswith("error: gone: ")
    assert "gone.pth does not exist" in error


@pytest.mark.usefixtures("labels")
def test_compare_defaults_to_all_available_backbones(lineup, image):
    done = lineup(SEVERAL, "compare", str(image), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    comparison = json.loads(done.stdout)
    assert list(comparison) == ["results", "agreement", "left_out"]
    assert [(result["backbone"], len(result["predictions"])) for result in comparison["results"]] == [
        ("one", 2),
        ("other", 2),
    ]
    assert comparison["agreement"]["sentence"]
    assert [entry["backbone"] for entry in comparison["left_out"]] == ["gone", "misspelt"]
    done = lineup(SEVERAL, "compare", str(image)).stdout
    assert "\nleft out: gone: " in done
    assert "\nleft out: misspelt: expected a model name of timm" in done


@pytest.mark.usefixtures("labels")
def test_compare_rejects_an_unknown_name_before_running(lineup, image):
    done = lineup(SEVERAL, "compare", str(image), "--backbones", "one", "--backbones", "onne")
    error = "error: backbone: expected a name of the line-up; got 'onne'; did you mean 'one'?\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", error)


def test_backbones_json_has_the_fields_of_the_api(lineup, publish):
    publish("resnet18.a1_in1k")
    rows = json.loads(lineup("backbones: [resnet18, torchvision/squeezenet1_1]", "backbones", "--json").stdout)
    assert [row["name"] for row in rows] == ["resnet18", "torchvision/squeezenet1_1"]
    keys = ["name", "source", "status", "reason", "num_classes", "parameters", "download_bytes", "license", "figures"]
    keys += ["figures_note", "engine", "engine_note", "computed_by", "summary", "notes", "loading_notes"]
    assert all(list(row) == keys for row in rows)
    assert rows[0]["download_bytes"] == len(publish("resnet18.a1_in1k")["model.safetensors"])
    assert (rows[0]["parameters"], rows[0]["license"], rows[0]["status"]) == (11_689_512, "apache-2.0", "idle")
    assert [row["figures"]["imagenet_top1"] for row in rows] == [71.504, 58.178]


def test_note_on_bundled_figures_is_printed(lineup, image):
    config = f"backbones: [{{name: lite0, backbone: 'local-dir:{ROOT}/bundled/efficientnet_lite0'}}]"
    (row,) = json.loads(lineup(config, "backbones", "--json", "--offline").stdout)
    note = "figures published for timm's conversion of the same checkpoint"
    assert (row["figures"]["imagenet_top1"], row["figures_note"]) == (74.846, note)
    assert f"note: lite0: {note}\n" in lineup(config, "compare", str(image)).stdout


def test_check_lists_every_problem_with_its_position(lineup, publish):
    publish("resnet18.a1_in1k")
    config = "backbones:\n  - resnet18\n  - resnet5O\n  - vit_base_patch16_clip_224.openai\nexamples: [gone.jpg]\n"
    done = lineup(config, "check")
    problems = done.stderr.splitlines()
    assert done.returncode == 2
    assert [problem[:50] for problem in problems] == [
        "error: config.yaml:3:5: backbones[1]: resnet5O: ex",
        "error: config.yaml:4:5: backbones[2]: vit_base_pat",
        "error: config.yaml:5:12: examples[0]: expected a p",
    ]
    assert problems[0].endswith("did you mean 'resnet50'?")
    assert "46.8 MB" in done.stdout  # from the Hub


def test_check_offline_sends_no_requests(lineup, hub):
    done = lineup("backbones: [resnet18, 'hf-hub:me/pets']", "check", "--offline")
    assert (done.returncode, hub.requests) == (0, [])
    assert "note: config.yaml:1:23: backbones[1]: hf-hub:me/pets: me/pets/config.json: expected to read" in done.stdout


def test_check_with_an_unreachable_hub_is_a_note(lineup, hub):
    with hub.unreachable():
        done = lineup("backbones: [resnet18]", "check")
    assert done.returncode == 0
    assert "note: config.yaml:1:13: backbones[0]: resnet18: timm/resnet18.a1_in1k/model.safetensors:" in done.stdout


def test_check_of_a_missing_repository_is_a_problem(lineup):
    done = lineup("backbones: ['hf-hub:me/nowhere']", "check")
    assert done.returncode == 2
    assert "no such public repository" in done.stderr


@pytest.fixture
def imported(env):
    """Return a function that splits stderr into the imported modules and the other lines."""
    env["PYTHONPROFILEIMPORTTIME"] = "1"  # prints every import to stderr

    def read(stderr: str) -> tuple[set[str], list[str]]:
        lines = stderr.splitlines()
        names = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
        return names, [line for line in lines if not line.startswith("import time:")]

    return read


HEAVY = {"torch", "timm", "torchvision", "gradio", "altair", "numpy", "PIL"}


@pytest.mark.parametrize("config", ["top_k: 3", "backbones: [a\n", "backbones: []"])
def test_config_errors_are_reported_before_heavy_imports(lineup_process, config, imported):
    done = lineup_process(config, "check")
    names, errors = imported(done.stderr)
    assert done.returncode == 2
    assert errors
    assert all(error.startswith("error: config.yaml:") for error in errors)
    assert "lineup.config" in names
    assert names.isdisjoint(HEAVY)


def test_help_lists_the_commands_without_heavy_imports(lineup_process, imported):
    done = lineup_process("", "--help")
    names, errors = imported(done.stderr)
    assert (done.returncode, errors) == (0, [])
    assert all(command in done.stdout for command in ("classify", "compare", "backbones", "check"))
    assert "lineup.cli.main" in names
    assert names.isdisjoint(HEAVY | {"pydantic"})


STRANGE = """
import sys
from lineup import registry
from lineup.cli.main import main
class StrangeError(Exception): ...
def raising(*_): raise StrangeError("'NoneType' object has no attribute 'inner'")
def plan(entry, context):
    if entry.spec.target == "plan": raising()
    from dataclasses import replace
    from lineup.config import Entry
    built = registry.plan(Entry(backbone="test_resnet", pretrained=False), context)
    return replace(built, name=entry.name, make=raising)
registry.SOURCES["strange"] = plan
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("command", "target", "problem", "verbose"),
    [
        ("check", "plan", "expected a backbone that can be built; building it failed", []),
        ("classify", "plan", "expected a backbone that can be built; building it failed", ["--verbose"]),
        ("classify", "load", "expected a backbone that can be built; loading failed", []),
        pytest.param(
            *("check", "plan", "expected a backbone that can be built; building it failed", ["--verbose"]),
            marks=pytest.mark.long,
        ),
        pytest.param(
            *("classify", "plan", "expected a backbone that can be built; building it failed", []),
            marks=pytest.mark.long,
        ),
        pytest.param(
            *("classify", "load", "expected a backbone that can be built; loading failed", ["--verbose"]),
            marks=pytest.mark.long,
        ),
    ],
)
def test_strange_exception_is_one_plain_sentence(tmp_path, env, image, command, target, problem, verbose):
    (tmp_path / "config.yaml").write_text(f"engine: torch\nbackbones: ['strange:{target}']\n")
    arguments = [command, *([str(image)] if command == "classify" else []), *verbose]
    done = subprocess.run(
        [sys.executable, "-c", STRANGE, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    *log, error = done.stderr.splitlines()
    assert done.returncode == 2
    assert error.endswith(f"{problem}; see the log (on the command line: --verbose)")
    assert not re.search("Error|NoneType|Traceback", done.stdout + error)
    assert log == [] if not verbose else "StrangeError: 'NoneType' object has no attribute 'inner'" in "\n".join(log)
