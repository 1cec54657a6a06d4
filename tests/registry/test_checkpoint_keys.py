"""What training scripts put around the weights, files that are no checkpoints, and checkpoints of other networks."""

import argparse
import datetime
import gzip
import re
import sys
import tarfile
import types
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import timm
import torch
from networks import seeded_timm
from planning import plan
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, prune
from torchvision import models

from lineup import registry
from lineup.errors import BackboneError
from lineup.hub import downloads
from lineup.registry import misfits

TINY = "test_resnet"
IMAGE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    return seeded_timm(TINY, num_classes=5).eval()


@pytest.fixture
def state(network):
    return {key: tensor.clone() for key, tensor in network.state_dict().items()}


def prefixed(state, prefix):
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def others(state):
    """Return the same keys with other numbers."""
    return {key: tensor * 2 for key, tensor in state.items()}


def loaded(folder, entry):
    planned = plan({"name": "mine", **entry}, folder)
    return planned, registry.build(planned, downloads.fetch(planned.weights, 30))


def logits(network):
    with torch.inference_mode():
        return network.eval()(IMAGE)


def refusal(folder, entry) -> str:
    with pytest.raises(BackboneError) as caught:
        plan({"name": "mine", **entry}, folder)
    text = str(caught.value)
    assert not re.search(r"\w(Error|Exception)\b|Traceback|weights_only", text), text
    assert caught.value.expected
    assert caught.value.remedy
    return text


# --- what stands around the weights ---


def separate_head(state):
    body = {f"backbone.{key}": tensor for key, tensor in state.items() if not key.startswith("fc.")}
    return body | {"classifier.weight": state["fc.weight"], "classifier.bias": state["fc.bias"]}


def profiled(state):
    counters = {f"{key.rpartition('.')[0]}.total_ops": torch.zeros(1) for key in state}
    return state | counters | {"total_ops": torch.zeros(1), "total_params": torch.zeros(1)}


def with_losses(state):
    extra = {
        "criterion.weight": torch.ones(5),
        "val_acc.confmat": torch.zeros(5, 5),
        "loss_fn.pos_weight": torch.ones(5),
    }
    return {"state_dict": prefixed(state, "model.") | extra, "pytorch-lightning_version": "2.5"}


WRAPPED = {  # what is saved, and what the notes say of it
    "one prefix": (lambda s: prefixed(s, "model."), "removed the prefix 'model.'"),
    "several prefixes": (lambda s: prefixed(s, "_orig_mod.module.net.encoder."), "'_orig_mod.module.net.encoder.'"),
    "a key of PyTorch's tutorial": (
        lambda s: {"epoch": 5, "model_state_dict": s, "loss": 0.3},
        "from 'model_state_dict'",
    ),
    "an unknown key": (
        lambda s: {"best so far": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(5)}}}},
        "'best so far'",
    ),
    "nested keys": (lambda s: {"checkpoint": {"net": prefixed(s, "module."), "epoch": 1}}, "from 'checkpoint/net'"),
    "a list": (lambda s: [s, {"lr": 0.1}], "from '0'"),
    "numbers beside tensors": (lambda s: {**s, "epoch": 3, "best": 0.9}, ""),
    "the wrapper of mmpretrain": (
        lambda s: {
            "meta": {},
            "state_dict": {f"{'head' if k.startswith('fc.') else 'backbone'}.{k}": v for k, v in s.items()},
        },
        "'fc' is 'head.fc' in the checkpoint",
    ),
    "a head beside the backbone": (separate_head, "'fc' is 'classifier' in the checkpoint"),
    "counters of a profiler": (profiled, "ignored"),
    "losses and metrics of Lightning": (with_losses, "criterion.weight"),
    "without counts of batches": (lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")}, ""),
    "half precision": (
        lambda s: {"state_dict": {k: v.half() if v.is_floating_point() else v for k, v in s.items()}},
        "",
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_weights_are_loaded_and_the_notes_say_what_was_removed(network, state, tmp_path, monkeypatch, name):
    wrap, note = WRAPPED[name]
    torch.save(wrap(state), tmp_path / "w.pth")
    planned, own = loaded(tmp_path, {"backbone": TINY, "checkpoint": "w.pth"})
    close = {"rtol": 0.02, "atol": 0.02} if name == "half precision" else {"rtol": 0, "atol": 0}
    torch.testing.assert_close(logits(own), logits(network), **close)
    assert note in "; ".join(planned.loading_notes)
    assert planned.head == "fc (96 → 5)"
    monkeypatch.chdir(tmp_path)  # the recipe loads the same weights
    names: dict = {}
    exec(planned.recipe, names)
    torch.testing.assert_close(logits(names["network"]), logits(own), rtol=0, atol=0)


@pytest.mark.parametrize(
    "content",
    [
        lambda s: {"model": others(s), "model_ema": {"n_averaged": torch.tensor(9), **prefixed(s, "module.")}},
        lambda s: {"state_dict": others(s), "state_dict_ema": s},
        lambda s: {"net": others(s), "swa": s},
        lambda s: {"state_dict": prefixed(others(s), "model.") | prefixed(s, "ema_model.module.")},
    ],
    ids=["torchvision", "timm", "unknown names", "Lightning"],
)
def test_averaged_weights_are_preferred_and_the_others_named(network, state, tmp_path, monkeypatch, content):
    torch.save(content(state), tmp_path / "w.pth")
    planned, own = loaded(tmp_path, {"backbone": TINY, "checkpoint": "w.pth"})
    torch.testing.assert_close(logits(own), logits(network), rtol=0, atol=0)
    assert re.search("took '.*(ema|swa).*'; the checkpoint also has '", "; ".join(planned.loading_notes))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(planned.recipe, names)
    torch.testing.assert_close(logits(names["network"]), logits(own), rtol=0, atol=0)


@pytest.mark.parametrize(
    "content",
    [
        lambda s: {"best": s, "last": others(s)},
        lambda s: {"state_dict": prefixed(s, "student.") | prefixed(others(s), "teacher.")},
    ],
    ids=["two containers", "two prefixes"],
)
def test_several_networks_of_the_same_rank_are_refused_by_name(state, tmp_path, content):
    torch.save(content(state), tmp_path / "w.pth")
    text = refusal(tmp_path, {"backbone": TINY, "checkpoint": "w.pth"})
    assert re.search("expected the weights of one network; the checkpoint has 2: .*(best, last|student.*teacher)", text)


def test_container_that_timm_prefers_is_taken_and_the_other_named(network, state, tmp_path):
    torch.save({"other": others(state), "state_dict": state}, tmp_path / "w.pth")
    planned, own = loaded(tmp_path, {"backbone": TINY, "checkpoint": "w.pth"})
    torch.testing.assert_close(logits(own), logits(network), rtol=0, atol=0)
    assert "took 'state_dict'; the checkpoint also has 'other'" in planned.loading_notes


# --- objects beside the weights ---


class Own:
    """Stands for a class of a training script."""


def attribute_dict():
    """Return a dict of a class as Lightning's hyperparameters have."""
    module = types.ModuleType("lightning_fabric")
    kind = type("AttributeDict", (dict,), {"__module__": module.__name__})
    module.AttributeDict = kind
    sys.modules[module.__name__] = module
    return kind(lr=0.1)


BESIDE = {
    "numpy": lambda: [np.float64(81.5), np.float32(2), np.arange(3), np.dtype("int64")],
    "arguments": lambda: argparse.Namespace(lr=0.1, out=Path("runs"), when=datetime.datetime(2026, 1, 2)),
    "a path of Windows": lambda: PureWindowsPath("C:/runs"),
    "containers": lambda: [defaultdict(list, {"a": [1]}), OrderedDict(a=1), {1, 2}],
    "hyperparameters of Lightning": attribute_dict,
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", BESIDE)
def test_objects_beside_the_weights_do_not_matter(network, state, tmp_path, monkeypatch, name, zipped):
    content = {"state_dict": state, "beside": BESIDE[name]()}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "lightning_fabric", raising=False)
    before = set(torch.serialization.get_safe_globals())
    planned, own = loaded(tmp_path, {"backbone": TINY, "checkpoint": "w.pth"})
    torch.testing.assert_close(logits(own), logits(network), rtol=0, atol=0)
    assert set(torch.serialization.get_safe_globals()) == before
    if planned.recipe:  # none for classes that plain torch would have to import
        monkeypatch.chdir(tmp_path)
        names: dict = {}
        exec(planned.recipe, names)
        torch.testing.assert_close(logits(names["network"]), logits(own), rtol=0, atol=0)


def test_suffix_does_not_decide_how_a_file_is_read(network, state, tmp_path):
    save_file(prefixed(state, "model."), tmp_path / "w.pth")
    torch.save(state, tmp_path / "w.safetensors")
    for name in ("w.pth", "w.safetensors"):
        planned, own = loaded(tmp_path, {"backbone": TINY, "checkpoint": name})
        torch.testing.assert_close(logits(own), logits(network), rtol=0, atol=0)
        assert bool(planned.recipe) == (name == "w.pth")  # torch.load goes by the suffix


# --- files that are no checkpoints ---


def zip_with(path, **files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in files.items():
            archive.writestr(name, body)


def tar(path, state):
    torch.save(state, path.with_name("inner.pth"))
    with tarfile.open(path, "w") as archive:
        archive.add(path.with_name("inner.pth"), "inner.pth")


def truncated(path, state):
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:100_000])


def scripted(path):
    torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3)).save(path)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4" * 64 + b"\nsize 44788321\n"
FILES = {  # how a file is written, and parts of the message
    "Git LFS": (lambda path, state: path.write_bytes(LFS), ["Git LFS pointer", "git lfs pull"]),
    "a page": (lambda path, state: path.write_text("\n<!DOCTYPE html><html>Log in"), ["a web page", "log in"]),
    "empty": (lambda path, state: path.touch(), ["the file is empty", "copy it again"]),
    "truncated": (truncated, ["the file is truncated", "copy it again"]),
    "gzip": (lambda path, state: path.write_bytes(gzip.compress(b"x")), ["an archive", "unpack it"]),
    "tar": (tar, ["an archive", "unpack it"]),
    "zip": (lambda path, state: zip_with(path, **{"a/w.pth": "x"}), ["a zip archive with a/w.pth", "unpack it"]),
    "npz": (lambda path, state: np.savez(path.open("wb"), a=np.ones(2)), ["a NumPy archive"]),
    "TorchScript": (lambda path, state: scripted(path), ["a TorchScript module"]),
    "Keras": (lambda path, state: path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\0" * 90), ["an HDF5 file, as Keras"]),
    "Keras 3": (lambda path, state: zip_with(path, **{"model.weights.h5": "x"}), ["a Keras model"]),
    "ONNX": (
        lambda path, state: path.write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + b"x" * 90),
        ["an ONNX model"],
    ),
    "TFLite": (lambda path, state: path.write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 90), ["TensorFlow Lite"]),
    "own class": (
        lambda path, state: torch.save({"state_dict": state, "x": Own()}, path),
        [f"an object of {__name__}.Own"],
    ),
    "a whole module": (
        lambda path, state: torch.save(nn.Sequential(nn.ReLU()), path),
        ["a whole pickled module, torch.nn"],
    ),
    "a whole network": (
        lambda path, state: torch.save({"model": timm.create_model(TINY)}, path),
        ["a whole pickled module, timm.", "torch.save(model.state_dict(), …)"],
    ),
    "an optimizer": (
        lambda path, state: torch.save({"state": {}, "param_groups": [{"lr": 0.1}]}, path),
        ["holds no tensors, but state, param_groups"],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_file_that_is_no_checkpoint_is_refused_as_what_it_is(state, tmp_path, name):
    write, parts = FILES[name]
    write(tmp_path / "w.pth", state)
    text = refusal(tmp_path, {"backbone": TINY, "checkpoint": "w.pth"})
    assert [part for part in parts if part not in text] == [], text


def test_git_lfs_pointer_named_safetensors_is_refused_as_such(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(LFS)
    assert "git lfs pull" in refusal(tmp_path, {"backbone": TINY, "checkpoint": "w.safetensors"})


def test_folder_in_place_of_a_checkpoint_is_refused(tmp_path):
    (tmp_path / "m").mkdir()
    assert "it is a folder; name the file in it" in refusal(tmp_path, {"backbone": TINY, "checkpoint": "m"})
    (tmp_path / "m/config.json").touch()
    assert "use `backbone: local-dir:m`" in refusal(tmp_path, {"backbone": TINY, "checkpoint": "m"})


# --- checkpoints of other networks ---


def pruned(network):
    prune.random_unstructured(
        network.conv1[0] if isinstance(network.conv1, nn.Sequential) else network.conv1, "weight", 0.5
    )
    return network.state_dict()


def normalized(network):
    parametrizations.weight_norm(network.fc)
    return network.state_dict()


def with_head(network, head):
    network.fc = head
    return network.state_dict()


OTHERS = {  # a state dict, made of a network of five classes; and parts of the message
    "pruned": (pruned, ["a pruned network", "prune.remove"]),
    "weight_norm": (normalized, ["a network with parametrizations", "remove_parametrizations"]),
    "old weight_norm": (
        lambda n: {
            **{k: v for k, v in n.state_dict().items() if k != "fc.weight"},
            "fc.weight_g": torch.ones(5, 1),
            "fc.weight_v": n.fc.weight,
        },
        ["parametrizations"],
    ),
    "quantized": (
        lambda n: {**n.state_dict(), "fc.scale": torch.ones(1), "fc.zero_point": torch.ones(1)},
        ["a quantized network"],
    ),
    "LoRA": (
        lambda n: {
            "base_model.model.fc.lora_A.weight": torch.ones(4, 96),
            "base_model.model.fc.lora_B.weight": torch.ones(5, 4),
        },
        ["adapters such as LoRA", "merge"],
    ),
    "transformers": (
        lambda n: {
            "vit.embeddings.cls_token": torch.ones(1, 1, 8),
            "vit.encoder.layer.0.attention.attention.query.weight": torch.ones(8, 8),
            "classifier.weight": torch.ones(5, 8),
        },
        ["the transformers library", "vit.embeddings.cls_token"],
    ),
    "fastai": (
        lambda n: {
            "0.0.weight": torch.ones(64, 3, 7, 7),
            "0.1.weight": torch.ones(64),
            "1.2.weight": torch.ones(9),
            "1.4.weight": torch.ones(512, 1024),
            "1.8.weight": torch.ones(5, 512),
        },
        ["fastai"],
    ),
    "RepVGG": (lambda n: {"stages.0.0.rbr_reparam.weight": torch.ones(8, 3, 3, 3)}, ["a reparameterizable network"]),
    "two layers": (
        lambda n: with_head(n, nn.Sequential(nn.Linear(96, 7), nn.ReLU(), nn.Linear(7, 5))),
        ["its head has 2 layers with weights (fc.0, fc.2)", "CONTRIBUTING.md"],
    ),
    "normalized head": (
        lambda n: with_head(n, nn.Sequential(nn.BatchNorm1d(96), nn.Linear(96, 5))),
        ["its head has 2 layers with weights (fc.0, fc.1)"],
    ),
    "a layer after the head": (
        lambda n: prefixed(n.state_dict(), "body.") | {"out.weight": torch.ones(2, 5), "out.bias": torch.ones(2)},
        ["2 unknown (such as out.bias)"],
    ),
    "ArcFace": (
        lambda n: prefixed(n.state_dict(), "model.") | {"criterion.weight": torch.ones(9, 5)},
        ["1 unknown (such as criterion.weight)"],
    ),
    "no head": (
        lambda n: {k: v for k, v in n.state_dict().items() if not k.startswith("fc.")},
        ["it has no classification layer"],
    ),
    "four channels": (
        lambda n: timm.create_model(TINY, num_classes=5, in_chans=4).state_dict(),
        ["the first layer of the checkpoint takes 4", "RGB or grayscale"],
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_checkpoint_of_another_network_is_refused_as_what_it_is(tmp_path, name):
    make, parts = OTHERS[name]
    torch.save(make(timm.create_model(TINY, num_classes=5)), tmp_path / "w.pth")
    text = refusal(tmp_path, {"backbone": TINY, "checkpoint": "w.pth"})
    assert [part for part in parts if part not in text] == [], text


@pytest.mark.parametrize(
    ("backbone", "saved", "fits"),
    [
        ("resnet34", lambda: models.resnet18(num_classes=5), "resnet18"),
        ("torchvision/resnet18", lambda: timm.create_model("resnet26", num_classes=5), "resnet26"),
        ("resnet50", lambda: timm.create_model("vit_tiny_patch16_224", num_classes=5), "vit_tiny_patch16_224"),
        ("mobilenetv2_100", lambda: models.mobilenet_v2(num_classes=5), "torchvision/mobilenet_v2"),
    ],
)
def test_architecture_that_a_misfit_belongs_to_is_named(tmp_path, monkeypatch, backbone, saved, fits):
    monkeypatch.setattr(misfits, "SEARCH_S", 60)  # for a busy machine
    torch.save({"net": prefixed(saved().state_dict(), "module.")}, tmp_path / "w.pth")
    text = refusal(tmp_path, {"backbone": backbone, "checkpoint": "w.pth"})
    assert f"it fits `backbone: {fits}`" in text
    assert "its first key is module." in text


def test_search_for_another_architecture_ends_after_its_time(monkeypatch):
    monkeypatch.setattr(misfits, "SEARCH_S", 0)
    assert misfits.first_fitting([("a", lambda: False), ("b", lambda: True)]) == ("", 1)
    monkeypatch.setattr(misfits, "SEARCH_S", 60)
    assert misfits.first_fitting([("a", lambda: False), ("b", lambda: True)]) == ("b", 2)


def test_misfit_of_no_known_architecture_names_keys_and_what_was_tried(tmp_path):
    torch.save({"a.weight": torch.ones(3, 3), "a.bias": torch.ones(3)}, tmp_path / "w.pth")
    text = refusal(tmp_path, {"backbone": TINY, "checkpoint": "w.pth"})
    assert re.search(r"such as \S*conv1\S*\); the checkpoint has .* missing .*; its first key is a.weight", text)
    assert re.search(r"none of \d+ others that were tried fits", text)


def test_positional_embedding_of_another_size_names_the_input_size(tmp_path):
    torch.save(timm.create_model("test_vit", num_classes=5, img_size=96).state_dict(), tmp_path / "w.pth")
    text = refusal(tmp_path, {"backbone": "test_vit", "checkpoint": "w.pth"})
    assert "pos_embed is for 96 px; add `input_size: 96`" in text
    assert (
        plan({"name": "a", "backbone": "test_vit", "checkpoint": "w.pth", "input_size": 96}, tmp_path).num_classes == 5
    )
