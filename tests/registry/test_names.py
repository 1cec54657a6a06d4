"""Backbones under the names that people write: timm's former ones, torchvision's enums, and addresses."""

import json
from pathlib import Path

import pytest
import timm
from hub import timm_repo, with_config
from huggingface_hub import constants
from networks import seeded_timm
from planning import plan, write_folder
from timm.models import get_deprecated_models
from torchvision import models

from lineup.config.spec import Spec, parse_spec
from lineup.errors import BackboneError
from lineup.registry import timm_models
from lineup.registry.timm_names import current_name, renamed

FORMER = "tf_efficientnet_b0_ns"
SUCCESSOR = "tf_efficientnet_b0.ns_jft_in1k"
NOTE = f"timm has renamed {FORMER}: {SUCCESSOR} is used"


def test_every_former_name_of_timm_leads_to_weights(hub):
    names, pretrained = get_deprecated_models(), set(timm.list_pretrained())
    assert len(names) >= 209
    for former, successor in names.items():
        cfg = timm_models._pretrained_cfg(current_name(former))
        full_name = timm_models._full_name(cfg)
        assert full_name in pretrained, former
        assert full_name.startswith(successor), former  # timm completes the tag: sam is sam_in1k
        assert renamed(former) == (f"timm has renamed {former}: {current_name(former)} is used",)
    assert hub.requests == []


def test_current_names_of_timm_stay_as_they_are():
    for name in timm.list_models(include_tags=True):
        assert parse_spec(name) == Spec("timm", name)
    for name in ("resnet50", "resnet50.a1_in1k", "resnet50.none", "no_such_model"):
        assert current_name(name) == name
        assert renamed(name) == ()


def test_tag_beside_a_former_name_stays():
    assert current_name("mnasnet_a1.rmsp_in1k") == "semnasnet_100.rmsp_in1k"


def test_former_name_is_planned_as_its_successor(hub):
    former, current = plan(FORMER), plan(SUCCESSOR)
    assert (former.name, former.architecture, former.weights) == (FORMER, current.architecture, current.weights)
    assert (former.figures, former.recipe) == (current.figures, current.recipe)
    assert (former.loading_notes, current.loading_notes) == ((NOTE,), ())
    assert plan("vit_base_patch16_224_in21k").architecture == "vit_base_patch16_224.augreg_in21k"
    assert hub.requests == []


def test_former_name_of_a_backbone_without_classes_names_the_successor():
    with pytest.raises(BackboneError, match=r"vit_small_patch16_224\.dino: expected a backbone that classifies"):
        plan("vit_small_patch16_224_dino")


def test_former_name_is_an_architecture_for_own_weights(tmp_path):
    import torch

    torch.save(seeded_timm("tf_efficientnet_b0", num_classes=2).state_dict(), tmp_path / "w.pth")
    entry = {"backbone": FORMER, "checkpoint": "w.pth", "labels": ["a", "b"]}
    planned = plan(entry, tmp_path)
    assert (planned.architecture, planned.loading_notes[0]) == ("tf_efficientnet_b0", NOTE)
    assert planned.notes[0].startswith(f"preprocessing assumed from {SUCCESSOR}: ")
    untrained = plan({"backbone": FORMER, "pretrained": False})
    assert (untrained.architecture, untrained.loading_notes[0]) == ("tf_efficientnet_b0", NOTE)


def test_former_name_in_a_folder_is_an_architecture(tmp_path):
    files = timm_repo(seeded_timm("tf_efficientnet_b0", num_classes=2))
    write_folder(tmp_path / "new", files)
    write_folder(tmp_path / "old", with_config(files, architecture=FORMER))
    new, old = (plan(f"local-dir:{name}", tmp_path) for name in ("new", "old"))
    assert (old.architecture, old.num_classes) == (new.architecture, 2)
    assert old.loading_notes == (NOTE,)
    assert old.make(old.weights.path).classifier.weight.equal(new.make(new.weights.path).classifier.weight)


def test_enum_of_every_torchvision_model_is_its_name():
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            usual = Spec("torchvision", name, weights.name)
            assert parse_spec(str(weights)) == parse_spec(f"{name}@{weights}") == usual
            assert parse_spec(f"torchvision/{name}@{weights.name.lower()}") == usual


@pytest.mark.parametrize(
    ("written", "usual"),
    [
        ("ResNet50_Weights.IMAGENET1K_V2", "torchvision/resnet50@IMAGENET1K_V2"),
        ("torchvision.models.resnet18", "torchvision/resnet18"),
        ("timm/resnet18.a1_in1k", "resnet18.a1_in1k"),
    ],
)
def test_other_form_is_planned_like_the_usual_one_with_a_note(written, usual):
    planned, expected = plan(written), plan(usual)
    assert (planned.name, planned.weights, planned.figures) == (written, expected.weights, expected.figures)
    assert planned.loading_notes == (f"{written!r} is read as {usual}",)
    assert expected.loading_notes == ()


def test_pasted_address_is_a_repository(hub, fresh_cache, publish):
    publish("test_resnet.r160_in1k")
    address = "https://huggingface.co/timm/test_resnet.r160_in1k/tree/main"
    planned, expected = plan(address), plan("hf-hub:timm/test_resnet.r160_in1k")
    assert (planned.weights, planned.recipe, planned.figures) == (expected.weights, expected.recipe, expected.figures)
    assert planned.loading_notes == (f"{address!r} is read as hf-hub:timm/test_resnet.r160_in1k",)


def test_folder_in_the_home_or_with_backslashes_is_found(tmp_path, monkeypatch):
    write_folder(tmp_path / "m", timm_repo(seeded_timm("test_resnet", num_classes=3)))
    monkeypatch.setenv("HOME", str(tmp_path))
    home = plan("local-dir:~/m", Path("elsewhere"))
    assert home.weights.path == tmp_path / "m" / "model.safetensors"
    assert f"local-dir:{tmp_path / 'm'}" in home.recipe
    planned = plan(r"local-dir:..\m", tmp_path / "m")
    assert planned.weights.path == tmp_path / "m" / ".." / "m" / "model.safetensors"
    assert planned.loading_notes == (r"'local-dir:..\\m' is read as local-dir:../m",)


def test_folder_of_windows_on_another_system_is_named():
    with pytest.raises(BackboneError, match="C:/Users/me/m is a path of Windows, which this machine does not run"):
        plan(r"local-dir:C:\Users\me\m")


def test_model_args_of_transformers_may_be_null(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    files = timm_repo(seeded_timm("test_resnet", num_classes=3), label_names=["a", "b", "c"])
    config = json.loads(files["config.json"]) | {"model_args": None, "model_type": "timm_wrapper"}
    write_folder(tmp_path / "plain", files)
    write_folder(tmp_path / "null", {**files, "config.json": json.dumps(config).encode()})
    plain, null = (plan(f"local-dir:{name}", tmp_path) for name in ("plain", "null"))
    assert null.labels.labels == plain.labels.labels
    networks = [each.make(each.weights.path).state_dict() for each in (plain, null)]
    assert all(networks[0][key].equal(networks[1][key]) for key in networks[0])
