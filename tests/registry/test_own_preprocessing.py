"""How the images of the user's own model get its input size, and how they are normalised: compared with torchvision."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import timm
import torch
from networks import seeded_timm
from own_models import NAMES, check, classify, outputs, wide_image, write_checkpoint, write_folder
from PIL import Image
from planning import plan
from test_checkpoint_keys import loaded, refusal
from timm.data import create_transform
from timm.models import get_pretrained_cfg
from torchvision import models
from torchvision import transforms as T

from lineup.config import Entry, normalization
from lineup.registry import timm_transform

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
ALL = {"mean": MEAN, "std": STD, "interpolation": "bicubic"}
BICUBIC = T.InterpolationMode.BICUBIC


def after(*steps, mean=MEAN, std=STD):
    return T.Compose([*steps, T.ToTensor(), T.Normalize(mean, std)])


def theirs(planned, steps, folder):
    """Return what torchvision's steps, and what the plan's transform, make of the wide image."""
    with Image.open(wide_image(folder)) as image:
        rgb = image.convert("RGB")
    return planned.transform(rgb)[0], steps(rgb).numpy()


def architecture(backbone):
    if backbone.startswith("torchvision/"):
        return models.get_model(backbone.removeprefix("torchvision/"), num_classes=5)
    return timm.create_model(backbone, num_classes=5)


@pytest.fixture(params=["test_resnet", "torchvision/shufflenet_v2_x0_5"])
def backbone(request):
    return request.param


def own(folder, backbone, **settings):
    """Write a checkpoint; return the plan of an entry with it, and the network."""
    torch.manual_seed(0)
    network = architecture(backbone)
    entry = write_checkpoint(folder, network.state_dict(), {"backbone": backbone, **settings})
    planned, _ = loaded(folder, entry)
    return planned, network


@pytest.mark.parametrize("size", [64, [48, 96]])
def test_squash_equals_a_resize_to_the_input_size(tmp_path, backbone, size):
    planned, _ = own(tmp_path, backbone, crop_mode="squash", **ALL, input_size=size)
    height_width = (size, size) if isinstance(size, int) else size
    np.testing.assert_allclose(*theirs(planned, after(T.Resize(height_width, BICUBIC)), tmp_path), atol=1e-5)
    assert planned.notes == ()
    assert planned.loading_notes == ()
    assert planned.transform.resizing == "squashed, bicubic"


def test_squashed_image_is_classified_as_torch_does(tmp_path, capsys):
    torch.manual_seed(0)
    network = architecture("test_resnet")
    with torch.no_grad():
        network.get_classifier().weight.mul_(20)
    write_checkpoint(tmp_path, network.state_dict(), {"backbone": "test_resnet", "crop_mode": "squash", **ALL})
    found, answer = classify(tmp_path, capsys)
    expected = torch.tensor(outputs(network, after(T.Resize((64, 64), BICUBIC)), tmp_path)).softmax(0).numpy()
    assert found == pytest.approx(dict(zip(NAMES, expected, strict=True)), abs=1e-5)
    assert max(found.values()) - min(found.values()) > 1e-2
    assert answer["notes"] == []
    assert "squashed, bicubic" in check(tmp_path, capsys)[1]


def test_squash_with_a_crop_pct_is_cropped_as_in_timm(tmp_path, backbone):
    planned, _ = own(tmp_path, backbone, crop_mode="squash", crop_pct=0.8, **ALL)
    steps = after(T.Resize((80, 80), BICUBIC), T.CenterCrop(64))
    np.testing.assert_allclose(*theirs(planned, steps, tmp_path), atol=1e-5)
    assert planned.transform.resizing == "squashed, center crop 0.8, bicubic"


def test_border_pads_the_whole_image_with_the_mean(tmp_path, backbone):
    planned, _ = own(tmp_path, backbone, crop_mode="border", **ALL)
    steps = after(T.Resize((32, 64), BICUBIC), T.Pad((0, 16), tuple(round(255 * mean) for mean in MEAN)))
    np.testing.assert_allclose(*theirs(planned, steps, tmp_path), atol=1e-5)
    own_of_timm = create_transform(**ALL, input_size=(3, 64, 64), crop_mode="border", crop_pct=1.0)
    np.testing.assert_array_equal(*theirs(planned, own_of_timm, tmp_path))
    assert planned.notes == ()
    assert planned.transform.resizing == "padded, bicubic"


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
def test_other_aspect_ratios_are_those_of_timm(tmp_path, backbone, mode):
    settings = {**ALL, "crop_mode": mode, "crop_pct": 0.9}
    planned, _ = own(tmp_path, backbone, **settings, input_size=[64, 96])
    steps = create_transform(**settings, input_size=(3, 64, 96))
    np.testing.assert_array_equal(*theirs(planned, steps, tmp_path))
    assert planned.transform.input_size == (64, 96)


@pytest.mark.parametrize("mode", ["squash", "border"])
def test_crop_mode_of_grayscale_images(tmp_path, monkeypatch, mode):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=5, in_chans=1)
    settings = {"mean": 0.45, "std": 0.22, "interpolation": "bicubic", "crop_mode": mode}
    planned, _ = loaded(
        tmp_path, write_checkpoint(tmp_path, network.state_dict(), settings | {"backbone": "test_resnet"})
    )
    resized = {
        "squash": [T.Resize((64, 64), BICUBIC)],
        "border": [T.Resize((32, 64), BICUBIC), T.Pad((0, 16), round(255 * 0.45))],
    }
    steps = after(T.Grayscale(), *resized[mode], mean=[0.45], std=[0.22])
    np.testing.assert_allclose(*theirs(planned, steps, tmp_path), atol=1e-5)
    assert_recipe_is_equal(planned, tmp_path, monkeypatch)


@pytest.mark.parametrize("settings", [{"crop_mode": "squash"}, {"crop_mode": "border"}, {"input_size": [64, 96]}])
def test_recipe_has_the_same_transform(tmp_path, monkeypatch, backbone, settings):
    planned, _ = own(tmp_path, backbone, **ALL, **settings)
    assert_recipe_is_equal(planned, tmp_path, monkeypatch)


def assert_recipe_is_equal(planned, folder, monkeypatch):
    monkeypatch.chdir(folder)
    names: dict = {"torch": torch}
    exec(planned.recipe, names)
    np.testing.assert_array_equal(*theirs(planned, names["transform"], folder))


def test_shown_crop_is_the_squashed_or_padded_image(tmp_path, backbone):
    for mode, corner in (("squash", (220, 30, 30)), ("border", tuple(round(255 * mean) for mean in MEAN))):
        transform = own(tmp_path, backbone, crop_mode=mode, **ALL)[0].transform
        with Image.open(wide_image(tmp_path)) as image:
            shown = transform.as_image(transform(image.convert("RGB")))
        assert shown.size == (64, 64)
        np.testing.assert_allclose(shown.getpixel((1, 1)), corner, atol=1)


def test_each_crop_mode_has_a_transform_and_a_plan_of_its_own(tmp_path, backbone):
    planned = [own(tmp_path, backbone, crop_mode=mode, **ALL)[0] for mode in ("center", "squash", "border", "squash")]
    assert len({each.transform.key for each in planned}) == 3
    assert len({each.fingerprint for each in planned}) == 3


@pytest.mark.parametrize("mode", ["squash", "border"])
def test_decoding_at_a_reduced_size_leaves_enough_pixels(tmp_path, backbone, mode):
    transform = own(tmp_path, backbone, crop_mode=mode, crop_pct=0.5, **ALL, input_size=[64, 96])[0].transform
    assert transform.resize_px >= 96 / 0.5  # the longer side of the image that is cropped or padded


def test_center_is_the_transform_of_torchvision_to_the_bit(tmp_path):
    chosen = models.ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1
    for entry in ({}, {"crop_mode": "center"}):
        planned = plan({"name": "a", "backbone": "torchvision/shufflenet_v2_x0_5", **entry})
        assert str(planned.transform.steps) == str(chosen.transforms())
        assert planned.transform.resizing == "center crop 0.875, bilinear"


def test_published_weights_can_be_squashed_too(tmp_path):
    planned = plan({"name": "a", "backbone": "torchvision/shufflenet_v2_x0_5", "crop_mode": "squash"})
    np.testing.assert_allclose(*theirs(planned, after(T.Resize((224, 224))), tmp_path), atol=1e-5)
    assert planned.figures == {}


def test_crop_mode_of_a_timm_model_is_kept_and_can_be_overridden(tmp_path):
    usual = plan({"name": "a", "backbone": "dm_nfnet_f0.dm_in1k"})
    assert usual.transform.resizing == "squashed, center crop 0.9, bicubic"
    steps = after(T.Resize((213, 213), BICUBIC), T.CenterCrop(192))
    np.testing.assert_allclose(*theirs(usual, steps, tmp_path), atol=1e-5)
    other = plan({"name": "a", "backbone": "resnet18", "crop_mode": "squash"})
    np.testing.assert_allclose(*theirs(other, after(T.Resize((224, 224), BICUBIC)), tmp_path), atol=1e-5)
    assert other.figures == {}


# --- what is assumed ---

ASSUMED = [
    ({**ALL, "crop_pct": 1.0}, "crop_mode"),
    ({**ALL, "crop_mode": "center"}, "crop_pct"),
    ({"crop_mode": "squash"}, "mean, std, interpolation"),
    ({**ALL, "input_size": None, "crop_mode": "border"}, "input_size"),
]


@pytest.mark.parametrize(("settings", "keys"), ASSUMED)
def test_what_is_assumed_is_named(tmp_path, backbone, settings, keys):
    planned, _ = own(tmp_path, backbone, **settings)
    published = {"test_resnet": "test_resnet.r160_in1k"}.get(backbone, f"{backbone}@IMAGENET1K_V1")
    assert planned.notes == (f"preprocessing assumed from {published}: {keys}",)


def test_assumed_crop_is_said_with_the_other_one(tmp_path, backbone):
    planned, _ = own(tmp_path, backbone, **ALL, crop_pct=1.0)
    (note,) = planned.loading_notes
    assert "(center crop 1, bicubic)" in note
    assert "write `crop_mode: squash`" in note


# --- config.json ---


def from_config(folder, changes, **entry):
    """Save a network whose pretrained config has these changes; return its folder's entry."""
    path = write_folder(folder, seeded_timm("test_resnet", num_classes=3), label_names=["a", "b", "c"]) / "config.json"
    cfg = json.loads(path.read_text())
    cfg["pretrained_cfg"] |= {**ALL, "crop_pct": 1.0, "input_size": [3, 64, 64], **changes}
    path.write_text(json.dumps(cfg))
    return {"name": "a", "backbone": "local-dir:m", **entry}


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
def test_crop_mode_of_a_config_json_is_obeyed(tmp_path, mode):
    planned = plan(from_config(tmp_path, {"crop_mode": mode}), tmp_path)
    steps = create_transform(**ALL, crop_mode=mode, crop_pct=1.0, input_size=(3, 64, 64))
    np.testing.assert_array_equal(*theirs(planned, steps, tmp_path))


def test_entry_overrides_the_crop_mode_of_a_config_json(tmp_path):
    entry = from_config(tmp_path, {"crop_mode": "squash", "crop_pct": 0.5}, crop_mode="border")
    steps = create_transform(**ALL, crop_mode="border", crop_pct=1.0, input_size=(3, 64, 64))
    np.testing.assert_array_equal(*theirs(plan(entry, tmp_path), steps, tmp_path))


@pytest.mark.parametrize("value", [0.4, [0.4]])
def test_one_number_in_a_config_json_is_for_all_channels(tmp_path, value):
    planned = plan(from_config(tmp_path, {"mean": value, "std": value}), tmp_path)
    assert (planned.transform.mean, planned.transform.std) == ((0.4,) * 3, (0.4,) * 3)
    assert planned.transform.channels == 3
    steps = after(T.Resize(64, BICUBIC), T.CenterCrop(64), mean=[0.4] * 3, std=[0.4] * 3)
    np.testing.assert_allclose(*theirs(planned, steps, tmp_path), atol=1e-5)


INVALID = [
    ({"crop_mode": "stretch"}, "crop_mode in config.json: one of center, squash, border; got stretch"),
    ({"crop_pct": 87.5}, "a fraction from 0 to 1; got 87.5"),
    ({"crop_pct": "1.0"}, "a fraction from 0 to 1; got 1.0"),
    ({"interpolation": "cubic"}, "one of nearest, bilinear, bicubic, lanczos, box, hamming; got cubic"),
    ({"input_size": [64, 64]}, "[channels, height, width], with sides from 16; got (3, 64)"),
    ({"input_size": [64, 64, 3]}, "[channels, height, width], with sides from 16; got (3, 64, 3)"),
    ({"mean": [0.5, 0.5]}, "a list of numbers, one per channel; got [0.5, 0.5]"),
    ({"mean": "imagenet"}, "a list of numbers, one per channel; got imagenet"),
    (
        {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
        "write mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] (divided by 255)",
    ),
    ({"mean": 127.5, "std": 127.5}, "write mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]"),
    ({"mean": STD, "std": MEAN}, "write mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]"),
    ({"std": [0, 0, 0]}, "by which no input can be divided"),
]


@pytest.mark.parametrize(("changes", "message"), INVALID)
def test_invalid_settings_in_a_config_json_are_refused(tmp_path, changes, message):
    text = refusal(tmp_path, from_config(tmp_path, changes))
    assert message in text
    assert "Error" not in text


def test_entry_replaces_invalid_settings_of_a_config_json(tmp_path):
    changes = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "crop_mode": "stretch"}
    entry = from_config(tmp_path, changes, mean=MEAN, std=STD, crop_mode="squash")
    np.testing.assert_allclose(*theirs(plan(entry, tmp_path), after(T.Resize((64, 64), BICUBIC)), tmp_path), atol=1e-5)


def test_published_configs_are_valid():
    for name in timm.list_pretrained():
        cfg = asdict(get_pretrained_cfg(name))
        assert timm_transform.checked(cfg, Entry(backbone="resnet18")) == cfg, name
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            default = weights.transforms()
            assert normalization.problem(default.mean, default.std) is None, weights


def test_input_of_0_to_255_is_valid_and_said(tmp_path, backbone):
    settings = {"mean": [0, 0, 0], "std": [1 / 255] * 3, "crop_mode": "squash", "interpolation": "bilinear"}
    planned, _ = own(tmp_path, backbone, **settings)
    ours, _ = theirs(planned, after(T.Resize((64, 64))), tmp_path)
    assert ours.max() == pytest.approx(255, abs=0.01)
    assert planned.loading_notes == ("std: the input of the network is from 0 to 255, as mean and std say",)
