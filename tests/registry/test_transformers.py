"""Classifiers of transformers: the real library, and folders that its `save_pretrained` wrote."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub import timm_repo
from PIL import Image
from planning import plan, write_folder
from transformers_networks import KINDS, NAMES, network, processor, save

from lineup import registry
from lineup.errors import BackboneError, HubError
from lineup.registry import image_processors, labels, transformers_models, wordnet
from tests.support import own_models

ROOT = Path(__file__).parents[2]
CROP = {"crop_size": {"height": 32, "width": 32}}
WITH_PILLOW = ("vit", "beit-crop", "resnet", "levit", "mobilevit", "efficientnet", "poolformer", "dinov2")


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Image.Image:
    """Return an image that is neither square nor of the size of any input."""
    pixels = np.random.default_rng(0).integers(0, 255, (60, 100, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((300, 180))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a function that saves a tiny network once, and returns the folder above its folder ``m``."""
    folders = {}

    def folder(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind)
            save(folders[kind] / "m", kind)
        return folders[kind]

    return folder


@pytest.fixture
def copied(saved, tmp_path):
    """Return a copy of a saved folder, to be changed, and a config with it."""
    shutil.copytree(saved("vit") / "m", tmp_path / "m")
    own_models.write_config(tmp_path, {"name": "mine", "backbone": "local-dir:m"})
    return tmp_path / "m"


def edit(path: Path, **changes: object) -> None:
    """Change keys of a JSON file; None removes one."""
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def planned(folder: Path, **keys: object) -> registry.Plan:
    return plan({"name": "mine", "backbone": "local-dir:m", **keys}, folder)


def refusal(folder: Path, **keys: object) -> BackboneError:
    with pytest.raises(BackboneError) as caught:
        planned(folder, **keys)
    assert "Error" not in str(caught.value)
    return caught.value


def logits(made: registry.Plan, batch: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return registry.build(made, made.weights.path)(torch.from_numpy(batch)).numpy()


def expected_logits(folder: Path, image: Image.Image, **settings: object) -> dict[str, float]:
    """Return what transformers' own pipeline computes."""
    import transformers

    classifier = transformers.pipeline("image-classification", str(folder), device="cpu", **settings)
    return {row["label"]: row["score"] for row in classifier(image, top_k=1000, function_to_apply="none")}


# --- logits and preprocessing ---


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_those_of_the_pipeline(kind, saved, noise):
    made, expected = planned(saved(kind)), expected_logits(saved(kind) / "m", noise)
    assert [label.name for label in made.labels.labels] == NAMES
    actual = dict(zip(NAMES, logits(made, made.transform(noise))[0], strict=True))
    assert np.ptp(list(expected.values())) > 0
    assert actual == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_input_can_be_shown_for_each_processor(kind, saved):
    """Plain colours survive resizing and cropping: what is shown must be the colour that the image has."""
    transform = planned(saved(kind)).transform
    height, width = transform.input_size
    for colour in ((250, 10, 60), (0, 128, 255)):
        shown = transform.as_image(transform(Image.new("RGB", (2 * width, 2 * height), colour)))
        assert shown.size == (width, height)
        assert np.abs(np.subtract(shown.getpixel((width // 2, height // 2)), colour)).max() <= 1


@pytest.mark.parametrize("kind", WITH_PILLOW)
def test_preprocessing_is_that_of_the_default_backend(kind, saved, noise):
    import transformers

    own = planned(saved(kind)).transform(noise)
    default = transformers.AutoImageProcessor.from_pretrained(saved(kind) / "m")(noise, return_tensors="np")
    assert np.array_equal(own, default["pixel_values"].astype(np.float32))
    other = processor(kind, "Pil")(noise, return_tensors="np")["pixel_values"]
    assert np.abs(own - other).max() < 0.1  # the backends differ by one step of 8 bits


def test_batches_equal_single_images(saved, noise):
    made = planned(saved("resnet"))
    batch = made.transform.batch([noise, noise.rotate(180)])
    assert logits(made, batch)[1] == pytest.approx(logits(made, batch[1:])[0], rel=1e-4, abs=1e-5)


def test_classify_answers_with_the_names_and_the_crop(copied, make_service, noise):
    noise.save(copied.parent / "noise.png")
    service = make_service("{engine: torch, backbones: [{name: mine, backbone: 'local-dir:m'}]}", copied.parent)
    answer = service.classify(copied.parent / "noise.png")
    expected = expected_logits(copied, noise)
    assert answer.predictions[0].label == max(expected, key=expected.get)
    assert answer.label_set == "id2label of m"
    assert answer.model_input_jpeg


def test_image_without_colours_to_restore_has_no_crop(saved, noise, monkeypatch, make_service):
    from lineup.page.cards import classification_card

    plain = image_processors._pixels
    monkeypatch.setattr(
        image_processors, "_pixels", lambda processor, image: plain(processor, image.convert("L").convert("RGB"))
    )
    noise.save(saved("vit") / "noise.png")
    service = make_service("{engine: torch, backbones: ['local-dir:m']}", saved("vit"))
    answer = service.classify(saved("vit") / "noise.png")
    assert answer.model_input_jpeg == b""
    assert "<img" not in classification_card(answer, 3)
    assert answer.to_json()["predictions"]


# --- keys of the entry ---


@pytest.mark.parametrize(
    ("kind", "keys", "settings"),
    [
        ("beit", {"interpolation": "nearest"}, {"resample": 0}),
        ("vit", {"mean": [0.1, 0.2, 0.3], "std": [0.2] * 3}, {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.2] * 3}),
        ("siglip", {"mean": [0.4] * 3}, {"image_mean": [0.4] * 3}),
        ("resnet", {"input_size": 64}, {"size": {"shortest_edge": 64}}),
        ("resnet", {"crop_pct": 0.5}, {"crop_pct": 0.5}),
        ("segformer", {"input_size": [64, 96]}, {"size": {"height": 64, "width": 96}}),
        ("mobilenet_v2", {"crop_pct": 0.8}, {"size": {"shortest_edge": 40}}),
        ("mobilenet_v2", {"crop_mode": "squash"}, {"size": {"height": 32, "width": 32}}),
        ("beit", {"crop_mode": "center"}, {"size": {"shortest_edge": 32}, "do_center_crop": True, **CROP}),
        ("levit", {"input_size": 64}, {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}),
    ],
)  # fmt: skip
def test_keys_of_the_entry_are_settings_of_the_processor(kind, keys, settings, saved, noise):
    import transformers

    if kind == "levit":  # its positions have one size
        load = image_processors.loader(transformers.AutoImageProcessor, saved(kind) / "m")
        from lineup.config import Entry

        transform = image_processors.transform(Entry.model_validate({"backbone": "local-dir:m", **keys}), load)[0]
    else:
        transform = planned(saved(kind), **keys).transform
    own = transformers.AutoImageProcessor.from_pretrained(saved(kind) / "m", **settings)
    default = planned(saved(kind)).transform(noise)
    expected = own(noise, return_tensors="np")["pixel_values"]
    assert np.array_equal(transform(noise), expected)
    assert default.shape != expected.shape or not np.array_equal(default, expected)


@pytest.mark.parametrize(
    ("kind", "keys", "where"),
    [
        ("vit", {"crop_mode": "border"}, "crop_mode"),
        ("levit", {"crop_pct": 0.9}, "crop_pct"),
        ("convnext-384", {"crop_pct": 0.9}, "crop_pct"),
        ("resnet", {"crop_mode": "squash"}, "crop_mode"),
        ("resnet", {"input_size": [64, 96]}, "input_size"),
        ("segformer", {"crop_pct": 0.5}, "crop_pct"),
        ("mobilevit", {"std": [0.5] * 3}, "std"),
    ],
)
def test_key_that_the_processor_cannot_honour_is_an_error(kind, keys, where, saved):
    assert refusal(saved(kind), **keys).where == f"mine: {where}"


def test_input_size_that_the_network_does_not_take_is_an_error(saved):
    assert "64 × 64 px" in refusal(saved("vit"), input_size=64).got


def test_processor_without_a_fixed_size_is_an_error(copied, noise):
    edit(copied / "preprocessor_config.json", image_processor_type="CLIPImageProcessor", size={"shortest_edge": 32},
         do_center_crop=False)  # fmt: skip
    error = refusal(copied.parent)
    assert error.expected == "an input of a fixed size"
    assert "crop_mode: squash" in error.remedy
    assert planned(copied.parent, input_size=32, crop_mode="squash").transform(noise).shape == (1, 3, 32, 32)


def test_unresized_image_is_decoded_at_full_size(copied):
    assert planned(copied.parent).transform.resize_px >= 32
    edit(copied / "preprocessor_config.json", image_processor_type="CLIPImageProcessor", do_resize=False,
         do_center_crop=True, crop_size={"height": 32, "width": 32})  # fmt: skip
    assert planned(copied.parent).transform.resize_px == 0


# --- labels and activation ---


def test_placeholders_are_no_names(tmp_path):
    save(tmp_path / "m", names=4)
    made = planned(tmp_path)
    assert not made.labels.named
    assert [label.name for label in made.labels.labels] == ["class 0", "class 1", "class 2", "class 3"]
    assert planned(tmp_path, labels=["a", "b", "c", "d"]).labels.origin == "the config"


def test_names_are_in_the_order_of_their_index(copied):
    edit(copied / "config.json", id2label={"2": "bird", "0": "cat", "1": "dog"})
    assert [label.name for label in planned(copied.parent).labels.labels] == ["cat", "dog", "bird"]


@pytest.mark.parametrize(
    "id2label", [{"0": "a", "1": "b", "3": "c"}, {"cat": 0, "dog": 1, "bird": 2}, {"1": "a", "2": "b", "3": "c"}]
)
def test_id2label_with_gaps_or_turned_around_is_an_error(copied, id2label):
    edit(copied / "config.json", id2label=id2label)
    refusal(copied.parent)


def test_head_of_another_size_than_id2label_is_an_error(copied):
    edit(copied / "config.json", id2label={"0": "a", "1": "b"})
    assert "classifier.bias has the shape (3,), not (2,)" in refusal(copied.parent).got


def test_wordnet_ids_and_imagenet_names_are_resolved(copied):
    edit(copied / "config.json", id2label={"0": "n01440764", "1": "n01443537", "2": "cat"})
    assert [(label.id, label.name) for label in planned(copied.parent).labels.labels] == [
        ("n01440764", "tench"), ("n01443537", "goldfish"), (None, "cat"),
    ]  # fmt: skip
    imagenet = wordnet.imagenet("imagenet-1k").labels
    lemmas = [label.description.partition(":")[0] for label in imagenet]
    lemmas[7] = "a rooster"
    resolved = wordnet.resolved(labels.from_names(lemmas, "id2label")).labels
    assert [label.id for label in resolved] == [
        None if index == 7 else label.id for index, label in enumerate(imagenet)
    ]
    assert resolved[7].name == "a rooster"
    backwards = labels.from_names(lemmas[::-1], "id2label")
    assert wordnet.resolved(backwards) is backwards


@pytest.mark.parametrize(
    ("names", "problem_type", "activation"),
    [
        (NAMES, None, "softmax"),
        (NAMES, "single_label_classification", "softmax"),
        (NAMES, "multi_label_classification", "sigmoid"),
        (1, None, "sigmoid"),  # as the pipeline does; a training as regression would have set problem_type
        (1, "multi_label_classification", "sigmoid"),
    ],
)
def test_problem_type_decides_the_activation(tmp_path, names, problem_type, activation):
    save(tmp_path / "m", names=names)
    edit(tmp_path / "m/config.json", problem_type=problem_type)
    made = planned(tmp_path)
    assert made.activation == activation
    assert bool(made.loading_notes) == (activation == "sigmoid")


def test_one_output_may_have_two_names(tmp_path, make_service, noise):
    save(tmp_path / "m", names=1)
    noise.save(tmp_path / "noise.png")
    entry = "{name: mine, backbone: 'local-dir:m', labels: ['no', 'yes']}"
    answer = make_service(f"engine: torch\nbackbones: [{entry}]", tmp_path).classify(tmp_path / "noise.png")
    made = planned(tmp_path, labels=["no", "yes"])
    [[logit]] = logits(made, made.transform(noise))
    probability = {each.label: each.probability for each in answer.predictions}
    assert probability == pytest.approx({"yes": 1 / (1 + np.exp(-logit)), "no": 1 / (1 + np.exp(logit))}, abs=1e-5)


@pytest.mark.parametrize("names", [NAMES, 1])
def test_regression_is_an_error(tmp_path, names):
    save(tmp_path / "m", names=names, problem_type="regression")
    assert "regression" in refusal(tmp_path).got


# --- what is no classifier, and what is missing ---


@pytest.mark.parametrize(
    ("architecture", "got"),
    [
        ("ViTModel", "returns features"),
        ("ViTForMaskedImageModeling", "pretrained"),
        ("ViTMAEForPreTraining", "pretrained"),
        ("CLIPModel", "returns features"),
        ("DetrForObjectDetection", "detects objects"),
        ("SegformerForSemanticSegmentation", "segments images"),
        ("BertForSequenceClassification", "classifies text"),
        ("LlamaForCausalLM", "language model"),
        ("WhisperForConditionalGeneration", "generates text"),
        ("NewForSomethingElse", "config.json says it is NewForSomethingElse"),
    ],
)
def test_network_that_does_not_classify_images_is_called_what_it_is(copied, architecture, got):
    edit(copied / "config.json", architectures=[architecture])
    assert got in refusal(copied.parent).got


def test_weights_without_a_head_are_an_error(tmp_path):
    """transformers would fill the head with random numbers, and only warn."""
    network("vit", head="Model").save_pretrained(tmp_path / "m")
    processor("vit").save_pretrained(tmp_path / "m")
    edit(tmp_path / "m/config.json", architectures=None)
    error = refusal(tmp_path)
    assert "2 are missing (such as classifier.bias)" in error.got
    assert "with a classification head" in error.remedy


def test_text_model_without_architectures_is_an_error(copied):
    edit(copied / "config.json", architectures=None, model_type="bert")
    assert refusal(copied.parent).got == "transformers has none for bert"
    edit(copied / "config.json", model_type="vit_of_tomorrow")
    assert "a newer version" in refusal(copied.parent).remedy


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_code_of_a_repository_is_never_run(copied, name):
    (copied / "modeling.py").write_text("raise SystemExit('executed')")
    classes = {"AutoModelForImageClassification": "modeling.Net", "AutoImageProcessor": "modeling.Processor"}
    edit(copied / name, auto_map=classes)
    assert "`auto_map`" in refusal(copied.parent).got


def test_quantized_model_is_an_error(copied):
    edit(copied / "config.json", quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    assert "before quantization" in refusal(copied.parent).remedy


@pytest.mark.parametrize(
    ("name", "body", "got"),
    [
        ("model.safetensors", b"", "the file is empty"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        ("model.safetensors", b"<!doctype html><html></html>", "a web page"),
        ("model.safetensors", b"\x00" * 100, "it is cut off"),
        ("pytorch_model.bin", b"", "the file is empty"),
        ("pytorch_model.bin", b"\x80\x04nonsense", "something else"),
    ],
)
def test_damaged_weights_are_an_error_before_anything_is_loaded(copied, name, body, got):
    (copied / "model.safetensors").unlink()
    (copied / name).write_bytes(body)
    error = refusal(copied.parent)
    assert got in error.got
    assert error.remedy


@pytest.mark.parametrize(
    ("name", "got", "remedy"),
    [
        ("", "a vit of transformers with no weights", "save_pretrained"),
        ("model.safetensors.index.json", "with model.safetensors.index.json", "max_shard_size"),
        ("tf_model.h5", "with tf_model.h5", "TensorFlow"),
        ("adapter_config.json", "it is an adapter", "merge_and_unload"),
    ],
)
def test_folder_without_its_weights_says_what_it_has(copied, name, got, remedy):
    (copied / "model.safetensors").unlink()
    if name:
        (copied / name).write_text("{}")
    error = refusal(copied.parent)
    assert got in error.got
    assert remedy in error.remedy


def test_network_without_classes_is_an_error(copied):
    """transformers builds no head for zero labels, and returns features as logits."""
    edit(copied / "config.json", num_labels=0, id2label={})
    assert refusal(copied.parent).remedy


@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_settings_of_older_versions_are_read_as_transformers_does(kind, saved, tmp_path, noise):
    shutil.copytree(saved(kind) / "m", tmp_path / "m")
    prefix = {"vit": "ViT", "resnet": "ConvNext"}[kind]
    old = {"do_normalize": True, "do_resize": True, "feature_extractor_type": f"{prefix}FeatureExtractor", "size": 32}
    (tmp_path / "m/preprocessor_config.json").write_text(json.dumps({**old, "image_mean": [0.5] * 3, "resample": 3}))
    edit(tmp_path / "m/config.json", architectures=None)
    made, expected = planned(tmp_path), expected_logits(tmp_path / "m", noise)
    assert logits(made, made.transform(noise))[0] == pytest.approx([expected[name] for name in NAMES], rel=1e-5)


def test_tensors_without_counters_of_batches_load(saved, tmp_path):
    from safetensors.torch import load_file, save_file

    shutil.copytree(saved("resnet") / "m", tmp_path / "m")
    tensors = load_file(tmp_path / "m/model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")}
    assert len(kept) < len(tensors)
    save_file(kept, tmp_path / "m/model.safetensors", {"format": "pt"})
    assert planned(tmp_path).loading_notes == ()


def test_missing_processor_is_an_error(copied):
    (copied / "preprocessor_config.json").unlink()
    assert "processor.save_pretrained" in refusal(copied.parent).remedy


def test_pickled_weights_are_read_as_tensors_only(copied, tmp_path):
    import torch
    from safetensors.torch import load_file

    expected = planned(tmp_path).make(copied / "model.safetensors").state_dict()
    tensors = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    torch.save(tensors, copied / "pytorch_model.bin")
    made = planned(tmp_path)
    actual = made.make(copied / "pytorch_model.bin").state_dict()
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())

    class Code:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({**tensors, "extra": Code()}, copied / "pytorch_model.bin")
    refusal(tmp_path)
    with pytest.raises(BackboneError):
        registry.build(made, copied / "pytorch_model.bin")
    assert not (tmp_path / "executed").exists()


def test_training_files_beside_the_weights_are_ignored(copied, noise):
    for name in ("optimizer.pt", "training_args.bin", "scheduler.pt", "trainer_state.json"):
        (copied / name).write_bytes(b"not to be read")
    made = planned(copied.parent)
    assert logits(made, made.transform(noise)).shape == (1, 3)


def test_half_precision_weights_compute_in_float32(tmp_path, noise):
    network("vit").half().save_pretrained(tmp_path / "m")
    processor("vit").save_pretrained(tmp_path / "m")
    expected = expected_logits(tmp_path / "m", noise, dtype="float32")
    made = planned(tmp_path)
    assert logits(made, made.transform(noise))[0] == pytest.approx([expected[name] for name in NAMES], rel=1e-5)


# --- features, head, and two heads ---


def test_features_are_the_input_of_the_head(saved, noise):
    import torch

    made = planned(saved("resnet"))
    assert (made.head, made.embedding_dim) == ("classifier.1 (16 → 3)", 16)
    features = torch.from_numpy(logits(made.features(), made.transform(noise)))
    head = registry.build(made, made.weights.path).network.classifier[1]
    with torch.inference_mode():
        assert head(features).numpy() == pytest.approx(logits(made, made.transform(noise)), rel=1e-5, abs=1e-6)


def test_distilled_network_answers_with_the_mean_of_both_heads(tmp_path, noise):
    distilled = network("deit", head="ForImageClassificationWithTeacher")
    distilled.save_pretrained(tmp_path / "m")
    processor("deit").save_pretrained(tmp_path / "m")
    made, expected = planned(tmp_path), expected_logits(tmp_path / "m", noise)
    assert made.head == "cls_classifier (16 → 3) and distillation_classifier (16 → 3)"
    assert logits(made, made.transform(noise))[0] == pytest.approx([expected[name] for name in NAMES], rel=1e-5)
    assert logits(made.features(), made.transform(noise)).shape == (1, made.embedding_dim)


def test_tensors_that_the_network_does_not_use_are_noted(copied, noise):
    from safetensors.torch import load_file, save_file

    tensors = load_file(copied / "model.safetensors")
    save_file({**tensors, "vit.pooler.dense.bias": tensors["classifier.bias"].clone()}, copied / "model.safetensors")
    assert planned(copied.parent).loading_notes == ("not used: 1 tensors (such as vit.pooler.dense.bias)",)


def test_fingerprints_differ_by_config_and_processor(copied):
    first = planned(copied.parent)
    assert planned(copied.parent).fingerprint == first.fingerprint
    edit(copied / "config.json", layer_norm_eps=1e-5)
    edit(copied / "preprocessor_config.json", image_mean=[0.4] * 3)
    second = planned(copied.parent)
    assert second.fingerprint != first.fingerprint
    assert second.transform.fingerprint != first.transform.fingerprint


@pytest.mark.openvino
def test_converted_network_answers_as_torch_does(saved):
    from lineup.engines import openvino_engine
    from lineup.engines.torch_engine import TorchEngine

    for kind in ("vit", "mobilevit"):
        made = planned(saved(kind))
        own = registry.build(made, made.weights.path)
        model = openvino_engine.convert(own, made.transform.input_size)
        engine = openvino_engine.OpenVINOEngine(model, "float32", 1)
        batch = np.random.default_rng(1).standard_normal((2, 3, *made.transform.input_size), np.float32)
        assert np.abs(engine(batch) - TorchEngine(own, "cpu")(batch.copy())).max() < 1e-4


def test_recipe_reproduces_the_logits(saved, noise, monkeypatch):
    import torch

    monkeypatch.chdir(saved("resnet"))
    made, names = planned(saved("resnet"), input_size=64), {}
    exec(made.recipe, names)
    with torch.inference_mode():
        actual = names["network"](names["transform"](noise).unsqueeze(0)).numpy()
    assert actual == pytest.approx(logits(made, made.transform(noise)), rel=1e-5)


# --- the Hub, the network, and the library ---


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_repository_is_pinned_to_the_commit_of_its_config(hub, fresh_cache, saved, noise):
    from lineup.hub import downloads

    commit = hub.put("me/pets", files_of(saved("vit") / "m"))
    made = plan("hf-hub:me/pets")
    assert not any("model.safetensors" in path for _, path in hub.requests_to("me/pets"))
    hub.put("me/pets", {"config.json": b"{}"})
    assert made.weights.revision == commit
    own = registry.build(made, downloads.fetch(made.weights, 30))
    import torch

    expected = expected_logits(saved("vit") / "m", noise)
    with torch.inference_mode():
        actual = own(torch.from_numpy(made.transform(noise)))[0].numpy()
    assert actual == pytest.approx([expected[name] for name in NAMES], rel=1e-5)
    assert f"revision='{commit}'" in made.recipe
    agents = {path for _, path in hub.requests_to("me/pets")}
    assert agents <= {f"{at}/{name}" for at in ("main", commit) for name in files_of(saved("vit") / "m")}


def test_repository_without_a_processor_or_with_shards_is_an_error(hub, fresh_cache, saved):
    from lineup.hub import downloads

    files = files_of(saved("vit") / "m")
    hub.put("me/bare", {name: body for name, body in files.items() if name != "preprocessor_config.json"})
    with pytest.raises(BackboneError, match=r"preprocessor_config\.json in me/bare"):
        plan("hf-hub:me/bare")
    shards = {"model.safetensors.index.json": b"{}", "model-00001-of-00002.safetensors": b""}
    hub.put("me/shards", {name: body for name, body in files.items() if name != "model.safetensors"} | shards)
    made = plan("hf-hub:me/shards")
    with pytest.raises(BackboneError, match="max_shard_size"):
        registry.build(made, downloads.fetch(made.weights, 30))


def test_unreachable_hub_stays_a_hub_error(hub, fresh_cache, saved):
    hub.put("me/gated", files_of(saved("vit") / "m"))
    hub.faults["me/gated"] = "500"
    with pytest.raises(HubError):
        plan("hf-hub:me/gated")


def test_transformers_opens_no_connection(saved, noise, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("a connection was opened")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    made = planned(saved("vit"))
    assert logits(made, made.transform(noise)).shape == (1, 3)


def test_missing_library_is_an_error_with_how_to_get_it(saved, monkeypatch, hub, fresh_cache):
    monkeypatch.setitem(sys.modules, "transformers", None)
    error = refusal(saved("vit"))
    assert error.got == "it is not installed"
    assert error.remedy == "`pip install -r requirements-transformers.txt`"
    assert (ROOT / transformers_models.REQUIREMENTS).is_file()
    hub.put("google/resnet-18", files_of(saved("resnet") / "m"))
    with pytest.raises(BackboneError) as caught:
        plan("hf-hub:google/resnet-18")
    assert caught.value.remedy.endswith("timm has an architecture of this name, with weights of its own: resnet18")


def test_library_is_imported_only_for_an_entry_that_needs_it(saved, tmp_path):
    write_folder(tmp_path / "t", timm_repo(_timm_network(), label_names=NAMES))
    code = (
        "import sys; from pathlib import Path; from lineup import registry; from lineup.config import Entry\n"
        "def plan(folder, name):\n"
        "    context = registry.Context(Path(folder), None)\n"
        "    registry.plan(Entry.model_validate({'backbone': f'local-dir:{name}'}), context)\n"
        "    print('transformers' in sys.modules)\n"
        f"plan({str(tmp_path)!r}, 't'); plan({str(saved('vit'))!r}, 'm')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\nTrue\n"


# --- models of timm that transformers saved ---


def _timm_network():
    import timm
    import torch

    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=3).eval()


def _wrapped(folder: Path, **keys: object):
    """Save a network of timm by transformers, and return it."""
    import torch
    import transformers

    own = _timm_network()
    fields = {"architecture": "test_resnet", "num_classes": 3, "pretrained_cfg": dict(own.pretrained_cfg), **keys}
    wrapper = transformers.TimmWrapperForImageClassification(transformers.TimmWrapperConfig.from_dict(fields)).eval()
    with torch.no_grad():
        wrapper.timm_model.load_state_dict(own.state_dict())
    wrapper.save_pretrained(folder)
    return own


@pytest.mark.parametrize("names", [NAMES, None])
def test_timm_model_saved_by_transformers_loads_through_timm(tmp_path, monkeypatch, noise, names):
    import torch

    own = _wrapped(tmp_path / "m", label_names=names)
    assert json.loads((tmp_path / "m/config.json").read_text())["model_args"] is None
    monkeypatch.setitem(sys.modules, "transformers", None)
    made = planned(tmp_path)
    assert made.labels.named == bool(names)
    batch = made.transform(noise)
    with torch.inference_mode():
        assert np.array_equal(logits(made, batch), own(torch.from_numpy(batch)).numpy())


def test_timm_model_with_model_type_and_plain_keys_loads(tmp_path, noise):
    import torch

    own = _timm_network()
    own_models.write_folder(
        tmp_path, own, {"model_args": None, "model_type": "timm_wrapper", "id2label": {"0": "x"}}, label_names=NAMES
    )
    made = planned(tmp_path)
    assert [label.name for label in made.labels.labels] == NAMES
    batch = made.transform(noise)
    with torch.inference_mode():
        assert np.array_equal(logits(made, batch), own(torch.from_numpy(batch)).numpy())


def test_architecture_of_timm_precedes_the_model_type(tmp_path):
    """A config.json with both keys is timm's, whatever transformers would make of it."""
    own_models.write_folder(tmp_path, _timm_network(), {"model_type": "resnet"}, label_names=NAMES)
    assert planned(tmp_path).architecture == "test_resnet.r160_in1k"


# --- the command line ---


def test_empty_weights_beside_a_config_are_told_apart(tmp_path, capsys):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/model.safetensors").write_bytes(b"")
    config = {"architectures": ["ViTForImageClassification"], "model_type": "vit", "id2label": {"0": "a"}}
    (tmp_path / "m/config.json").write_text(json.dumps(config))
    own_models.write_config(tmp_path, {"name": "mine", "backbone": "local-dir:m"})
    status, printed = own_models.check(tmp_path, capsys)
    assert status == 2
    assert "model.safetensors: expected the weights of a model of transformers; the file is empty" in printed


def test_check_and_classify_answer(copied, capsys):
    assert own_models.check(copied.parent, capsys)[0] == 0
    probabilities, answer = own_models.classify(copied.parent, capsys)
    assert set(probabilities) == set(NAMES)
    assert sum(probabilities.values()) == pytest.approx(1)
    assert answer["input_size"] == [32, 32]
