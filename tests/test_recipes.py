"""The example configs in recipes/: each is valid, and the figures in its comments are the published ones."""

import re
from pathlib import Path

import pytest
from commands import run_command
from timm.data import ImageNetInfo

from lineup import config
from lineup.service import Service

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
OWN = ROOT / "recipes" / "my-own-classes.yaml"
FIGURES = re.compile(r"- (\S+) +# (\d+\.\d) %, (\d+\.\d\d) GMACs")
IDS = [path.stem for path in RECIPES]


def test_three_recipes_exist():
    assert IDS == ["fastest-on-two-cores", "my-own-classes", "one-family-all-sizes"]


@pytest.mark.parametrize("path", RECIPES, ids=IDS)
def test_recipe_passes_check_offline(path, capsys, monkeypatch, hub):
    monkeypatch.chdir(ROOT)
    with hub.unreachable():
        status = run_command(["check", "--offline", "--config", str(path.relative_to(ROOT))])
    output = capsys.readouterr()
    assert (status, output.err) == (0, "")
    notes = re.findall("^note: .*", output.out, re.MULTILINE)
    assert notes  # all examples exist, outside the folder that a push uploads
    assert all("expected a path inside the config's folder, which is what a Space gets" in note for note in notes)


@pytest.mark.parametrize("path", [path for path in RECIPES if path != OWN], ids=lambda path: path.stem)
def test_recipe_figures_are_the_published_ones(path):
    chosen = config.load(path)
    written = {name: (accuracy, gmacs) for name, accuracy, gmacs in FIGURES.findall(path.read_text(encoding="utf-8"))}
    published = {status.name: status.figures for status in Service(chosen).probe(offline=True)}
    assert written == {
        name: (f"{figures['imagenet_top1']:.1f}", f"{figures['gmacs']:.2f}") for name, figures in published.items()
    }


def test_recipe_latencies_are_close_to_the_measured_ones():
    text = (ROOT / "recipes" / "fastest-on-two-cores.yaml").read_text(encoding="utf-8")
    table = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8").split("## A forward pass")[1]
    measured = dict(re.findall(r"^\| (\w+) \([^|]*\| openvino \| ([\d.]+) ms", table, re.MULTILINE))
    latencies = re.findall(r"- (\S+) .* GMACs; about (\d+) ms", text)
    assert len(latencies) == 3
    for name, about_ms in latencies:
        assert float(measured[name]) == pytest.approx(float(about_ms), rel=0.5), (
            "update the recipe to the new measurement"
        )


def test_model_family_recipe_fits_into_one_comparison():
    chosen = config.load(ROOT / "recipes" / "one-family-all-sizes.yaml")
    assert len(chosen.backbones) == chosen.limits.max_compared


def test_labels_of_own_classes_recipe_are_unique_wordnet_lemmas():
    lines = (OWN.parent / "my-labels.txt").read_text(encoding="utf-8").splitlines()
    info = ImageNetInfo("imagenet-1k")
    assert len(set(lines)) == len(lines) == 1000
    for synset, line in zip(info.label_names(), lines, strict=True):
        name = line.partition(" (")[0]  # parentheses disambiguate equal names
        assert name in info.label_name_to_description(synset).split(", "), line


@pytest.mark.parametrize(
    ("image", "folder", "renamed", "groups"),
    [("polar_bear", "ice bear", "polar bear", 2), ("viaduct", "viaduct", "viaduct", 1)],
)
def test_own_classes_recipe_classifies_offline(image, folder, renamed, groups, hub):
    service = Service(config.load(OWN))
    with hub.unreachable():
        comparison = service.compare(ROOT / "examples" / f"{image}.jpg", ["folder", "renamed"])
    assert [comparison.answers[name].predictions[0].label for name in ("folder", "renamed")] == [folder, renamed]
    assert len(comparison.to_json()["agreement"]["groups"]) == groups
