"""Folders with several files of weights: which one is loaded, and which folders are refused."""

import json

import pytest
import torch
from hub import timm_repo
from networks import seeded_timm
from planning import plan, write_folder

from lineup.errors import BackboneError
from lineup.registry import build, weights_folder

OBVIOUS = [  # names, and the one that is used
    (["w.pth"], "w.pth"),
    (["net.ckpt"], "net.ckpt"),
    (["a.pth.tar"], "a.pth.tar"),
    (["w.pth", "optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"], "w.pth"),
    (["model.safetensors", "model_best.pth.tar", "a.pth"], "model.safetensors"),
    (["model.safetensors", "pytorch_model.bin"], "model.safetensors"),
    (["pytorch_model.bin", "checkpoint-3.pth.tar"], "pytorch_model.bin"),
    (["cats.safetensors", "cats.bin"], "cats.safetensors"),
    (["model_best.pth.tar", "checkpoint-0.pth.tar", "checkpoint-12.pth.tar", "last.pth.tar"], "model_best.pth.tar"),
    (["best.pt", "last.pt"], "best.pt"),
    (["best_model.pth", "epoch_3.pth", "epoch_4.pth"], "best_model.pth"),
    (["model_best.pth", "checkpoint.pth", "latest.pth"], "model_best.pth"),
    (["best.safetensors", "best.pth", "last.pth"], "best.safetensors"),
]
AMBIGUOUS = [
    ["a.pth", "b.pth"],
    ["checkpoint-0.pth.tar", "checkpoint-1.pth.tar"],
    ["checkpoint-1.pth.tar", "last.pth.tar"],
    ["best.pth", "other.pth"],
    ["best_acc.pth", "best_loss.pth", "last.pth"],
    ["w.pth", "w.pt"],
    ["cats.safetensors", "dogs.safetensors"],
]


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def refusal(folder) -> str:
    with pytest.raises(BackboneError) as caught:
        weights_folder.choose(folder)
    return str(caught.value)


@pytest.mark.parametrize(("names", "chosen"), OBVIOUS)
def test_obvious_file_is_used_and_the_others_are_named(tmp_path, names, chosen):
    touch(tmp_path, *names, "config.json", ".hidden.pth")
    path, notes = weights_folder.choose(tmp_path)
    assert path == tmp_path / chosen
    others = [name for name in sorted(names) if name != chosen and not name.startswith(("opt", "sch", "rng", "tra"))]
    assert notes == ((f"the weights are those of {chosen}; not used: {', '.join(others)}",) if others else ())


@pytest.mark.parametrize("names", AMBIGUOUS)
def test_ambiguous_files_are_refused_by_name(tmp_path, names):
    touch(tmp_path, *names)
    text = refusal(tmp_path)
    assert f"expected one file of weights in {tmp_path}; there are {len(names)}: {', '.join(sorted(names))}; " in text
    assert text.endswith("or write its architecture as `backbone` and its path as `checkpoint`")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
            "they are split into 2: model-00001",
        ),
        (["checkpoints/last.pth"], "there are none, but in folders inside it: checkpoints/last.pth; move the file"),
        (["run/model.safetensors", "run/config.json"], "run/model.safetensors; add the name of the folder to use"),
        (["model.onnx"], "there are none in a format of PyTorch, only model.onnx; save them with safetensors"),
        (["openvino_model.bin", "openvino_model.xml"], "only openvino_model.xml"),
        (["README.md"], "there are none; add model.safetensors"),
    ],
)
def test_folder_without_usable_weights_says_what_is_there(tmp_path, names, sentence):
    touch(tmp_path, *names)
    assert sentence in refusal(tmp_path)


def test_file_that_was_planned_is_the_one_that_is_loaded(tmp_path):
    files = timm_repo(seeded_timm("test_resnet", num_classes=3))
    write_folder(tmp_path / "m", {"config.json": files["config.json"]})
    best, other = seeded_timm("test_resnet", num_classes=3), seeded_timm("test_resnet", num_classes=3)
    with torch.no_grad():
        best.fc.weight.neg_()
    torch.save({"state_dict": best.state_dict()}, tmp_path / "m" / "model_best.pth.tar")
    torch.save({"state_dict": other.state_dict()}, tmp_path / "m" / "checkpoint-0.pth.tar")
    planned = plan("local-dir:m", tmp_path)
    assert planned.weights.path.name == "model_best.pth.tar"
    note = "the weights are those of model_best.pth.tar; not used: checkpoint-0.pth.tar"
    assert planned.loading_notes[0] == note
    torch.save({"state_dict": other.state_dict()}, tmp_path / "m" / "model.pth")  # what timm itself would prefer
    loaded = build(planned, planned.weights.path).state_dict()
    assert all(tensor.equal(loaded[key]) for key, tensor in best.state_dict().items())


def test_file_in_place_of_a_folder_and_the_reverse_are_refused(tmp_path):
    files = timm_repo(seeded_timm("test_resnet", num_classes=3))
    write_folder(tmp_path / "m", files)
    with pytest.raises(BackboneError, match=r"expected a folder; .* is a file; write its architecture"):
        plan("local-dir:m/config.json", tmp_path)
    with pytest.raises(BackboneError, match=r"m: expected a checkpoint file; it is a folder; .*local-dir:m"):
        plan({"backbone": "test_resnet", "checkpoint": "m"}, tmp_path)


def test_folder_without_config_says_what_else_is_possible(tmp_path):
    touch(tmp_path, "m/w.pth")
    with pytest.raises(
        BackboneError, match=r"config.json; it does not exist; .*save_for_hf, or write the architecture"
    ):
        plan("local-dir:m", tmp_path)
    (tmp_path / "m" / "config.json").write_text(json.dumps({"architecture": "test_resnet", "pretrained_cfg": 3}))
    with pytest.raises(BackboneError, match="a value is of another type"):
        plan("local-dir:m", tmp_path)
