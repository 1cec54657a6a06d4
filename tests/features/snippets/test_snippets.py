import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch_hub
from drawing import draw
from hub import timm_repo
from networks import scale_head, seeded_timm
from PIL import ExifTags, Image
from serving import ROOT, caches, serving

from lineup import config, registry
from lineup.config import yaml_source
from lineup.features.snippets import snippets
from lineup.service import Service

TINY, VIT = "test_resnet.r160_in1k", "test_vit.r160_in1k"
HOSTILE = """it's $HOME, "tiny" `id` \\ {a} ;b ü 猫"""
BREAKING = "\nraise SystemExit('''\"\\"
OUTSIDE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # without this project


def serve(entries: dict[str, dict], folder) -> Service:
    named = [{"name": name, **entry} for name, entry in entries.items()]
    text = json.dumps({"engine": "torch", "backbones": named})  # the scripts use torch in float32
    return Service(config.build(yaml_source.parse(text, "config.yaml"), folder))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with an image with EXIF rotation and a transparent image."""
    home = tmp_path_factory.mktemp("snippets")
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    with Image.open(draw(home / "upright.png")) as image:
        image.save(home / "image.jpg", exif=turned)
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(home / f"{HOSTILE}.png")
    return home


# --- plain Python ---

CHANGES = {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3], "crop_pct": 0.6, "interpolation": "nearest"}
ENTRIES = {
    "timm": {"backbone": TINY},
    "timm, changed": {"backbone": VIT, "input_size": [96, 128], **CHANGES},
    "torchvision": {"backbone": "torchvision/squeezenet1_1"},
    "torchvision, smaller": {"backbone": "torchvision/squeezenet1_1", "input_size": 96},
    "torchvision, changed": {"backbone": "torchvision/squeezenet1_1@IMAGENET1K_V1", **CHANGES},
    "hf-hub": {"backbone": "hf-hub:me/carried"},
    "hf-hub, at a revision": {"backbone": "hf-hub:me/carried@refs/pr/1"},
    "local-dir": {"backbone": "local-dir:it's mine", "labels": [f"{item}{BREAKING}" for item in range(20)]},
    "safetensors": {"backbone": "test_resnet", "checkpoint": "own.safetensors"},
    "wrapped": {"backbone": "test_vit", "checkpoint": "wrapped.pth", "input_size": 96},
    "torchvision's, of one's own": {"backbone": "torchvision/squeezenet1_1", "checkpoint": "squeezenet.pth"},
    "transparent": {"backbone": TINY, "crop_pct": 1},
}
IMAGES = {"transparent": f"{HOSTILE}.png"}  # the others use image.jpg
RUNNER = """
import contextlib, io, json, runpy, traceback
said = {}
for name, path in json.load(open("scripts.json")).items():
    with contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            runpy.run_path(path)
        except BaseException:
            traceback.print_exc(file=output)
    said[name] = output.getvalue()
json.dump(said, open("said.json", "w"))
"""


@pytest.fixture(scope="module")
def weights(home, standing_hub, publish):
    """Create the weights that ENTRIES refer to."""
    import torch
    from safetensors.torch import save_file
    from torchvision import models

    for name in (TINY, VIT):
        publish(name)
    pets, others = (timm_repo(seeded_timm("test_resnet", num_classes=count)) for count in (20, 21))
    standing_hub.put("me/carried", pets)
    standing_hub.put("me/carried", others, "refs/pr/1")
    (home / "it's mine").mkdir()
    for name, body in pets.items():
        (home / "it's mine" / name).write_bytes(body)
    save_file(seeded_timm("test_resnet", num_classes=20).state_dict(), home / "own.safetensors")
    state = seeded_timm("test_vit", num_classes=20, img_size=(96, 96)).state_dict()
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, home / "wrapped.pth")
    torch.manual_seed(0)
    torch.save(scale_head(models.squeezenet1_1(num_classes=20)).state_dict(), home / "squeezenet.pth")
    cache = home / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(scale_head(models.squeezenet1_1()).state_dict(), cache / "squeezenet1_1-b8a52dc0.pth")


@pytest.fixture(scope="module")
def script_run(home, weights, standing_hub):
    """Classify with every entry, then run all scripts in one process without this project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", caches(home)["TORCH_HOME"])
        torch_hub.agree(patch, home / "torch" / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
        service = serve(ENTRIES, home)
        answers = {name: service.classify(home / IMAGES.get(name, "image.jpg"), name, 5) for name in ENTRIES}
    scripts = {}
    for number, (name, answer) in enumerate(answers.items()):
        recipe = service._pool.get(name).plan.recipe
        scripts[name] = f"script_{number}.py"
        script = snippets.python(recipe, answer, IMAGES.get(name, "image.jpg"))
        (home / scripts[name]).write_text(script, encoding="utf-8")
    (home / "scripts.json").write_text(json.dumps(scripts))
    for branch in ("main", "refs/pr/1"):  # the repository changes in between
        standing_hub.put("me/carried", timm_repo(seeded_timm("test_resnet", num_classes=3)), branch)
    env = OUTSIDE | caches(home)
    subprocess.run([sys.executable, "-c", RUNNER], cwd=home, env=env, check=True, timeout=300)
    return SimpleNamespace(answers=answers, scripts=scripts, outputs=json.loads((home / "said.json").read_text()))


@pytest.mark.parametrize("name", ENTRIES)
def test_script_reproduces_the_answer_without_this_project(script_run, home, name):
    predictions, outputs = script_run.answers[name].predictions, script_run.outputs[name]
    lines = [rf"{item.class_index} ([01]\.\d{{6}}) {re.escape(item.label)}\n" for item in predictions]
    match = re.fullmatch("".join(lines), outputs)
    assert match, outputs
    assert [float(text) for text in match.groups()] == pytest.approx(
        [item.probability for item in predictions], abs=1e-5
    )
    assert 0.02 < predictions[0].probability < 0.999  # neither uniform nor saturated
    script = (home / script_run.scripts[name]).read_text(encoding="utf-8")
    first = predictions[0]
    assert f"# backbone: {name!r}\n# expected: {first.class_index} {first.label!r} {first.probability:.4f}\n" in script
    assert "lineup" not in script


def test_random_weights_have_no_script(script_run):
    entry = config.Entry.model_validate({"backbone": TINY, "pretrained": False})
    planned = registry.plan(entry, registry.Context(ROOT, lambda file: ROOT))
    assert snippets.python(planned.recipe, script_run.answers["timm"]) == ""


# --- calls of the API ---

SERVED = {
    HOSTILE: {"backbone": f"local-dir:{ROOT / 'bundled' / 'efficientnet_lite0'}"},
    "other": {"backbone": f"local-dir:{ROOT / 'bundled' / 'efficientnet_lite2'}"},
}
CALLS = {"gradio_client": (snippets.client, sys.executable), "curl": (snippets.curl, "bash")}


@pytest.fixture(scope="module")
def served(home):
    backbones = [{"name": name, **entry} for name, entry in SERVED.items()]
    (home / "config.yaml").write_text(json.dumps({"engine": "torch", "backbones": backbones}), encoding="utf-8")
    with serving(home / "config.yaml", os.environ | caches(home), home / "log.txt") as app:
        yield app


def run(call, address, home, names):
    write, program = CALLS[call]
    snippet = write(address, names, 2, f"{HOSTILE}.png")
    return subprocess.run([program, "-c", snippet], cwd=home, env=OUTSIDE, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("names", [[HOSTILE], ["other", HOSTILE]], ids=["classify", "compare"])
@pytest.mark.parametrize("call", CALLS)
def test_call_returns_the_answer_of_the_page(served, home, call, names):
    done = run(call, served.url, home, names)
    assert done.stderr == ""
    answer = json.loads(done.stdout)
    results = [answer] if len(names) == 1 else answer["results"]
    service = serve(SERVED, home)
    for name, result in zip(names, results, strict=True):
        predictions = service.classify(home / f"{HOSTILE}.png", name, 2).to_json()["predictions"]
        for ours, theirs in zip(predictions, result["predictions"], strict=True):
            assert theirs == {**ours, "probability": pytest.approx(ours["probability"], abs=1e-5)}


@pytest.mark.parametrize("call", CALLS)
def test_call_reports_errors(served, home, call):
    done = run(call, served.url, home, ["othar"])
    assert "did you mean 'other'?" in done.stdout + done.stderr
    done = run(call, "http://127.0.0.1:9/", home, ["other"])
    assert done.stdout == ""
    assert "onnect" in done.stderr


def test_address_is_quoted(tmp_path):
    address = "http://127.0.0.1:9/$(touch injected)'$(touch injected)'\n\"\""
    sent = draw(tmp_path / f"{HOSTILE}.png")
    for call in CALLS:
        assert "yntax" not in run(call, address, tmp_path, ["a"]).stderr  # neither Python's nor bash's
        assert list(tmp_path.iterdir()) == [sent]
