"""Activations of the user's own models, compared with torch alone."""

import numpy as np
import pytest
import timm
import torch
from own_models import NAMES, check, classify, outputs, write_checkpoint, write_folder
from torchvision import transforms as T

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
ALL = {"mean": MEAN, "std": STD, "crop_pct": 1.0, "interpolation": "bicubic"}
BICUBIC = T.InterpolationMode.BICUBIC


def squash():
    return T.Compose([T.Resize((64, 64), BICUBIC), T.ToTensor(), T.Normalize(MEAN, STD)])


def network(classes=5, bias=None):
    torch.manual_seed(0)
    made = timm.create_model("resnet18", num_classes=classes)
    with torch.no_grad():
        made.fc.weight.mul_(20)
        if bias is not None:
            made.fc.bias.copy_(torch.tensor(bias))
    return made


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.float64(logits)))


def test_one_output_with_one_label_has_the_sigmoid(tmp_path, capsys):
    made = network(1, [-6.0])
    write_checkpoint(tmp_path, made.state_dict(), {"backbone": "resnet18", "crop_mode": "squash", **ALL}, ["defect"])
    found, answer = classify(tmp_path, capsys)
    assert found["defect"] == pytest.approx(sigmoid(outputs(made, squash(), tmp_path))[0], abs=1e-5)
    assert (answer["activation"], answer["above_half"]) == ("sigmoid", [])


def test_one_output_with_two_labels_gives_both_and_they_add_up(tmp_path, capsys):
    made = network(1, [-2.0])
    entry = {"backbone": "resnet18", "crop_mode": "squash", **ALL}
    write_checkpoint(tmp_path, made.state_dict(), entry, ["good", "defect"])
    found, answer = classify(tmp_path, capsys)
    probability = sigmoid(outputs(made, squash(), tmp_path))[0]
    assert found == pytest.approx({"good": 1 - probability, "defect": probability}, abs=1e-5)
    assert answer["above_half"] is None
    assert check(tmp_path, capsys)[0] == 0


def test_multi_label_head_has_independent_probabilities(tmp_path, capsys):
    made = network(5, [9.0, 5.0, 5.0, -9.0, -9.0])
    entry = {"backbone": "resnet18", "activation": "sigmoid", "crop_mode": "squash", **ALL}
    write_checkpoint(tmp_path, made.state_dict(), entry)
    found, answer = classify(tmp_path, capsys)
    expected = sigmoid(outputs(made, squash(), tmp_path))
    assert found == pytest.approx(dict(zip(NAMES, expected, strict=True)), abs=1e-5)
    assert set(answer["above_half"]) == {name for name, p in zip(NAMES, expected, strict=True) if p > 0.5}


def test_all_classes_above_half_are_named_whatever_top_k_is(tmp_path, capsys):
    made = network(5, [50.0, 50.0, 50.0, 50.0, -50.0])
    write_checkpoint(tmp_path, made.state_dict(), {"backbone": "resnet18", "activation": "sigmoid"})
    _, answer = classify(tmp_path, capsys, "--top-k", "1")
    assert len(answer["predictions"]) == 1
    assert sorted(answer["above_half"]) == sorted(NAMES[:4])


def test_softmax_over_one_output_is_refused(tmp_path, capsys):
    entry = {"backbone": "resnet18", "activation": "softmax"}
    write_checkpoint(tmp_path, network(1).state_dict(), entry, ["good", "defect"])
    status, text = check(tmp_path, capsys)
    assert status == 2
    assert "write `activation: sigmoid`" in text


def test_problem_type_of_a_folder_is_obeyed(tmp_path, capsys):
    made = network(3, [1.0, 2.0, -3.0])
    write_folder(tmp_path, made, label_names=["a", "b", "c"], problem_type="multi_label_classification")
    assert classify(tmp_path, capsys)[1]["activation"] == "sigmoid"


def test_regression_is_refused_in_a_sentence(tmp_path, capsys):
    write_folder(tmp_path, network(1), label_names=["age"], problem_type="regression")
    status, text = check(tmp_path, capsys)
    assert status == 2
    assert "config.json says regression" in text


def test_settings_that_timm_ignores_are_refused(tmp_path, capsys):
    write_folder(tmp_path, network(3), label_names=["a", "b", "c"], crop_mode="squash")
    status, text = check(tmp_path, capsys)
    assert status == 2
    assert "crop_mode: expected the settings of the transform in `pretrained_cfg`" in text


def test_openvino_gives_the_same_probabilities_of_a_sigmoid(tmp_path):
    from networks import noise
    from planning import plan

    from lineup import registry
    from lineup.engines import openvino_engine
    from lineup.engines.engine import probabilities
    from lineup.engines.torch_engine import TorchEngine

    made = network(5, [1.0, 2.0, -3.0, 0.0, 4.0])
    entry = write_checkpoint(tmp_path, made.state_dict(), {"backbone": "resnet18", "activation": "sigmoid"})
    planned = plan(entry, tmp_path)
    engine = TorchEngine(registry.build(planned, tmp_path / "w.pth"), "cpu")
    model = openvino_engine.convert(engine.network, (64, 64))
    compiled = openvino_engine.compile_checked(
        model, engine, (64, 64), activation=planned.activation, precision="float32", threads=1
    )
    batch = noise((64, 64), 2)
    of_both = [probabilities(each(batch), "sigmoid") for each in (compiled, engine)]
    np.testing.assert_allclose(*of_both, atol=1e-4)
