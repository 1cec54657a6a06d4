"""Folders of a network with a new head: the same numbers when they are loaded, whatever the network is."""

import json

import numpy as np
import pytest
import timm
import torch
from hub import timm_repo
from networks import noise, seeded_timm
from planning import plan, write_folder

from lineup import registry
from lineup.errors import BackboneError
from lineup.hub import downloads
from lineup.registry import trained_folder

NAMES = ["cat", "dog 🐶", "a/b"]
DETAILS = {"description": "trained on 3 images", "trained": {"backbone": "x"}}


def save(folder, value):
    """Save a backbone with a random head, and return its plan for features, the head, and whether it is plain."""
    planned = plan(value, output="features")
    draw = np.random.default_rng(0)
    layer = draw.normal(size=(3, planned.embedding_dim)).astype(np.float32), draw.normal(size=3).astype(np.float32)
    path = downloads.fetch(planned.weights, 30) if planned.weights else None
    return planned, path, layer, trained_folder.write(folder, planned, path, layer, NAMES, DETAILS)


def features(planned, path, batch):
    with torch.inference_mode():
        found = registry.build(planned, path)(torch.from_numpy(batch))
    return torch.nn.functional.normalize(found, dim=-1) if planned.embedding.is_normalized else found


def assert_same(folder, planned, path, layer):
    """Assert that the folder has the logits of the head on the features, and the transform of the backbone."""
    saved = plan({"name": "mine", "backbone": f"local-dir:{folder}"})
    batch = noise(planned.transform.input_size)[:, : planned.transform.channels]
    with torch.inference_mode():
        logits = registry.build(saved, saved.weights.path)(torch.from_numpy(batch))
    weight, bias = map(torch.from_numpy, layer)
    torch.testing.assert_close(logits, features(planned, path, batch) @ weight.T + bias, rtol=1e-5, atol=1e-5)
    assert [label.name for label in saved.labels.labels] == NAMES
    assert saved.license == planned.license
    assert saved.notes == ("trained on 3 images",)
    assert saved.loading_notes == ()
    settings = [{key: _plain(value) for key, value in each.transform.settings.items()} for each in (saved, planned)]
    assert settings[0] == settings[1]
    return saved


def _plain(value):
    return list(value) if isinstance(value, tuple) else value


DISTILLED = {"backbone": "deit_tiny_distilled_patch16_224", "pretrained": False, "input_size": [64, 64]}
RANDOM = {
    "resnet": {"backbone": "test_resnet", "input_size": 64},
    "vit of another size": {"backbone": "vit_tiny_patch16_224", "input_size": [64, 64]},
    "grayscale, other preprocessing": {
        "backbone": "mobilenetv3_small_050",
        "in_chans": 1,
        "mean": 0.4,
        "std": 0.3,
        "crop_mode": "squash",
        "input_size": 64,
    },
    "layers before the head": {"backbone": "test_convnext"},
}


@pytest.mark.parametrize("value", RANDOM.values(), ids=RANDOM.keys())
def test_linear_head_makes_a_plain_folder_of_timm(tmp_path, value):
    planned, path, layer, is_plain = save(tmp_path / "mine", {**value, "pretrained": False})
    assert is_plain
    assert sorted(each.name for each in (tmp_path / "mine").iterdir()) == ["config.json", "model.safetensors"]
    assert_same(tmp_path / "mine", planned, path, layer)
    network = timm.create_model(f"local-dir:{tmp_path / 'mine'}", pretrained=True).eval()
    batch = noise(planned.transform.input_size)[:, : planned.transform.channels]
    weight, bias = map(torch.from_numpy, layer)
    with torch.inference_mode():
        logits = network(torch.from_numpy(batch))
    torch.testing.assert_close(logits, features(planned, path, batch) @ weight.T + bias, rtol=1e-5, atol=1e-5)
    stored = json.loads((tmp_path / "mine" / "config.json").read_text())
    assert (stored["label_names"], stored["trained"]) == (NAMES, {"backbone": "x"})


def test_headless_backbone_gets_a_head(tmp_path, publish, hub, fresh_cache):
    publish("convnextv2_atto.fcmae")
    planned, path, layer, is_plain = save(tmp_path / "mine", {"backbone": "convnextv2_atto.fcmae"})
    assert is_plain
    assert_same(tmp_path / "mine", planned, path, layer)


def test_normalised_embedding_keeps_its_tower_and_a_head_beside_it(tmp_path):
    write_folder(tmp_path / "clip", timm_repo(seeded_timm("fastvit_mci0.apple_mclip")))
    planned, path, layer, is_plain = save(tmp_path / "mine", f"local-dir:{tmp_path / 'clip'}")
    assert planned.embedding.is_normalized
    assert not is_plain
    saved = assert_same(tmp_path / "mine", planned, path, layer)
    assert (saved.output, saved.head) == ("classes", "head (512 → 3)")
    assert saved.features().embedding_dim == 512
    tower = timm.create_model(f"local-dir:{tmp_path / 'mine'}", pretrained=True)
    assert tower.num_classes == 512


def test_distilled_network_of_two_heads_keeps_its_tower(tmp_path):
    planned, path, layer, is_plain = save(tmp_path / "mine", DISTILLED)
    assert not is_plain
    assert_same(tmp_path / "mine", planned, path, layer)


def test_network_whose_layer_gives_slightly_other_logits_keeps_its_tower(tmp_path, monkeypatch):
    forward = timm.models.ResNet.forward_head

    def rescaled(network, x, pre_logits=False):
        return forward(network, x, pre_logits) * (1 if pre_logits else 1.00003)

    monkeypatch.setattr(timm.models.ResNet, "forward_head", rescaled)
    assert not save(tmp_path / "mine", {**RANDOM["resnet"], "pretrained": False})[3]


def test_head_beside_a_tower_is_fetched_from_the_hub(tmp_path, hub, fresh_cache):
    planned, path, layer, _ = save(tmp_path / "mine", DISTILLED)
    hub.put("me/mine", {each.name: each.read_bytes() for each in (tmp_path / "mine").iterdir()})
    saved = plan("hf-hub:me/mine")
    batch = noise(planned.transform.input_size)
    with torch.inference_mode():
        logits = registry.build(saved, downloads.fetch(saved.weights, 30))(torch.from_numpy(batch))
    weight, bias = map(torch.from_numpy, layer)
    torch.testing.assert_close(logits, features(planned, path, batch) @ weight.T + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: (folder / "head.safetensors").unlink(), "the head in head.safetensors"),
        (lambda folder: (folder / "head.safetensors").write_bytes(b"x"), "the head in head.safetensors"),
        (lambda folder: _rename(folder, ["cat", "dog"]), "tensors of the shapes"),
        (lambda folder: _rename(folder, "cat"), "`label_names` of two classes or more"),
    ],
)
def test_damaged_head_is_refused_with_a_sentence(tmp_path, change, sentence):
    save(tmp_path / "mine", DISTILLED)
    change(tmp_path / "mine")
    with pytest.raises(BackboneError, match=sentence):
        plan(f"local-dir:{tmp_path / 'mine'}")


def _rename(folder, names):
    config = json.loads((folder / "config.json").read_text())
    config["lineup"]["label_names"] = names
    (folder / "config.json").write_text(json.dumps(config))


def test_backbone_of_another_library_is_refused(tmp_path):
    with pytest.raises(BackboneError, match="a backbone of timm, whose format a new head is saved in"):
        save(tmp_path / "mine", {"backbone": "torchvision/squeezenet1_1", "pretrained": False})
