import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from importlib.metadata import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import torch_hub
from hub import timm_repo, with_config
from networks import scale_head, seeded_timm
from PIL import Image
from planning import plan, write_folder
from safetensors.torch import save_file
from timm.models import get_pretrained_cfg
from torchvision import models, transforms
from torchvision.transforms import InterpolationMode

from lineup import registry
from lineup.errors import BackboneError, HubError
from lineup.hub import checksums, downloads, files
from lineup.registry import timm_models, timm_published, torchvision_models, wordnet
from lineup.registry.labels import Label
from lineup.registry.meta_device import dry_run

TENCH = Label("n01440764", "tench")
CLIP = "vit_base_patch16_clip_224"
ROOT = Path(__file__).parents[2]
TINY = "test_resnet"  # timm's own test architecture: 0.5 M parameters


def load(value, folder: Path = Path()) -> SimpleNamespace:
    planned = plan(value, folder)
    path = downloads.fetch(planned.weights, 30) if planned.weights else None
    return SimpleNamespace(plan=planned, network=registry.build(planned, path))


def refusal(value, folder: Path = Path(), of=BackboneError) -> str:
    with pytest.raises(of) as caught:
        load(value, folder)
    return str(caught.value)


def rgb(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def softmax_of(network, transform, image: Path) -> np.ndarray:
    """Follow the recipe in the libraries' own documentation: ``(classes,)``."""
    with torch.inference_mode():
        return network.eval()(transform(rgb(image)).unsqueeze(0)).softmax(1)[0].numpy()


def probabilities(service, image: Path) -> np.ndarray:
    """Return the probabilities that the service returns, by class index."""
    answer = service.classify(image, top_k=30_000)
    by_class = {prediction.class_index: prediction.probability for prediction in answer.predictions}
    return np.array([by_class[index] for index in range(len(by_class))])


def logits(network) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        return network.eval()(torch.rand(1, 3, 64, 64, generator=generator))


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert 0.02 < theirs.max() < 0.999  # a uniform or saturated distribution would prove nothing
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


# --- predictions ---


@pytest.mark.parametrize(
    ("name", "arguments", "safe"),
    [
        ("resnet18.a1_in1k", {}, True),
        ("mobilenetv3_small_100.lamb_in1k", {}, True),
        ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", {}, True),  # its published file is not a state dict
        ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", {"img_size": (96, 96)}, True),
        ("vit_tiny_patch16_224.augreg_in21k", {}, True),
        ("test_convnext.r160_in1k", {}, True),
        ("test_efficientnet.r160_in1k", {}, False),  # pytorch_model.bin
    ],
)
def test_timm_predictions_match_plain_timm(make_service, publish, hub, image, name, arguments, safe):
    assert ("model.safetensors" in publish(name, safe)) == safe
    network = timm.create_model(name, pretrained=True, **arguments)
    overrides = {"input_size": (3, *arguments["img_size"])} if arguments else {}
    data = timm.data.resolve_model_data_config(network, args=overrides)
    theirs = softmax_of(network, timm.data.create_transform(**data, is_training=False), image)
    size = f", input_size: {list(arguments['img_size'])}" if arguments else ""
    service = make_service(f"backbones: [{{backbone: {name}{size}}}]")
    assert_same(probabilities(service, image), theirs)
    assert service.classify(image).input_size == tuple(data["input_size"][1:])


@pytest.mark.parametrize("name", ["squeezenet1_0", "mobilenet_v3_small", "shufflenet_v2_x0_5", "googlenet"])
def test_torchvision_predictions_match_plain_torchvision(make_service, fresh_cache, image, name, monkeypatch):
    chosen = models.get_model_weights(name).DEFAULT
    torch_hub.agree(monkeypatch, cache_torchvision_weights(fresh_cache, name, chosen))
    theirs = softmax_of(models.get_model(name, weights=chosen), chosen.transforms(), image)
    assert_same(probabilities(make_service(f"backbones: [torchvision/{name}]"), image), theirs)


def cache_torchvision_weights(cache: Path, name: str, chosen) -> Path:
    torch.manual_seed(0)
    options = {"init_weights": False, "aux_logits": True} if name == "googlenet" else {}
    path = cache / "torch" / "hub" / "checkpoints" / Path(chosen.url).name
    path.parent.mkdir(parents=True)
    torch.save(scale_head(models.get_model(name, weights=None, **options)).state_dict(), path)
    return path


def test_cut_off_or_other_torchvision_weights_are_not_loaded(make_service, fresh_cache, image):
    chosen = models.SqueezeNet1_1_Weights.DEFAULT
    path = cache_torchvision_weights(fresh_cache, "squeezenet1_1", chosen)
    body = path.read_bytes()
    for wrong in (body, body[:100_000]):
        path.write_bytes(wrong)
        with pytest.raises(
            HubError, match=r"squeezenet1_1-b8a52dc0.pth is cut off or has other contents, and it cannot"
        ):
            make_service("backbones: [torchvision/squeezenet1_1]").classify(image)
        service = make_service("backbones: [torchvision/squeezenet1_1]")
        service.probe(offline=True)
        assert "whose hash starts with b8a52dc0" in " ".join([*service.problems(), *service.notes()])


def test_plain_name_is_the_library_default_and_takes_no_request(publish, hub):
    publish("resnet18.a1_in1k")
    planned = plan("resnet18")
    assert (planned.architecture, planned.license) == ("resnet18.a1_in1k", "apache-2.0")
    assert (planned.parameters, planned.num_classes) == (11_689_512, 1000)
    assert planned.weights == files.HubFile("timm/resnet18.a1_in1k", ("model.safetensors", "pytorch_model.bin"))
    assert hub.requests == []
    planned = plan("torchvision/resnet50@IMAGENET1K_V1")
    assert (planned.architecture, planned.parameters) == ("resnet50@IMAGENET1K_V1", 25_557_032)
    assert planned.download_bytes == pytest.approx(102_530_333, rel=1e-3)
    assert planned.weights.sha256 == "0676ba61"


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("torchvision/resnet50", "training data's terms may apply; code BSD-3-Clause"),
        ("torchvision/vit_b_16@IMAGENET1K_SWAG_E2E_V1", "CC-BY-NC-4.0 (SWAG)"),
    ],
)
def test_torchvision_licence_is_the_one_torchvision_states(backbone, expected):
    assert plan(backbone).license == expected
    stated = " ".join(metadata("torchvision").get_payload().split())
    assert "may have their own licenses or terms and conditions derived from the dataset used for training" in stated
    assert "SWAG models are released under the CC-BY-NC 4.0 license" in stated


def test_unknown_torchvision_licence_is_shown_verbatim(monkeypatch):
    monkeypatch.setitem(models.ResNet18_Weights.DEFAULT.meta, "license", "https://example.org/LICENSE")
    assert plan("torchvision/resnet18").license == "https://example.org/LICENSE"


def test_no_torchvision_licence_is_a_bare_url():
    published = [weights for name in models.list_models(module=models) for weights in models.get_model_weights(name)]
    licenses = Counter(torchvision_models._license(weights) for weights in published)
    assert licenses == {"training data's terms may apply; code BSD-3-Clause": 103, "CC-BY-NC-4.0 (SWAG)": 12}


# --- overrides of the transform ---

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

OVERRIDES = [
    {"input_size": 96},
    {"input_size": [96, 128]},
    {"mean": [0.1, 0.2, 0.3]},
    {"std": [0.1, 0.2, 0.3]},
    {"crop_pct": 0.5},
    {"interpolation": "nearest"},
]


@pytest.mark.parametrize("overrides", OVERRIDES, ids=lambda overrides: next(iter(overrides)))
def test_timm_transform_applies_overrides_of_the_entry(image, overrides):
    usual = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "crop_pct": 0.95, "interpolation": "bicubic"}
    theirs = timm.data.create_transform(**{**usual, **overrides, "input_size": (3, *size_of(overrides))})
    check_transform("resnet18.a1_in1k", overrides, theirs, image)


@pytest.mark.parametrize("overrides", [OVERRIDES[0], *OVERRIDES[2:]], ids=lambda overrides: next(iter(overrides)))
def test_torchvision_transform_applies_overrides_of_the_entry(image, overrides):
    resized = round(min(size_of(overrides)) / overrides.get("crop_pct", 224 / 256))
    steps = (
        transforms.Resize(resized, InterpolationMode(overrides.get("interpolation", "bilinear"))),
        transforms.CenterCrop(size_of(overrides)),
        transforms.ToTensor(),
        transforms.Normalize(overrides.get("mean", IMAGENET_MEAN), overrides.get("std", IMAGENET_STD)),
    )
    check_transform("torchvision/resnet18", overrides, transforms.Compose(steps), image)


def size_of(overrides) -> list[int]:
    size = overrides.get("input_size", 224)
    return size if isinstance(size, list) else [size, size]


def check_transform(backbone: str, overrides, theirs, image: Path) -> None:
    usual, ours = plan(backbone).transform(rgb(image)), plan({"backbone": backbone, **overrides}).transform
    batch = ours(rgb(image))
    assert batch.dtype == np.float32
    assert batch.shape == (1, 3, *ours.input_size)
    assert batch.shape != usual.shape or np.abs(batch - usual).max() > 0.1
    assert plan(backbone).transform.key == plan(backbone).transform.key != ours.key
    np.testing.assert_allclose(batch[0], theirs(rgb(image)).numpy(), atol=1e-6)


def test_slightly_different_transforms_have_different_keys():
    means = [[0.1, 0.2, 0.3], [0.1, 0.2, 0.300001]]
    assert len({plan({"backbone": "resnet18", "mean": mean}).transform.key for mean in means}) == 2


def test_as_image_inverts_the_normalisation(tmp_path):
    red = Image.new("RGB", (200, 200), (250, 10, 60))
    for backbone in ("resnet18", "torchvision/resnet18", "vit_tiny_patch16_224"):
        transform = plan(backbone).transform
        assert transform.as_image(transform(red)).getpixel((100, 100)) == (250, 10, 60)


# --- published figures ---


@pytest.mark.parametrize(
    ("value", "top1", "gmacs"),
    [
        ("resnet18.a1_in1k", 71.504, 1.82),
        ("resnet18", 71.504, 1.82),  # its default tag
        ("resnet18.tv_in1k", 69.752, 1.82),
        ({"backbone": "resnet18", "name": "mine", "labels": "names.txt"}, 71.504, 1.82),
        ({"backbone": "resnet18", "input_size": 288}, 73.164, 3.01),
        ("hf-hub:timm/resnet18.a1_in1k", 71.504, 1.82),
        ("torchvision/resnet50", 80.858, 4.089),
        ("torchvision/resnet50@IMAGENET1K_V1", 76.13, 4.089),
    ],
)
def test_published_weights_have_their_figures(publish, tmp_path, value, top1, gmacs):
    publish("resnet18.a1_in1k")
    (tmp_path / "names.txt").write_text("\n".join(map(str, range(1000))))
    figures = plan(value, tmp_path).figures
    assert (figures["imagenet_top1"], figures["gmacs"]) == (top1, gmacs)
    assert figures["imagenet_top5"] > top1


OTHER_TRANSFORMS = [
    {"mean": [0.4, 0.4, 0.4]},
    {"std": [0.1, 0.2, 0.3]},
    {"crop_pct": 0.5},
    {"interpolation": "nearest"},
]


@pytest.mark.parametrize("backbone", ["resnet18", "torchvision/resnet18"])
@pytest.mark.parametrize("overrides", OTHER_TRANSFORMS, ids=lambda overrides: next(iter(overrides)))
def test_overridden_transform_has_no_figures(backbone, overrides):
    assert plan({"backbone": backbone, **overrides}).figures == {}


EXPLICIT_DEFAULTS = {
    "resnet18": {"mean": IMAGENET_MEAN, "crop_pct": 0.95, "interpolation": "bicubic", "input_size": 224},
    "torchvision/resnet18": {"mean": IMAGENET_MEAN, "crop_pct": 0.875, "interpolation": "bilinear", "input_size": 224},
}


@pytest.mark.parametrize("backbone", EXPLICIT_DEFAULTS)
def test_explicit_default_transform_has_the_published_figures(backbone):
    explicit = plan({"backbone": backbone, **EXPLICIT_DEFAULTS[backbone]})
    assert explicit.figures == plan(backbone).figures != {}


def test_unpublished_input_size_has_no_accuracies():
    assert plan({"backbone": "resnet18", "input_size": [224, 288]}).figures == {}
    assert plan({"backbone": "torchvision/squeezenet1_1", "input_size": 128}).figures == {}
    figures = plan({"backbone": "resnet18", "input_size": 100}).figures
    assert "imagenet_top1" not in figures


def test_own_weights_have_no_figures(hub, fresh_cache, publish, tmp_path):
    files = publish("resnet18.a1_in1k")
    write_folder(tmp_path / "copy", files)
    hub.put("me/resnet18.a1_in1k", files)
    hub.put("timm/another", files)
    own = [
        "hf-hub:me/resnet18.a1_in1k",
        "hf-hub:timm/another",
        "local-dir:copy",
        {"backbone": "resnet18", "pretrained": False},
        {"backbone": "resnet18", "checkpoint": "copy/model.safetensors"},
        {"backbone": "torchvision/resnet18", "pretrained": False},
    ]
    assert [plan(value, tmp_path).figures for value in own] == [{}] * 6


# --- labels ---


@pytest.mark.parametrize(
    ("config", "entry", "first", "origin"),
    [
        ({}, {}, Label(None, "class 0"), "unnamed classes"),
        ({"label_names": ["a", "b", "c"]}, {}, Label(None, "a"), "label_names of me/labels"),
        ({"label_names": {"2": "c", "0": "a", "1": "b"}}, {}, Label(None, "a"), "label_names of me/labels"),
        ({"label_names": ["n01440764", "b", "c"]}, {}, TENCH, "label_names of me/labels"),
        ({"label_names": {"0": "n01440764", "1": "b", "2": "c"}}, {}, TENCH, "label_names of me/labels"),
        (
            {"label_names": ["a", "b", "c"], "label_descriptions": {"a": "the first letter"}},
            {},
            Label(None, "a", "the first letter"),
            "label_names of me/labels",
        ),
        ({"label_names": ["a", "b", "c"]}, {"labels": ["x", "y", "z"]}, Label(None, "x"), "the config"),
        ({"label_names": ["a", "b", "c"]}, {"labels": "names.txt"}, Label(None, "one"), "names.txt"),
        (
            {"num_classes": 1000, "tag": "a1_in1k"},
            {},
            Label(None, "class 0"),
            "unnamed classes",
        ),  # timm's tag, not its weights
        ({"num_classes": 512}, {}, Label(None, "class 0"), "unnamed classes"),  # not published: no embedding
        ({"num_classes": 1000, "tag": "pets"}, {}, Label(None, "class 0"), "unnamed classes"),
        ({"num_classes": 1000, "tag": ""}, {}, Label(None, "class 0"), "unnamed classes"),
    ],
)
def test_label_sources_have_an_order_of_precedence(hub, fresh_cache, tmp_path, config, entry, first, origin):
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\n")
    hub.put("me/labels", {"config.json": timm_config(**config)})
    label_set = plan({"backbone": "hf-hub:me/labels", **entry}, tmp_path).labels
    assert label_set.origin == origin
    assert label_set.named == (origin != "unnamed classes")
    assert label_set.labels[0].name == first.name
    assert label_set.labels[0].id == first.id
    assert label_set.labels[0].description.startswith(first.description)


def timm_config(num_classes: int = 3, tag: str = "", **config) -> bytes:
    cfg = {"num_classes": num_classes, "input_size": [3, 64, 64], "tag": tag}
    return json.dumps({"architecture": TINY, "num_classes": num_classes, "pretrained_cfg": cfg, **config}).encode()


@pytest.mark.parametrize(
    ("config", "entry", "message"),
    [
        ({"label_names": ["a", "b"]}, {}, "expected 3 names, one for each output"),
        ({"label_names": ["a", "b", "c"]}, {"labels": ["x", "y"]}, "the config has 2"),
        ({"label_names": {"0": "a", "1": "b", "3": "c"}}, {}, "expected one name for each class index from 0"),
        ({"label_names": "abc"}, {}, "expected a list of strings"),
        ({"num_classes": 0}, {}, "no classification head"),
        ({"architecture": CLIP, "tag": "openai", "num_classes": 512}, {}, "an embedding of 512 numbers"),
    ],
)
def test_labels_that_do_not_match_the_head_are_an_error(hub, fresh_cache, config, entry, message):
    hub.put("me/labels", {"config.json": timm_config(**config)})
    assert message in refusal({"backbone": "hf-hub:me/labels", **entry})


def test_display_names_of_both_imagenet_cranes_are_unique():
    for backbone in ("resnet18.a1_in1k", "torchvision/resnet18"):
        names = plan(backbone).labels.display_names
        assert (names[134], names[517]) == ("crane (n02012849)", "crane (n03126707)")
        assert len(set(names)) == 1000


def test_class_names_are_the_same_in_both_libraries():
    ours = plan("resnet18.a1_in1k").labels
    assert plan("torchvision/resnet18").labels == ours
    theirs = models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    pairs = [(label.name, category) for label, category in zip(ours.labels, theirs, strict=True)]
    differing = {index: pair for index, pair in enumerate(pairs) if pair[0] != pair[1]}
    assert differing == {134: ("crane", "crane bird"), 639: ("maillot", "maillot tank suit")}


@pytest.mark.parametrize(
    ("name", "origin", "num_classes"),
    [
        ("convnext_nano.in12k", "ImageNet-12k", 11821),
        ("mobilenetv3_large_100.miil_in21k", "ImageNet-21k-miil", 11221),
        ("convnext_tiny.fb_in22k", "ImageNet-22k", 21841),
        ("focalnet_large_fl3.ms_in22k", "ImageNet-22k-ms", 21842),
        ("vit_tiny_patch16_224.augreg_in21k", "ImageNet-21k-goog", 21843),
    ],
)
def test_larger_imagenet_subsets_have_their_own_labels(name, origin, num_classes):
    label_set = plan(name).labels
    assert (label_set.origin, len(label_set), len(set(label_set.display_names))) == (origin, num_classes, num_classes)
    assert [label.id for label in label_set.labels] == timm.data.ImageNetInfo(origin.lower()).label_names()


def test_every_pretrained_timm_tag_is_labelled_or_refused():
    count: Counter[str] = Counter()
    numbered = []
    for name in timm.list_pretrained():
        cfg = asdict(get_pretrained_cfg(name))
        num_classes = timm_models._num_classes(cfg)
        label_set = wordnet.for_tag(cfg["tag"], num_classes)
        if num_classes == 0 or timm_models._is_embedding(name, num_classes, label_set):
            count["embedding" if num_classes else "no head"] += 1
            continue
        count[label_set.origin if label_set else "numbered"] += 1
        numbered += [] if label_set else [name]
        assert isinstance(timm_published.weights_file({**cfg, "architecture": name}), files.HubFile | files.UrlFile)
    assert count == {
        "no head": 269,
        "embedding": 113,
        "ImageNet-1k": 1319,
        "ImageNet-12k": 48,
        "ImageNet-22k": 31,
        "ImageNet-21k-goog": 30,
        "ImageNet-22k-ms": 5,
        "ImageNet-21k-miil": 5,
        "numbered": 6,
    }
    assert numbered == [
        "mvitv2_base_cls.fb_inw21k",
        "mvitv2_huge_cls.fb_inw21k",
        "mvitv2_large_cls.fb_inw21k",
        "resmlp_12_224.fb_dino",
        "resmlp_24_224.fb_dino",
        "vit_base_patch16_224.bamboo",
    ]


# --- errors ---


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("resnet19", "expected a model name of timm; got 'resnet19'; did you mean 'resnet18'?"),
        ("qqqq", "timm.list_models() lists all names"),
        ("resnet18.a1_in2k", "expected a pretrained tag of resnet18; got 'a1_in2k'; did you mean 'a1_in1k'?"),
        ("resnet18.zz", "it has: a1_in1k, a2_in1k,"),
        ("vit_base_patch16_clip_224.openai", "an embedding of 512 numbers, not classes"),
        ("vit_base_patch14_dinov2.lvd142m", "no classification head"),
        ("botnet50ts_256", "timm publishes none for 'botnet50ts_256'"),
        ({"backbone": "vit_base_patch14_dinov2", "pretrained": False}, "has no default; add `labels`"),
        (
            "torchvision/resnet5",
            "expected a classification model of torchvision; got 'resnet5'; did you mean 'resnet50'",
        ),
        ("torchvision/fcn_resnet50", "expected a classification model of torchvision"),  # it segments
        ("torchvision/resnet50@IMAGENET1K_V3", "expected weights of resnet50; got 'IMAGENET1K_V3'"),
        ("nosuch:thing", "expected a known source; got 'nosuch'; use one of: timm, hf-hub, local-dir, torchvision"),
        ("tim:resnet18", "did you mean 'timm'?"),
        ("local-dir:nothing", "expected a folder; "),
        ({"backbone": "local-dir:x", "pretrained": False}, "expected an architecture of timm or torchvision"),
        ({"backbone": "resnet18", "labels": ["a"]}, "expected 1000 names"),
        ({"backbone": "torchvision/resnet18", "labels": ["a"]}, "expected 1000 names"),
        (
            {"backbone": "torchvision/vit_b_16", "input_size": 96},
            "expected input_size 224, the only one of these weights",
        ),
        (
            {"backbone": "torchvision/squeezenet1_0", "input_size": 16},
            "expected an input_size that the network accepts",
        ),
        ("torchvision/vgg16@IMAGENET1K_FEATURES", "expected weights that classify"),
        ("torchvision/resnet50@imagenet1k_v9", "did you mean 'IMAGENET1K_V2'?"),
    ],
)
def test_invalid_backbone_is_refused_with_a_reason(value, message):
    text = refusal(value)
    assert text.startswith(value["backbone"] if isinstance(value, dict) else value)
    assert message in text


def test_missing_repository_is_a_hub_error(hub):
    assert "no such public repository" in refusal("hf-hub:me/nothing", of=HubError)
    assert "no such public repository" in refusal("resnet51q.ra2_in1k", of=HubError)


# --- checkpoints ---

ARCHITECTURES = {  # with the same number of classes, and otherwise different
    TINY: lambda: seeded_timm(TINY, num_classes=3),
    "torchvision/shufflenet_v2_x0_5": lambda: scale_head(models.shufflenet_v2_x0_5(num_classes=3)),
}


@pytest.fixture(params=ARCHITECTURES)
def mine(request):
    """Return the name of a backbone, and a network of that architecture with weights of the user."""
    torch.manual_seed(0)
    return request.param, ARCHITECTURES[request.param]()


FORMS = {
    "mine.safetensors": lambda state, path: save_file(state, path),
    "mine.pth": lambda state, path: torch.save(state, path),
    "wrapped.pth": lambda state, path: torch.save({"state_dict": state, "epoch": 3}, path),
    "parallel.pt": lambda state, path: torch.save({f"module.{key}": value for key, value in state.items()}, path),
}


@pytest.mark.parametrize("form", FORMS)
def test_checkpoint_weights_are_loaded_in_every_format(mine, tmp_path, form):
    backbone, network = mine
    FORMS[form](network.state_dict(), tmp_path / form)
    loaded = load({"backbone": backbone, "checkpoint": form, "labels": ["x", "y", "z"]}, tmp_path)
    torch.testing.assert_close(logits(loaded.network), logits(network))
    assert loaded.plan.labels.display_names == ("x", "y", "z")
    assert loaded.plan.notes[0].startswith("preprocessing assumed from ")


def test_checkpoint_without_labels_has_the_classes_of_its_head(mine, tmp_path):
    torch.save(mine[1].state_dict(), tmp_path / "mine.pth")
    entry = {"backbone": mine[0], "checkpoint": "mine.pth"}
    assert plan(entry, tmp_path).labels.display_names == ("class 0", "class 1", "class 2")
    settings = {"input_size": 64, "mean": [0, 0, 0], "std": [1, 1, 1], "crop_pct": 1, "interpolation": "bilinear"}
    assert plan({**entry, **settings, "crop_mode": "center"}, tmp_path).notes == ()


class Harmful:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


INVALID = {  # file name → how it is written, part of the message
    "other.pth": (
        lambda state, path: torch.save(seeded_timm("test_vit", num_classes=3).state_dict(), path),
        "expected the ",
    ),
    "list.pth": (lambda state, path: torch.save([1, 2], path), "expected a state dict and nothing else"),
    "text.pth": (lambda state, path: path.write_text("no weights at all"), "expected a state dict and nothing else"),
    "cut.pth": (lambda state, path: (torch.save(state, path), cut(path)), "expected a "),
    "cut.safetensors": (lambda state, path: (save_file(state, path), cut(path)), "expected a complete checkpoint"),
    "empty.safetensors": (lambda state, path: path.touch(), "expected a complete checkpoint"),
    "harmful.pth": (
        lambda state, path: torch.save({"state_dict": state, "extra": Harmful(path.with_name("touched"))}, path),
        "expected a state dict and nothing else",
    ),
    "harmful.bin": (
        lambda state, path: path.write_bytes(pickle.dumps(Harmful(path.with_name("touched")), 2)),
        "expected a state dict and nothing else",
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_checkpoint_is_refused_without_executing_its_code(mine, tmp_path, name):
    write, message = INVALID[name]
    write(mine[1].state_dict(), tmp_path / name)
    text = refusal({"backbone": mine[0], "checkpoint": name}, tmp_path)
    assert message in text
    assert not (tmp_path / "touched").exists()


def test_code_in_torchvision_cache_files_is_not_executed(fresh_cache, tmp_path):
    planned = plan({"backbone": "torchvision/squeezenet1_1"}, tmp_path)
    planned.weights.path.parent.mkdir(parents=True)
    for harmful in (torch.save, lambda what, path: path.write_bytes(pickle.dumps(what, 2))):
        harmful(Harmful(tmp_path / "touched"), planned.weights.path)
        with pytest.raises(BackboneError, match="expected a backbone that loads squeezenet1_1"):
            registry.build(planned, planned.weights.path)
    assert not (tmp_path / "touched").exists()


def test_missing_checkpoint_and_wrong_number_of_labels_are_errors(mine, tmp_path):
    entry = {"backbone": mine[0], "checkpoint": "mine.pth"}
    assert "mine.pth does not exist" in refusal(entry, tmp_path)
    torch.save(mine[1].state_dict(), tmp_path / "mine.pth")
    assert "expected 3 names" in refusal({**entry, "labels": ["x", "y"]}, tmp_path)


# --- folders and repositories in timm's format ---

CONFIG = {"label_names": ["x", "y", "z"]}


@pytest.mark.parametrize("safe", [True, False])
def test_folder_in_timm_format_is_loaded(tmp_path, safe):
    network = seeded_timm(TINY, num_classes=3)
    write_folder(tmp_path / "pets #1", timm_repo(network, safe, **CONFIG))
    loaded = load("local-dir:pets #1", tmp_path)
    assert loaded.plan.labels.display_names == ("x", "y", "z")
    torch.testing.assert_close(logits(loaded.network), logits(network))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda files: {}, "expected weights in"),
        (lambda files: {**files, "config.json": None}, "config.json; it does not exist"),
        (lambda files: {**files, "config.json": b"{broken"}, "expected JSON in"),
        (lambda files: {**files, "config.json": b"[]"}, "expected timm's format in"),
        (lambda files: with_config(files, architecture="resnet19"), "got 'resnet19'; did you mean 'resnet18'?"),
        (lambda files: with_config(files, architecture=None), "expected timm's format in"),
        (lambda files: with_config(files, num_classes=5, label_names=None), "2 of another shape (such as fc.bias)"),
        (lambda files: with_config(files, label_names=["x"]), "expected 3 names"),
        (
            lambda files: {**files, "model.safetensors": files["model.safetensors"][:1000]},
            "expected a complete checkpoint",
        ),
    ],
)
def test_invalid_folder_is_refused(tmp_path, change, message):
    files = change(timm_repo(seeded_timm(TINY, num_classes=3), **CONFIG))
    write_folder(tmp_path / "pets", {name: body for name, body in files.items() if body is not None})
    assert message in refusal("local-dir:pets", tmp_path)


@pytest.fixture
def versions(hub, fresh_cache):
    """Put two versions of a repository on the Hub; return their commits and networks."""
    networks = [seeded_timm(TINY, num_classes=3), seeded_timm(TINY, num_classes=2)]
    old, new = timm_repo(networks[0], **CONFIG), timm_repo(networks[1], label_names=["p", "q"])
    commits = [hub.put("me/pets", old), hub.put("me/pets", new, "refs/pr/1")]
    return commits, networks


@pytest.mark.parametrize(("revision", "version"), [("", 0), ("@main", 0), ("@refs/pr/1", 1), ("@{0}", 0), ("@{1}", 1)])
def test_repository_is_loaded_at_the_given_revision(versions, revision, version):
    commits, networks = versions
    loaded = load(f"hf-hub:me/pets{revision.format(*commits)}")
    assert loaded.plan.labels.display_names == (("x", "y", "z"), ("p", "q"))[version]
    torch.testing.assert_close(logits(loaded.network), logits(networks[version]))


def test_config_and_weights_are_of_the_same_commit(hub, versions):
    (old, _), networks = versions
    planned = plan("hf-hub:me/pets")
    hub.put("me/pets", timm_repo(networks[1], label_names=["p", "q"]))  # a push in between
    built = registry.build(planned, downloads.fetch(planned.weights, 30))
    torch.testing.assert_close(logits(built), logits(networks[0]))
    assert {path.partition("/")[0] for _, path in hub.requests_to("me/pets") if "model" in path} == {old}


def test_added_source_works_through_the_service(make_service, fakes, image):
    answer = make_service("backbones: [{name: mine, backbone: 'fake:a'}]").classify(image)
    assert (answer.backbone, answer.predictions[0].label) == ("mine", "cat")


# --- every twentieth architecture of timm, every model of torchvision: a tenth of them in `make test`, few computed ---

MAX_PARAMETERS = 100_000_000  # larger networks take too long on two cores
FEW_PARAMETERS = 10_000_000  # and in `make test`, all but small ones
SLOW = ("swinv2_large_window12_192",)  # to build, even without weights

TORCHVISION = [
    f"torchvision/{name}"
    for name in models.list_models(module=models)
    if models.get_model_weights(name).DEFAULT.meta["num_params"] <= MAX_PARAMETERS
]


ALL_ARCHITECTURES = [*timm.list_models()[::20], *TORCHVISION]
SIZED_ARCHITECTURES = [
    *((name, FEW_PARAMETERS) for name in ALL_ARCHITECTURES[::10] if name not in SLOW),
    *(pytest.param(name, MAX_PARAMETERS, marks=pytest.mark.long) for name in ALL_ARCHITECTURES),
]


@pytest.mark.parametrize(("name", "max_parameters"), SIZED_ARCHITECTURES)
def test_untrained_architecture_returns_finite_logits_and_features(image, name, max_parameters):
    entry = {"backbone": name, "pretrained": False}
    if not name.startswith("torchvision/") and get_pretrained_cfg(name).num_classes == 0:
        assert "expected a number of classes" in refusal(entry)
        entry["labels"] = ["x", "y"]
    planned = plan(entry)
    # the meta device computes only shapes, which is sufficient for large networks
    device = "cpu" if planned.parameters <= max_parameters else "meta"
    with torch.device(device), torch.inference_mode():
        network = registry.build(planned, None)
        answer = network(torch.from_numpy(planned.transform(rgb(image))).to(device))
        features = dry_run(planned.embedding.network(network.to("meta")), planned.transform.input_size)
    assert answer.shape == (1, planned.num_classes)
    assert device == "meta" or answer.isfinite().all()
    assert features.ndim == 2
    assert features.shape[1] > 0


# --- regressions ---


def test_torchvision_vit_has_the_input_size_of_its_transform(image):
    planned = plan({"backbone": "torchvision/vit_b_16@IMAGENET1K_SWAG_E2E_V1", "pretrained": False})
    assert planned.transform.input_size == (384, 384)
    with torch.device("meta"):
        assert planned.make(None)(torch.empty(1, 3, 384, 384)).shape == (1, 1000)


def test_googlenet_checkpoint_matches_published_weights(fresh_cache, image, monkeypatch):
    chosen = models.GoogLeNet_Weights.DEFAULT
    torch_hub.agree(monkeypatch, cache_torchvision_weights(fresh_cache, "googlenet", chosen))
    file = fresh_cache / "torch" / "hub" / "checkpoints" / Path(chosen.url).name
    # these weights are random, so that their hash is not that in the name
    monkeypatch.setattr(files, "sha256_in_name", lambda url: checksums.sha256(file)[:8])
    published, own = load("torchvision/googlenet"), load({"backbone": "torchvision/googlenet", "checkpoint": str(file)})
    batch = torch.from_numpy(published.plan.transform(rgb(image)))
    torch.testing.assert_close(published.network(batch), own.network(batch))


def test_weights_in_a_folder_have_timms_order_of_preference(tmp_path):
    good, other = (timm_repo(seeded_timm(TINY, num_classes=count)) for count in (3, 5))
    write_folder(tmp_path / "pets", {**good, "ema.safetensors": other["model.safetensors"]})
    load("local-dir:pets", tmp_path)
    weights_of = {"best.safetensors": good["model.safetensors"], "model.safetensors": other["model.safetensors"]}
    write_folder(tmp_path / "mixed", {**good, **weights_of})
    assert "of another shape" in refusal("local-dir:mixed", tmp_path)


def test_backbone_for_other_images_than_rgb_or_grayscale_is_refused(hub, fresh_cache):
    hub.put("me/four", {"config.json": timm_config(model_args={"in_chans": 4})})
    assert "it takes 4 channels" in refusal("hf-hub:me/four")


def test_own_backbone_may_have_any_number_of_classes(tmp_path):
    write_folder(tmp_path / "pets", timm_repo(seeded_timm(TINY, num_classes=128)))
    assert plan("local-dir:pets", tmp_path).num_classes == 128


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "expected a state dict and nothing else; the file holds a list"),
        ({"net": {"a": torch.ones(1)}}, "its first key is a"),
        ({"epoch": 3}, "expected a state dict and nothing else; the file holds no tensors, but epoch"),
        (None, "m.pth: expected a state dict and nothing else; the file holds something else, or is truncated"),
    ],
)
def test_error_of_a_file_without_state_dict_shows_no_internals(tmp_path, content, message):
    if content is None:
        (tmp_path / "m.pth").write_text("hello")
    else:
        torch.save(content, tmp_path / "m.pth")
    text = refusal({"backbone": TINY, "checkpoint": "m.pth"}, tmp_path)
    assert message in text
    assert "object" not in text
    assert "Error" not in text


def test_too_long_path_does_not_exist(tmp_path):
    assert "does not exist" in refusal({"backbone": TINY, "checkpoint": "a" * 5000}, tmp_path)
    assert "does not exist" in refusal({"backbone": f"local-dir:{'a' * 5000}", "name": "x"}, tmp_path)


def test_torch_compiler_is_not_imported_but_stays_available():
    code = """
import sys
from lineup.registry import lean_imports
print("torch._dynamo" in sys.modules, "triton" in sys.modules, "timm" in sys.modules)
import torch
print(torch.compile(torch.nn.Linear(2, 2), backend="eager")(torch.ones(1, 2)).shape)
print(torch._dynamo.utils.is_compile_supported("cpu"))
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.stdout == "False False True\ntorch.Size([1, 2])\nTrue\n", ran.stderr


def test_libraries_that_need_more_of_the_compiler_are_imported_with_it(tmp_path):
    (tmp_path / "torchvision.py").write_text("from torch._dynamo.utils import is_compile_supported, counters\n")
    (tmp_path / "timm.py").touch()
    (tmp_path / "torch" / "_dynamo").mkdir(parents=True)  # a stand-in for torch, whose import takes seconds
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "torch" / "_dynamo" / "__init__.py").touch()
    compiler = "import collections\ncounters = collections.defaultdict(int)\ndef is_compile_supported(device): ...\n"
    (tmp_path / "torch" / "_dynamo" / "utils.py").write_text(compiler)
    code = """
from lineup.registry import lean_imports
import torchvision
print(torchvision.is_compile_supported.__module__, type(torchvision.counters).__name__)
"""
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert ran.stdout == "torch._dynamo.utils defaultdict\n", ran.stderr
    assert "need torch's compiler, which is imported too: cannot import name 'counters'" in ran.stderr
