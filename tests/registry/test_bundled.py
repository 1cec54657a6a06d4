"""The bundled backbones match their cards, and their predictions match plain timm, which verifies the preprocessing.

bundled/answers.py computed the reference with timm's own transform, without Lineup.
"""

import hashlib
import json
import re

import pytest
import timm
import torch
from reference import BACKBONES, CLASSES, EXAMPLES, ROOT, WITHOUT_CLASS, label_of, read_answers
from safetensors.torch import load_file
from timm.data import ImageNetInfo

from lineup import config, registry

TOLERANCE = 1e-3  # of a probability
ANSWERS = read_answers()


def folder(backbone):
    return ROOT / "bundled" / backbone


def read_config(backbone):
    return json.loads((folder(backbone) / "config.json").read_text(encoding="utf-8"))


# --- the folders ---


@pytest.mark.parametrize("backbone", BACKBONES)
def test_card_has_sha256_of_weights_and_folder_has_licence(backbone):
    weights = folder(backbone) / "model.safetensors"
    card = (folder(backbone) / "README.md").read_text(encoding="utf-8")
    [sha256] = re.findall(r"`model\.safetensors` has the SHA-256\s+`([0-9a-f]{64})`", card)
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == sha256
    assert weights.stat().st_size <= 13_000_000
    assert "license: apache-2.0" in card
    assert (folder(backbone) / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_label_names_are_imagenet_1k_wordnet_ids_in_order(backbone):
    names = read_config(backbone)["label_names"]
    assert names == ImageNetInfo("imagenet-1k").label_names()
    assert names == sorted(set(names))  # ImageNet-1k's order is that of the ids
    assert len(names) == 1000


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_stored_tensor_is_loaded_as_float32(backbone):
    stored = load_file(folder(backbone) / "model.safetensors")
    architecture = read_config(backbone)["architecture"]
    timm.create_model(architecture).load_state_dict(stored, strict=True)  # raises if a tensor is missing or unknown

    entry = config.Entry.model_validate({"backbone": f"local-dir:bundled/{backbone}"})
    plan = registry.plan(entry, registry.Context(ROOT, lambda file: ROOT))
    network = registry.build(plan, plan.weights.path)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    loaded = network.state_dict()
    assert loaded.keys() == stored.keys()
    assert [name for name in stored if not torch.equal(loaded[name], stored[name].to(loaded[name].dtype))] == []


# --- predictions ---


def classify(make_service, backbone, more="", where=None, engine="torch"):
    """Return the predictions of a service for each example: all classes, the most probable first."""
    entry = f"{{name: {backbone}, backbone: 'local-dir:{where or folder(backbone)}'{more}}}"
    service = make_service(f"engine: {engine}\nprecision: float32\nbackbones: [{entry}]")
    answers = {path.stem: service.classify(path, backbone, 1000) for path in EXAMPLES}
    assert {answer.engine for answer in answers.values()} == {engine}
    return {example: answer.predictions for example, answer in answers.items()}


def out_of_order(answers, backbone):
    """Return the examples whose top five differ from the reference, except for nearly equal probabilities."""
    examples = []
    for example, predictions in answers.items():
        reference = ANSWERS[backbone][example]
        top5 = {prediction.id: prediction.probability for prediction in predictions[:5]}
        minimum = reference[-1][1] - TOLERANCE
        if predictions[0].id != reference[0][0] or any(probability < minimum for probability in top5.values()):
            examples.append(example)
        examples += [
            example for key, probability in reference if key not in top5 and probability > minimum + 2 * TOLERANCE
        ]
    return examples


def differences(answers, backbone):
    """Return for each example the largest difference from the reference, over the reference's five classes."""
    largest = {}
    for example, predictions in answers.items():
        probabilities = {prediction.id: prediction.probability for prediction in predictions}
        largest[example] = max(abs(probabilities[key] - expected) for key, expected in ANSWERS[backbone][example])
    return largest


def test_reference_covers_every_backbone_and_example():
    assert tuple(ANSWERS) == BACKBONES
    for answers in ANSWERS.values():
        assert list(answers) == [path.stem for path in EXAMPLES]
        assert {len(answer) for answer in answers.values()} == {5}


@pytest.mark.parametrize("engine", ["torch", pytest.param("openvino", marks=pytest.mark.openvino)])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_predictions_match_plain_timm(make_service, backbone, engine):
    answers = classify(make_service, backbone, engine=engine)
    assert out_of_order(answers, backbone) == []
    assert max(differences(answers, backbone).values()) <= TOLERANCE


def other_architecture(tmp_path, backbone):
    """Write a copy of the folder for the architecture with PyTorch's padding instead of TensorFlow's."""
    settings = read_config(backbone)
    made = tmp_path / "other" / backbone
    made.mkdir(parents=True)
    (made / "model.safetensors").symlink_to(folder(backbone) / "model.safetensors")
    (made / "config.json").write_text(json.dumps({**settings, "architecture": settings["architecture"][len("tf_") :]}))
    return made


WRONG = {
    "ImageNet's mean and std": ", mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]",
    "bilinear": ", interpolation: bilinear",
    "other crop": ", crop_pct: 1.0",
    "PyTorch's padding": "",
}


SAME_TOP1 = ("bilinear", "PyTorch's padding")  # why the tests compare probabilities


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_preprocessing_mistake_changes_probabilities_beyond_tolerance(make_service, tmp_path, backbone, wrong):
    where = other_architecture(tmp_path, backbone) if wrong == "PyTorch's padding" else None
    answers = classify(make_service, backbone, WRONG[wrong], where)
    assert max(differences(answers, backbone).values()) > 10 * TOLERANCE
    if wrong in SAME_TOP1:
        firsts = {example: predictions[0].id for example, predictions in answers.items()}
        assert firsts == {example: answer[0][0] for example, answer in ANSWERS[backbone].items()}


# --- examples ---


@pytest.mark.parametrize("backbone", BACKBONES)
def test_examples_with_an_imagenet_class_are_classified_correctly(make_service, backbone):
    assert {path.stem for path in EXAMPLES} == {*CLASSES, *WITHOUT_CLASS}
    firsts = {example: predictions[0] for example, predictions in classify(make_service, backbone).items()}
    assert {example: firsts[example].id for example in CLASSES} == CLASSES
    assert {example: firsts[example].label for example in CLASSES} == {
        example: label_of(example) for example in CLASSES
    }


def test_backbones_agree_on_the_kingfisher_but_not_on_the_owl(make_service):
    firsts = {name: classify(make_service, name) for name in BACKBONES}
    labels = {example: [firsts[name][example][0].label for name in BACKBONES] for example in WITHOUT_CLASS}
    assert labels == {"kingfisher": ["jacamar", "jacamar"], "owl": ["house finch", "great grey owl"]}
