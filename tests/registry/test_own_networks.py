"""Heads under other names, grayscale networks, and arguments of the function that builds a network."""

import numpy as np
import pytest
import timm
import torch
from networks import scale_head, seeded_timm
from own_models import outputs, wide_image, write_checkpoint, write_folder
from PIL import Image
from planning import plan
from test_checkpoint_keys import loaded, refusal
from timm.data import create_transform
from torch import nn
from torchvision import models, transforms

from lineup import registry
from lineup.engines import openvino_engine
from lineup.engines.torch_engine import TorchEngine
from lineup.hub import checksums, files

SIZES = {"input_size": 64, "crop_pct": 1.0, "interpolation": "bilinear"}


def own_outputs(folder, entry):
    """Plan and load an entry; return the plan, and the outputs for the wide image."""
    planned, network = loaded(folder, entry)
    with Image.open(wide_image(folder)) as image, torch.inference_mode():
        batch = planned.transform(image.convert("RGB"))
        return planned, network(torch.from_numpy(batch))[0].numpy()


def recipe_outputs(planned, folder, monkeypatch):
    """Return the outputs of the plan's recipe for the wide image."""
    monkeypatch.chdir(folder)
    names: dict = {"torch": torch}
    exec(planned.recipe, names)
    return outputs(names["network"], names["transform"], folder)


def assert_same(ours, theirs):
    assert theirs.std() > 1e-3
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


# --- heads ---


def mobilenet(head):
    network = scale_head(models.mobilenet_v2(num_classes=5))
    linear = network.classifier[1]
    network.classifier = head(linear)
    return network


HEADS = {
    "one Linear": (lambda linear: linear, "classifier"),
    "Sequential with one Linear": (lambda linear: nn.Sequential(linear), "classifier.0"),
    "nested": (lambda linear: nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), linear)), "classifier.1.1"),
    "with LogSoftmax": (lambda linear: nn.Sequential(nn.Flatten(), nn.Dropout(), linear), "classifier.2"),
}


@pytest.mark.parametrize("name", HEADS)
def test_single_linear_head_is_loaded_wherever_it_stands(tmp_path, monkeypatch, name):
    head, stored = HEADS[name]
    torch.manual_seed(0)
    network = mobilenet(head)
    entry = write_checkpoint(
        tmp_path, network.state_dict(), {"backbone": "torchvision/mobilenet_v2", "crop_mode": "center"}, None
    )
    planned, ours = own_outputs(tmp_path, entry | {"labels": None})
    assert_same(ours, outputs(network, planned.transform.steps, tmp_path))
    assert_same(ours, recipe_outputs(planned, tmp_path, monkeypatch))
    assert planned.num_classes == 5
    assert planned.head == "classifier.1 (1280 → 5)"
    assert planned.loading_notes == (f"the classification layer 'classifier.1' is {stored!r} in the checkpoint",)


def test_replaced_layer_that_is_not_the_head_is_refused(tmp_path):
    state = models.convnext_tiny(num_classes=5).state_dict()  # its head has a norm layer, too
    linear = {"classifier.weight": state.pop("classifier.2.weight"), "classifier.bias": state.pop("classifier.2.bias")}
    del state["classifier.0.weight"], state["classifier.0.bias"]
    torch.save(state | linear, tmp_path / "w.pth")
    assert "4 missing" in refusal(tmp_path, {"backbone": "torchvision/convnext_tiny", "checkpoint": "w.pth"})


def test_head_with_other_features_is_refused(tmp_path):
    network = seeded_timm("test_resnet", num_classes=5)
    network.fc = nn.Sequential(nn.Linear(192, 5))
    torch.save(network.state_dict(), tmp_path / "w.pth")
    assert "2 missing (such as fc.bias), 2 unknown" in refusal(
        tmp_path, {"backbone": "test_resnet", "checkpoint": "w.pth"}
    )


# --- auxiliary heads, and the second normalisation of two networks ---

GOOGLENET = {"backbone": "torchvision/googlenet", **SIZES, "crop_mode": "center", "mean": 0.5, "std": 0.5}


@pytest.mark.parametrize("auxiliary", [False, True])
def test_googlenet_has_no_auxiliary_heads_and_says_what_was_assumed(tmp_path, monkeypatch, auxiliary):
    torch.manual_seed(0)
    network = scale_head(models.googlenet(num_classes=5, aux_logits=auxiliary, init_weights=False))
    entry = write_checkpoint(tmp_path, network.state_dict(), GOOGLENET)
    planned, ours = own_outputs(tmp_path, entry)
    assert_same(ours, outputs(network, planned.transform.steps, tmp_path))
    assert_same(ours, recipe_outputs(planned, tmp_path, monkeypatch))
    (note,) = planned.notes
    assert "assumed to be trained with `transform_input=False`" in note
    assert "`model_args: {transform_input: true}`" in note


@pytest.mark.parametrize("normalizes", [False, True])
def test_transform_input_is_that_of_the_entry(tmp_path, monkeypatch, normalizes):
    torch.manual_seed(0)
    arguments = {"num_classes": 5, "init_weights": False, "transform_input": normalizes}
    network = models.inception_v3(**arguments)
    more = {"backbone": "torchvision/inception_v3", "model_args": {"transform_input": normalizes}}
    entry = write_checkpoint(tmp_path, network.state_dict(), GOOGLENET | {"input_size": 96} | more)
    planned, ours = own_outputs(tmp_path, entry)
    np.testing.assert_allclose(ours, outputs(network, planned.transform.steps, tmp_path), atol=1e-5)
    np.testing.assert_allclose(ours, recipe_outputs(planned, tmp_path, monkeypatch), atol=1e-5)
    assert planned.notes == ()
    assert planned.fingerprint != plan(entry | {"model_args": None}, tmp_path).fingerprint or not normalizes


def test_transform_input_is_true_for_the_published_weights(tmp_path, monkeypatch):
    torch.save(models.googlenet(init_weights=False).state_dict(), tmp_path / "w.pth")
    monkeypatch.setattr(files, "sha256_in_name", lambda url: checksums.sha256(tmp_path / "w.pth")[:8])
    planned = plan({"name": "mine", "backbone": "torchvision/googlenet", "checkpoint": "w.pth"}, tmp_path)
    assert planned.make(None).transform_input is True
    assert planned.notes[0].startswith("preprocessing assumed from torchvision/googlenet@IMAGENET1K_V1")


# --- grayscale ---


def gray_transform(mean, std):
    steps = [transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor(), transforms.Normalize(mean, std)]
    return transforms.Compose([transforms.Grayscale(), *steps])


def torchvision_gray():
    torch.manual_seed(0)
    network = models.shufflenet_v2_x0_5(num_classes=5)
    network.conv1[0] = nn.Conv2d(1, 24, 3, 2, 1, bias=False)
    return network


GRAY = {
    "test_resnet": lambda: timm.create_model("test_resnet", num_classes=5, in_chans=1),
    "test_vit": lambda: timm.create_model("test_vit", num_classes=5, in_chans=1, img_size=64),
    "torchvision/shufflenet_v2_x0_5": torchvision_gray,
}


@pytest.fixture(params=GRAY)
def gray(request, tmp_path):
    """Return an entry with a grayscale network, and the network."""
    torch.manual_seed(0)
    network = GRAY[request.param]()
    with torch.no_grad():
        [each for each in network.modules() if isinstance(each, nn.Linear)][-1].weight.mul_(20)
    return write_checkpoint(tmp_path, network.state_dict(), {"backbone": request.param, **SIZES}), network


@pytest.mark.parametrize(
    ("more", "mean", "std"),
    [
        ({}, None, None),
        ({"mean": 0.5, "std": 0.25}, 0.5, 0.25),
        ({"mean": [0.5], "std": [0.25], "in_chans": 1}, 0.5, 0.25),
        ({"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}, 0.449, 0.226),
    ],
)
def test_network_of_one_channel_gets_grayscale_images(gray, tmp_path, monkeypatch, more, mean, std):
    entry, network = gray
    planned, ours = own_outputs(tmp_path, entry | more)
    assumed = [note for note in planned.notes if note.startswith("grayscale: mean ")]
    assert bool(assumed) == (mean != 0.5)
    mean, std = mean or planned.transform.mean[0], std or planned.transform.std[0]
    assert planned.transform.mean == pytest.approx((mean,))
    assert assumed in ([], [f"grayscale: mean {mean:g} and std {std:g} are averages over the three channels"])
    assert_same(ours, outputs(network, gray_transform([mean], [std]), tmp_path))
    assert_same(ours, recipe_outputs(planned, tmp_path, monkeypatch))
    assert ("in_chans: 1, as the first layer has in the checkpoint" in str(planned.loading_notes)) != (
        "in_chans" in more
    )


def test_grayscale_crop_batches_and_features_have_one_channel(gray, tmp_path):
    planned, _ = loaded(tmp_path, gray[0])
    image = Image.open(wide_image(tmp_path)).convert("RGB")
    batch = planned.transform.batch([image, image])
    assert (batch.shape, batch.dtype) == ((2, 1, 64, 64), np.float32)
    crop = planned.transform.as_image(batch)
    assert (crop.mode, crop.size) == ("L", (64, 64))
    expected = transforms.Compose(gray_transform([0], [1]).transforms[:3])(image)
    assert np.abs(np.asarray(crop, float) - np.asarray(expected, float)).max() <= 1
    features = planned.features()
    with torch.inference_mode():
        found = registry.build(features, planned.weights.path)(torch.from_numpy(batch))
    assert found.shape == (2, features.embedding_dim)


def test_grayscale_network_is_converted_to_openvino(tmp_path):
    network = timm.create_model("test_resnet", num_classes=5, in_chans=1)
    entry = write_checkpoint(tmp_path, network.state_dict(), {"backbone": "test_resnet", **SIZES})
    planned, built = loaded(tmp_path, entry)
    model = openvino_engine.convert(built, planned.transform.input_size, planned.transform.channels)
    engine = openvino_engine.compile_checked(
        model, TorchEngine(built, "cpu"), (64, 64), 1, precision="float32", threads=1
    )
    assert engine(np.zeros((2, 1, 64, 64), np.float32)).shape == (2, 5)


def test_grayscale_folder_of_timm_is_loaded(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=5, in_chans=1)
    write_folder(tmp_path, network, {"model_args": {"in_chans": 1}}, label_names=list("abcde"))
    planned, ours = own_outputs(tmp_path, {"backbone": "local-dir:m"})
    data = timm.data.resolve_data_config(pretrained_cfg=network.pretrained_cfg)
    data |= {"mean": planned.transform.mean, "std": planned.transform.std}
    assert planned.transform.mean == pytest.approx((np.mean(network.pretrained_cfg["mean"]),))
    theirs = outputs(network, transforms.Compose([transforms.Grayscale(), create_transform(**data)]), tmp_path)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert planned.notes == ()  # timm has written the mean of one channel


def test_mean_of_a_grayscale_folder_is_no_average(tmp_path):
    network = timm.create_model("test_resnet", num_classes=2, in_chans=1)
    network.pretrained_cfg |= {"mean": (0.13,), "std": (0.31,)}
    write_folder(tmp_path, network, label_names=["a", "b"])
    planned = plan("local-dir:m", tmp_path)
    assert (planned.transform.mean, planned.transform.std, planned.notes) == ((0.13,), (0.31,), ())


def test_channels_of_the_entry_are_compared_with_the_checkpoint(tmp_path):
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), tmp_path / "w.pth")
    entry = {"backbone": "test_resnet", "checkpoint": "w.pth"}
    assert plan({"name": "a", **entry, "in_chans": 3}, tmp_path).transform.channels == 3
    text = refusal(tmp_path, {**entry, "in_chans": 1})
    assert "in_chans: expected 1 channels; the first layer of the checkpoint takes 3; remove `in_chans`" in text


def test_untrained_network_may_have_one_channel(tmp_path):
    planned = plan({"name": "a", "backbone": "test_resnet", "pretrained": False, "in_chans": 1}, tmp_path)
    assert planned.make(None)(torch.zeros(1, 1, 64, 64)).shape == (1, 1000)


# --- arguments ---


@pytest.mark.parametrize(
    ("pooling", "said"), [("avg", None), ("avg", "avg"), ("token", None), ("max", "max"), ("map", None)]
)
def test_pooling_of_a_vit_is_recognized_or_given(tmp_path, monkeypatch, pooling, said):
    network = seeded_timm("test_vit", num_classes=5, img_size=64, global_pool=pooling)
    more = {"model_args": {"global_pool": said}} if said else {}
    entry = write_checkpoint(tmp_path, network.state_dict(), {"backbone": "test_vit", **SIZES, **more})
    planned, ours = own_outputs(tmp_path, entry)
    assert_same(ours, outputs(network, planned.transform.steps, tmp_path))
    assert_same(ours, recipe_outputs(planned, tmp_path, monkeypatch))
    inferred = any(f"global_pool: {pooling}" in note for note in planned.loading_notes)
    assert inferred == (not said and pooling != network.pretrained_cfg.get("global_pool", "token"))
    assert ("global_pool" in planned.fingerprint) == bool(said or inferred)


def test_published_figures_are_not_those_of_a_network_with_other_arguments(tmp_path):
    entry = {"name": "a", "backbone": "test_resnet", "checkpoint": "w.pth"}
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pth")
    assert plan({**entry, "model_args": {"global_pool": "max"}}, tmp_path).figures == {}


ARGUMENTS = {
    "unknown": (
        {"global_pol": "avg"},
        ["model_args: expected arguments of test_resnet (", "did you mean 'global_pool'?"],
    ),
    "a foreign one": ({"transform_input": True}, ["got 'transform_input'; remove it", "drop_rate"]),
    "a wrong value": ({"global_pool": "mean"}, ["model_args: expected values that test_resnet accepts", "'mean'"]),
    "no pooling": ({"global_pool": ""}, ["expected a network that returns 5 logits", "it cannot run: "]),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_the_network_does_not_accept_are_refused(tmp_path, name):
    arguments, parts = ARGUMENTS[name]
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), tmp_path / "w.pth")
    text = refusal(tmp_path, {"backbone": "test_resnet", "checkpoint": "w.pth", "model_args": arguments})
    assert [part for part in parts if part not in text] == [], text


def test_arguments_that_torchvision_does_not_accept_are_refused(tmp_path):
    torch.save(models.shufflenet_v2_x0_5(num_classes=5).state_dict(), tmp_path / "w.pth")
    entry = {"backbone": "torchvision/shufflenet_v2_x0_5", "checkpoint": "w.pth"}
    assert "stages_out_channels" in refusal(tmp_path, {**entry, "model_args": {"global_pool": "avg"}})


# --- found in review ---


def test_input_size_of_a_grayscale_folder_keeps_its_channel(tmp_path, image):
    write_folder(tmp_path, timm.create_model("test_resnet", in_chans=1, num_classes=2))
    planned = plan({"backbone": "local-dir:m", "input_size": 128}, tmp_path)
    assert planned.transform(Image.open(image)).shape == (1, 1, 128, 128)


def test_averaged_weights_without_buffers_are_not_taken_and_that_is_said(tmp_path):
    network = timm.create_model("test_resnet", num_classes=2)
    state, averaged = network.state_dict(), {name: value.detach() for name, value in network.named_parameters()}
    entry = write_checkpoint(tmp_path, {"model": state, "model_ema": averaged}, {"backbone": "test_resnet"}, ["a", "b"])
    assert any("the checkpoint also has 'model_ema'" in note for note in plan(entry, tmp_path).loading_notes)


def test_folder_named_like_timms_repository_gets_no_names_of_it(tmp_path):
    write_folder(tmp_path, timm.create_model("test_resnet.r160_in1k"))
    (tmp_path / "timm").mkdir()
    (tmp_path / "m").rename(tmp_path / "timm/test_resnet.r160_in1k")
    assert not plan("local-dir:timm/test_resnet.r160_in1k", tmp_path).labels.named


def test_chosen_file_that_timm_would_not_choose_has_no_recipe(tmp_path):
    write_folder(tmp_path, timm.create_model("test_resnet", num_classes=2))
    assert plan("local-dir:m", tmp_path).recipe
    (tmp_path / "m/model.safetensors").rename(tmp_path / "m/model_best.safetensors")
    (tmp_path / "m/checkpoint-1.safetensors").write_bytes((tmp_path / "m/model_best.safetensors").read_bytes())
    assert plan("local-dir:m", tmp_path).recipe == ""


@pytest.mark.parametrize("extra", [range(3), slice(1), frozenset({1}), 10**20])
def test_plain_objects_beside_the_weights_are_ignored(tmp_path, extra):
    state = timm.create_model("test_resnet", num_classes=2).state_dict()
    entry = write_checkpoint(tmp_path, {"state_dict": state, "x": extra}, {"backbone": "test_resnet"}, ["a", "b"])
    assert plan(entry, tmp_path).num_classes == 2


@pytest.mark.parametrize("key", ["class_to_idx", "classes"])
def test_names_beside_the_weights_are_used_and_contradictions_refused(tmp_path, key):
    names = ["elk", "ant", "cow"]
    stored = {name: index for index, name in enumerate(names)} if key == "class_to_idx" else names
    state = timm.create_model("test_resnet", num_classes=3).state_dict()
    entry = write_checkpoint(tmp_path, {"state_dict": state, key: stored}, {"backbone": "test_resnet"}, sorted(names))
    text = refusal(tmp_path, entry)
    assert f"labels: expected the order of `{key}` in the checkpoint; class 0 is 'ant' in the entry, and 'elk'" in text
    planned = plan({**entry, "labels": None}, tmp_path)
    assert (planned.labels.display_names, planned.labels.origin) == (tuple(names), f"{key} of the checkpoint")
    assert plan({**entry, "labels": ["a", "b", "c"]}, tmp_path).labels.display_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("suffixes", "text"),
    [
        ((".running_mean", ".running_var"), "it has no running statistics of batch normalization; train with"),
        (("fc.bias",), "its head has no bias (fc.bias); add zeros"),
        (("fc.bias", "fc.weight"), "it has no classification layer"),
    ],
)
def test_what_is_missing_alone_is_named(tmp_path, suffixes, text):
    state = timm.create_model("resnet18", num_classes=3).state_dict()
    state = {key: value for key, value in state.items() if not key.endswith(suffixes)}
    entry = write_checkpoint(tmp_path, state, {"backbone": "resnet18"}, ["a", "b", "c"])
    assert text in refusal(tmp_path, entry)
