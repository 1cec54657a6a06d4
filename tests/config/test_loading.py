import random
import re
from pathlib import Path
from typing import get_args

import pytest

from lineup import config, errors
from lineup.config import yaml_source
from lineup.config.models import Hardware
from lineup.errors import ConfigError

LINEUP = "backbones: [resnet18]\n"  # makes the texts below valid configs; they start in line 2
KEYS = "title, description, default, top_k, backbones, examples, device, engine, precision, share, trusted_proxies"
KEYS += ", limits, evaluation, training, feedback, rest, cluster, space"
LONG = """\
title: Birds
description: Which bird?
default: own
top_k: 5
backbones:
  - resnet18
  - name: own
    backbone: torchvision/resnet50
    checkpoint: weights/own.pth
    labels: [jay, crow]
    input_size: [224, 320]
    mean: [0.5, 0.5, 0.5]
    std: [0.25, 0.25, 1]
    crop_pct: 0.9
    crop_mode: border
    interpolation: bicubic
    activation: sigmoid
    in_chans: 3
    model_args: {global_pool: max}
  - {backbone: resnet34.a1_in1k, pretrained: false, labels: birds.txt, input_size: 96}
examples:
  - maze.jpg
  - {image: jay.png, caption: A jay}
device: cpu
engine: torch
precision: float32
share: true
limits: {memory_mb: 2048, max_compared: 4, forward_timeout_s: 7.5, hub_timeout_s: 9}
evaluation: {enabled: false, max_images: 20, max_mb: 30}
training: {enabled: false, public: true, max_images: 30, max_mb: 40}
feedback: {to: feedback, private: false, per_visitor: 5, per_day: 6, keep_days: 7}
trusted_proxies: [10.0.0.0/8]
rest: {enabled: false, cors: ["https://a.org"], rate_limit: 60/minute}
cluster: {address: "ray://head:10001", replicas: {min: 2, max: 3}, backbones_per_replica: 4, cpus: 0.5, gpus: 1}
space: {emoji: x, color_from: red, color_to: blue, short_description: birds, license: mit, hardware: cpu-basic}
"""


def read(text):
    return config.build(yaml_source.parse(text, "config.yaml"), Path())


def problems(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


def test_missing_keys_have_defaults():
    loaded = read("backbones:\n  - resnet18\n  - torchvision/squeezenet1_1\n")
    assert [entry.name for entry in loaded.backbones] == ["resnet18", "torchvision/squeezenet1_1"]
    assert (loaded.default_name, loaded.title, loaded.top_k, loaded.examples) == ("resnet18", "Lineup", 3, [])
    assert (loaded.device, loaded.share, loaded.limits.memory_mb, loaded.limits.max_megapixels) == (
        "auto",
        False,
        None,
        40,
    )


def test_every_key_is_loaded():
    loaded = read(LONG)
    plain, own, untrained = loaded.backbones
    assert plain == read(LINEUP).backbones[0]
    expected = {"name": "own", "backbone": "torchvision/resnet50", "checkpoint": "weights/own.pth", "pretrained": True}
    expected |= {"labels": ["jay", "crow"], "input_size": (224, 320), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 1)}
    expected |= {"crop_pct": 0.9, "crop_mode": "border", "interpolation": "bicubic", "activation": "sigmoid"}
    assert own.model_dump() == expected | {"in_chans": 3, "model_args": {"global_pool": "max"}}
    assert (untrained.name, untrained.pretrained) == ("resnet34.a1_in1k", False)
    assert (untrained.labels, untrained.input_size) == ("birds.txt", (96, 96))
    assert [(example.image, example.caption) for example in loaded.examples] == [("maze.jpg", ""), ("jay.png", "A jay")]
    sections = {"limits", "evaluation", "training", "feedback", "rest", "cluster", "space"}
    others = loaded.model_dump(exclude={"backbones", "examples", *sections})
    assert list(others.values()) == ["Birds", "Which bird?", "own", 5, "cpu", "torch", "float32", True, ["10.0.0.0/8"]]
    assert list(loaded.limits.model_dump().values()) == [2048, 4, 40, 20, 7.5, 9, 64]
    assert list(loaded.evaluation.model_dump().values()) == [False, 20, 30]
    assert list(loaded.training.model_dump().values()) == [False, True, 30, 40]
    assert list(loaded.feedback.model_dump().values()) == ["feedback", False, 5, 6, 7]
    assert list(loaded.rest.model_dump().values()) == [False, ["https://a.org"], "60/minute"]
    assert list(loaded.cluster.model_dump().values()) == ["ray://head:10001", {"min": 2, "max": 3}, 4, 0.5, 1]
    assert list(loaded.space.model_dump().values()) == ["x", "red", "blue", "birds", "mit", "cpu-basic"]


def test_source_of_an_entry():
    shorts = "[a, torchvision/a@B, 'hf-hub:o/r', 'mine:a', {backbone: a, checkpoint: x, name: b}, "
    loaded = read(f"backbones: {shorts}{{backbone: torchvision/a, pretrained: false}}]").backbones
    assert [entry.source for entry in loaded] == ["timm", "torchvision", "hf-hub", "mine", "checkpoint", "untrained"]


def test_loaded_config_has_folder_and_positions(tmp_path):
    path = tmp_path / "fork.yaml"
    path.write_text(LONG)
    loaded = config.load(path)
    assert loaded.folder == tmp_path
    assert loaded.where("backbones", 1, "labels") == "fork.yaml:10:5: backbones[1].labels"


# Each text is line 2, after LINEUP; messages begin with the column of the key or list item.
IN_LINE_2 = [
    ("titel: x", "1: titel: expected a known key; got 'titel'; did you mean 'title'?"),
    ("Top_K: 3", "1: Top_K: expected a known key; got 'Top_K'; did you mean 'top_k'?"),
    ("on: x", f"1: on: expected a known key; got 'on'; remove it, or use one of: {KEYS}"),
    ("<<: {title: x}", f"1: <<: expected a known key; got '<<'; remove it, or use one of: {KEYS}"),
    ("backbones: [a]", "1: backbones: expected each key once; already defined in line 1; remove one of the two"),
    ("title: yes", "1: title: expected text; got true; put it in quotes"),
    ("title:", "1: title: expected text; got nothing"),
    ("title: {" + "a" * 90 + ": 1}", "1: title: expected text; got {'" + "a" * 75 + "…"),
    ("default: resnet19", "1: default: expected the name of an entry; got 'resnet19'; did you mean 'resnet18'?"),
    ("default: maze", "1: default: expected the name of an entry; got 'maze'; use one of: resnet18"),
    ("top_k: true", "1: top_k: expected a whole number; got true"),
    ("top_k: '3'", "1: top_k: expected a whole number; got '3'"),
    ("top_k: 3.0", "1: top_k: expected a whole number; got 3.0"),
    ("top_k: 0", "1: top_k: expected 1 or more; got 0"),
    ("top_k: 1001", "1: top_k: expected 1000 or less; got 1001"),
    ("share: 1", "1: share: expected true or false; got 1"),
    ("device: gpu", "1: device: expected one of 'auto', 'cpu', 'cuda' or 'mps'; got 'gpu'"),
    ("limits:", "1: limits: expected keys and values; got nothing"),
    ("limits: {hub_timeout_s: .nan}", "10: limits.hub_timeout_s: expected a finite number; got nan"),
    ("limits: {hub_timeout_s: true}", "10: limits.hub_timeout_s: expected a number; got true"),
    ("limits: {max_megapixel: 9}", "10: limits.max_megapixel: expected a known key; got 'max_megapixel'; did you mean"),
    ("space: {emoji: x, color_to: teal}", "19: space.color_to: expected one of 'red', 'yellow', 'green', 'blue',"),
    (f"space: {{short_description: {'x' * 61}}}", "9: space.short_description: expected at most 60 characters; got 'x"),
    ("examples: [a.jpg, 5]", "19: examples[1]: expected keys and values; got 5"),
    ("examples: [{caption: x}]", "12: examples[0].image: expected a value; there is none; add `image:`"),
    ("examples: [{image: a, captoin: b}]", "23: examples[0].captoin: expected a known key; got 'captoin'; did you"),
]


@pytest.mark.parametrize(("text", "message"), IN_LINE_2, ids=[text[:40] for text, _ in IN_LINE_2])
def test_invalid_value_is_reported_with_position(text, message):
    (problem,) = problems(LINEUP + text)
    assert problem.startswith(f"config.yaml:2:{message}")


# Each entry starts in line 2, column 5; problems are in backbones[0].
A_NAME = "5: expected a name such as resnet18, or keys such as `backbone: resnet18`"
ENTRIES = [
    ("123", A_NAME),
    ("", "4" + A_NAME[1:]),  # empty entry: the position where it would start
    ("a/b", "5: expected a name with its source; got 'a/b'; write hf-hub:a/b for a Hub repository"),
    ("{}", "5: backbone: expected a value; there is none; add `backbone:`"),
    ("{backbone: 5}", "6: backbone: expected text; got 5; put it in quotes"),
    (
        "{backbone: a, name: ' '}",
        "5: expected a name of 1 to 200 printable characters without surrounding spaces; got ' '",
    ),
    ('{backbone: a, name: "a\\nb"}', "5: expected a name of 1 to 200 printable characters"),
    ("{backbone: a, labels: [b, ' ']}", "5: expected labels that are not empty; got an empty one, or none"),
    ("{backbone: a, labels: []}", "5: expected labels that are not empty; got an empty one, or none"),
    ("{backbone: a, checkpoint: ''}", "19: checkpoint: expected text that is not empty; got ''"),
    ("{backbone: a, crop_pct: 0.001}", "19: crop_pct: expected 0.25 or more; got 0.001"),
    ("{backbone: 'timm:a/b'}", "5: expected a name with its source; got 'a/b'"),
    ("{backbone: 'torchvision:a/b'}", "5: expected torchvision/name or torchvision/name@WEIGHTS; got"),
    ("{backbone: a, label: b}", "19: label: expected a known key; got 'label'; did you mean 'labels'?"),
    ("{backbone: a, text: b}", "19: text: expected a known key; got 'text'; remove it, or use one of: name, backbone,"),
    ("{backbone: a, name: b, name: c}", "28: name: expected each key once; already defined in line 2"),
    ("{backbone: a, pretrained: 'no'}", "19: pretrained: expected true or false; got 'no'"),
    (
        "{backbone: a, labels: 5}",
        "19: labels: expected a file, a list of names, or a mapping from index to name; got 5; put",
    ),
    ("{backbone: a, labels: [b, no]}", "31: labels[1]: expected text; got false; put it in quotes"),
    ("{backbone: a, input_size: true}", "19: input_size: expected a whole number, or a list of two; got true"),
    ("{backbone: a, input_size: [224, 8]}", "37: input_size[1]: expected 16 or more; got 8"),
    ("{backbone: a, mean: half}", "19: mean: expected a number, or a list of three; got 'half'"),
    ("{backbone: a, mean: true}", "19: mean: expected a number, or a list of three; got true"),
    ("{backbone: a, in_chans: 1}", "5: expected `in_chans` only with `checkpoint` or `pretrained: false`; got 'a'"),
    ("{backbone: 'hf-hub:a/b', model_args: {x: 1}}", "5: expected `model_args` only with `checkpoint` or"),
    ("{backbone: a, pretrained: false, in_chans: 4}", "38: in_chans: expected one of 1 or 3; got 4"),
    ("{backbone: a, checkpoint: x, model_args: {num_classes: 5}}", "5: expected model_args without `num_classes`; got"),
    ("{backbone: a, checkpoint: x, model_args: {features_only: true}}", "5: expected model_args without `features_"),
    ("{backbone: a, mean: [1, 2]}", "19: mean: expected 3 numbers; got [1, 2]"),
    ("{backbone: a, mean: [1, 2, 3, 4]}", "19: mean: expected 3 at most; got [1, 2, 3, 4]"),
    ("{backbone: a, mean: [1, true, 3]}", "29: mean[1]: expected a number; got true"),
    ("{backbone: a, std: [1, 1, .inf]}", "31: std[2]: expected a finite number; got inf"),
    ("{backbone: a, std: [1, 0, 1]}", "5: expected mean and std of pixels from 0 to 1; got std: [1, 0, 1]"),
    ("{backbone: a, crop_pct: 1.5}", "19: crop_pct: expected 1.0 or less; got 1.5"),
    ("{backbone: a, interpolation: cubic}", "19: interpolation: expected one of 'nearest', 'bilinear', 'bicubic' or"),
    ("{backbone: a, checkpoint: x, pretrained: false}", "5: expected either `checkpoint` or `pretrained: false`; got"),
    ("{backbone: 'hf-hub:a/b', checkpoint: x}", "5: expected a checkpoint only with an architecture of timm or"),
    ("{backbone: torchvision/a@B, checkpoint: x}", "5: expected no @B beside `checkpoint`; remove one of the two"),
]


@pytest.mark.parametrize(("entry", "message"), ENTRIES, ids=[entry[:50] or "nothing" for entry, _ in ENTRIES])
def test_invalid_entry_is_reported_with_position(entry, message):
    (problem,) = problems(f"backbones:\n  - {entry}\n")
    place, rest = message.split(": ", 1)
    assert problem.startswith(
        f"config.yaml:2:{place}: backbones[0]{': ' if rest.startswith('expected') else '.'}{rest}"
    )


WITHOUT_BACKBONES = [
    ("", "1:1: backbones: expected a value; there is none; add `backbones:`"),
    ("resnet18", "1:1: expected keys and values; got 'resnet18'"),
    ("title: x\nbackbones:", "2:1: backbones: expected a list of backbones, one per line, each after a dash"),
    ("backbones: resnet18", "1:1: backbones: expected a list of backbones, one per line, each after a dash"),
    ("title: x\nbackbones: []", "2:1: backbones: expected 1 or more; got []"),
]


@pytest.mark.parametrize(("text", "message"), WITHOUT_BACKBONES)
def test_config_without_backbones_is_rejected(text, message):
    assert problems(text) == [f"config.yaml:{message}"]


def test_all_problems_are_reported_in_file_order():
    text = "titel: x\ntop_k: 0\ntop_k: 1\nbackbones:\n  - a\n  - backbone: b\n    crop_pct: 2\n    lables: c\n  - 5\n"
    assert [problem.split(": expected")[0] for problem in problems(text)] == [
        "config.yaml:3:1: top_k",  # duplicate keys first
        "config.yaml:1:1: titel",
        "config.yaml:2:1: top_k",
        "config.yaml:7:5: backbones[1].crop_pct",
        "config.yaml:8:5: backbones[1].lables",
        "config.yaml:9:5: backbones[2]",
    ]


def test_names_are_unique_and_include_the_default():
    text = "default: c\ntitle: x\ntitle: y\nbackbones:\n  - a\n  - {backbone: b, name: a}\n  - {backbone: a, name: d}\n"
    duplicate_key, duplicate_name, unknown_default = problems(text)
    assert duplicate_key.startswith("config.yaml:3:1: title: expected each key once; already defined in line 2")
    assert duplicate_name.startswith(
        "config.yaml:6:5: backbones[1]: expected each name once; got 'a' again; give one of the"
    )
    assert unknown_default.startswith(
        "config.yaml:1:1: default: expected the name of an entry; got 'c'; use one of: a, "
    )


@pytest.mark.parametrize("word", ["resnet18", "RESNET18", "resnet_18"])
def test_only_close_matches_are_suggested(word):
    assert errors.did_you_mean(word, ["vgg11", "resnet18", "resnet152"]) == "did you mean 'resnet18'?"
    assert errors.did_you_mean(word, ["vgg11", "maze"]) == ""


VALUES = ["true", "5", "-1", "0.5", ".nan", "~", "''", "[]", "[1, a]", "{a: 1}", "2020-01-01", "0x1F", "=", "text"]


def damaged(text, rng):
    at = rng.randrange(len(text))
    match rng.randrange(4):
        case 0:
            return text[:at] + text[at + rng.randint(1, 6) :]
        case 1:
            return text[:at] + rng.choice(":-[]{},#&*!|>'\"%@`?~=\n\t \0é") + text[at:]
        case 2:  # replace the value of a key
            line = rng.choice(re.findall(r"^.*: .*$", text, re.MULTILINE))
            value = rng.choice(VALUES)
            return text.replace(line, f"{line.split(': ')[0]}: {value}", 1)
    lines = text.split("\n")  # duplicate a line at another depth
    lines.insert(rng.randrange(len(lines)), " " * rng.choice([0, 2, 4]) + rng.choice(lines).strip())
    return "\n".join(lines)


def test_damaged_config_is_valid_or_rejected_with_positions():
    rng, refused = random.Random(20), 0
    for _ in range(500):
        text = damaged(LONG, rng) if rng.random() < 0.5 else damaged(damaged(LONG, rng), rng)
        try:
            assert isinstance(read(text), config.Config)
        except ConfigError as error:
            matches = [re.match(r"config\.yaml:(\d+):(\d+): \S", problem) for problem in error.problems]
            assert matches, text
            assert all(match and 1 <= int(match[1]) <= text.count("\n") + 2 for match in matches), (matches, text)
            refused += 1
    assert 250 < refused < 490  # both outcomes are covered


def test_hardware_is_that_of_the_hub():
    from huggingface_hub import SpaceHardware

    assert sorted(get_args(Hardware)) == sorted(hardware.value for hardware in SpaceHardware)
