"""Labels of the user's own models, from the config to the answer."""

import json

import numpy as np
import pytest
import timm
import torch
from own_models import NAMES, check, classify, outputs, write_checkpoint, write_config, write_folder
from planning import plan
from timm.data import ImageNetInfo, create_transform, resolve_data_config

from lineup.errors import BackboneError

TINY = "test_resnet"


def seeded(num_classes=5, name=TINY):
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=num_classes).eval()
    with torch.no_grad():
        network.get_classifier().weight.mul_(20)
    return network


def expected_probabilities(network, folder, size_px=64):
    """Return the probability of each class of the wide image, by torch and timm alone."""
    cfg = resolve_data_config({"input_size": (3, size_px, size_px)}, pretrained_cfg=network.pretrained_cfg)
    logits = torch.from_numpy(outputs(network, create_transform(**cfg), folder))
    return logits.softmax(0).numpy()


LABELS = {
    "names.json": "[" + ",\n".join(map(json.dumps, NAMES)) + "]\n",
    "names.txt": "".join(f"{NAMES.index(name)},{name}\n" for name in sorted(NAMES)),
    "class_index.json": json.dumps({str(index): [f"n0{index}", name] for index, name in enumerate(NAMES)}),
    "pasted.txt": ",\n".join(f"'{name}'" for name in NAMES) + "\n",
    "classes.csv": "name,id\n" + "".join(f"{name},{NAMES.index(name)}\n" for name in sorted(NAMES)),
    "data.yaml": f"train: images\nnc: 5\nnames: {NAMES}\n",
    "config.json": json.dumps({"model_type": "vit", "id2label": {str(i): name for i, name in enumerate(NAMES)}}),
}


@pytest.mark.parametrize("file", LABELS)
def test_probabilities_have_the_names_of_a_label_file(tmp_path, capsys, file):
    network = seeded()
    (tmp_path / file).write_text(LABELS[file])
    write_checkpoint(tmp_path, network.state_dict(), {"backbone": TINY}, labels=file)
    expected = dict(zip(NAMES, expected_probabilities(network, tmp_path).tolist(), strict=True))
    assert classify(tmp_path, capsys)[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("labels", [dict(enumerate(NAMES)), {name: NAMES.index(name) for name in sorted(NAMES)}])
def test_labels_may_be_a_mapping_in_the_config(tmp_path, capsys, labels):
    network = seeded()
    write_checkpoint(tmp_path, network.state_dict(), {"backbone": TINY}, labels=labels)
    expected = dict(zip(NAMES, expected_probabilities(network, tmp_path).tolist(), strict=True))
    assert classify(tmp_path, capsys)[0] == pytest.approx(expected, abs=1e-4)


def test_doubtful_label_file_fails_the_check(tmp_path, capsys):
    (tmp_path / "names.txt").write_text("".join(f"{index} {name}\n" for index, name in enumerate(NAMES, start=1)))
    write_checkpoint(tmp_path, seeded().state_dict(), {"backbone": TINY}, labels="names.txt")
    status, printed = check(tmp_path, capsys)
    assert status != 0
    assert "mine: labels: names.txt: " in printed
    assert "numbered from 1 to 5" in " ".join(printed.split())


INFO = ImageNetInfo()
IDS = INFO.label_names()
LEMMAS = [INFO.label_name_to_description(wnid) for wnid in IDS]


@pytest.mark.parametrize(
    "lines",
    [
        IDS,
        [f"{wnid} {lemmas}" for wnid, lemmas in zip(IDS, LEMMAS, strict=True)],
        [f"{i} {s}" for i, s in enumerate(IDS)],
    ],
    ids=["ids", "ids and names", "indices and ids"],
)
def test_wordnet_ids_of_a_file_are_those_of_published_labels(tmp_path, lines):
    (tmp_path / "synsets.txt").write_text("\n".join(lines))
    own = plan({"backbone": TINY, "pretrained": False, "labels": "synsets.txt"}, tmp_path).labels
    assert own.labels == plan("resnet18.a1_in1k").labels.labels
    inline = plan({"backbone": TINY, "pretrained": False, "labels": IDS}).labels
    assert inline.labels == own.labels


@pytest.mark.parametrize("backbone", ["resnet18.a1_in1k", "torchvision/resnet18", "local-dir:m"])
def test_imagenet_names_in_another_order_than_the_weights_are_refused(tmp_path, backbone):
    write_folder(tmp_path, seeded(1000), label_names=IDS)
    (tmp_path / "alphabetical.txt").write_text("\n".join(sorted(LEMMAS, key=str.casefold)))
    (tmp_path / "right.txt").write_text("\n".join(LEMMAS))
    entry = {"name": "mine", "backbone": backbone}
    with pytest.raises(BackboneError, match=r"alphabetical\.txt has the same in another order: class 0 is "):
        plan({**entry, "labels": "alphabetical.txt"}, tmp_path)
    assert plan({**entry, "labels": "right.txt"}, tmp_path).labels.labels[0].name == "tench, Tinca tinca"


def test_own_weights_with_an_imagenet_tag_have_numbers_for_names(tmp_path, capsys):
    network = timm.create_model("resnet18.a1_in1k", num_classes=1000)
    write_folder(tmp_path, network, {"num_classes": 1000})
    planned = plan("local-dir:m", tmp_path)
    assert planned.architecture == "resnet18.a1_in1k"
    assert not planned.labels.named
    assert planned.loading_notes == (
        "no class names: config.json names resnet18.a1_in1k, but these are not the weights published as that",
    )
    shown, answer = classify(tmp_path, capsys)
    assert all(name.startswith("class ") for name in shown)
    assert "the classes of these weights have no names here, only numbers" in answer["notes"]


def test_own_labels_replace_those_of_a_tag(tmp_path):
    write_folder(tmp_path, timm.create_model("resnet18.a1_in1k"))
    planned = plan({"backbone": "local-dir:m", "labels": [f"thing {index}" for index in range(1000)]}, tmp_path)
    assert planned.labels.labels[999].name == "thing 999"
    assert planned.loading_notes == ()


@pytest.mark.parametrize(
    ("repo", "named"),
    [
        ("timm/resnet26.bt_in1k", True),
        ("me/resnet26.bt_in1k", False),
        ("timm/resnet26d.bt_in1k", False),
        ("me/x", False),
    ],
)
def test_tag_names_the_classes_only_in_the_repository_of_timm(hub, fresh_cache, repo, named):
    cfg = {"num_classes": 1000, "input_size": [3, 64, 64], "tag": "bt_in1k"}
    config = {"architecture": "resnet26", "num_classes": 1000, "pretrained_cfg": cfg}
    hub.put(repo, {"config.json": json.dumps(config).encode()})
    assert plan(f"hf-hub:{repo}").labels.named is named


def test_folder_with_a_file_that_timm_publishes_has_the_names_of_its_tag(tmp_path, monkeypatch):
    from lineup.hub import checksums
    from lineup.registry import known_weights

    folder = write_folder(tmp_path, timm.create_model("resnet18.a1_in1k"))
    table = {"resnet18.a1_in1k": [checksums.sha256(folder / "model.safetensors")]}
    monkeypatch.setattr(known_weights, "_table", lambda: table)
    planned = plan({"backbone": "local-dir:m", "input_size": 64}, tmp_path)
    assert planned.labels == plan("resnet18.a1_in1k").labels
    assert planned.loading_notes == ()


def test_names_that_a_config_lacks_are_numbered(tmp_path):
    write_folder(tmp_path, seeded(), label_names={"0": "cat", "3": "fish"})
    planned = plan("local-dir:m", tmp_path)
    assert planned.labels.display_names == ("cat", "class 1", "class 2", "fish", "class 4")
    assert planned.labels.origin == "label_names of m, without class 1, 2, 4"


def test_numbered_names_keep_their_numbers(tmp_path):
    digits = np.arange(10).astype(str).tolist()
    (tmp_path / "digits.txt").write_text("\n".join(digits))
    write_config(tmp_path, {"name": "mine", "backbone": TINY, "pretrained": False, "labels": "digits.txt"})
    entry = {"backbone": TINY, "pretrained": False, "labels": "digits.txt"}
    assert list(plan(entry, tmp_path).labels.display_names) == digits
