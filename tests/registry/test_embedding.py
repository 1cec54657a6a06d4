"""Features of every kind of backbone, compared with what the libraries themselves compute before the head."""

import pytest
import timm
import torch
from hub import timm_repo
from networks import seeded_timm
from planning import plan, write_folder
from torchvision import models

from lineup import registry
from lineup.errors import BackboneError
from lineup.hub import downloads

TINY = "test_resnet"
HEADLESS = "convnextv2_atto.fcmae"
CLIP = "fastvit_mci0.apple_mclip"


def load(planned):
    return registry.build(planned, downloads.fetch(planned.weights, 30) if planned.weights else None)


def outputs(network, size=64):
    with torch.inference_mode():
        return network.eval()(torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)))


def timms_own(network):
    """Return a function of a batch: what timm documents for the features before the head."""
    return lambda batch: network.forward_head(network.forward_features(batch), pre_logits=True)


def of_timm(network, size=64):
    network.eval()
    with torch.inference_mode():
        return timms_own(network)(torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)))


def input_of(layer, network, size):
    """Return what a layer of a network gets, averaged over the positions of a feature map."""
    got = []
    layer.register_forward_pre_hook(lambda module, arguments: got.append(arguments[0]))
    outputs(network, size)
    [features] = got
    return features.mean((2, 3)) if features.ndim == 4 else features


def assert_features(network, planned, expected, size=64):
    features = outputs(network, size)
    assert planned.output == "features"
    assert features.shape == (2, planned.embedding_dim)
    scale = expected.std()  # activations of random weights nearly vanish in some networks
    assert not torch.allclose(expected[0] / scale, expected[1] / scale, atol=1e-4)  # equal images would prove nothing
    torch.testing.assert_close(features / scale, expected / scale)


@pytest.mark.parametrize(
    "name", ["test_resnet.r160_in1k", "mobilenetv3_small_100.lamb_in1k", "test_convnext.r160_in1k"]
)
def test_features_of_a_timm_backbone_are_timms_own(publish, hub, name):
    publish(name)
    planned = plan(name)
    assert (planned.output, planned.num_classes) == ("classes", 1000)
    assert planned.embedding_dim == planned.features().embedding_dim
    assert_features(load(planned.features()), planned.features(), of_timm(timm.create_model(name, pretrained=True)))


TORCHVISION = {  # a model of each family with another head, and an input size that it accepts
    "alexnet": 96,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "maxvit_t": 224,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_1": 64,
    "swin_t": 64,
    "vgg11": 64,
    "vit_b_32": 224,
}
HEADS = {"squeezenet1_1": "classifier.1", "vit_b_32": "heads.head", "densenet121": "classifier", "swin_t": "head"}


def head_of(network, name):
    """Return the head by its place, which torchvision documents in its fine-tuning tutorial."""
    if name in HEADS:
        return network.get_submodule(HEADS[name])
    return network.fc if hasattr(network, "fc") else network.classifier[-1]


@pytest.mark.parametrize(("name", "size"), TORCHVISION.items(), ids=TORCHVISION)
def test_features_of_a_torchvision_backbone_are_the_input_of_its_head(name, size):
    planned = plan({"backbone": f"torchvision/{name}", "pretrained": False})
    network = registry.build(planned, None)
    expected = input_of(head_of(network, name), network, size)
    assert_features(planned.embedding.network(network), planned.features(), expected, size)


def test_every_family_of_torchvision_is_covered():
    module = {name: models.get_model_builder(name).__module__ for name in models.list_models(module=models)}
    assert {module[name] for name in TORCHVISION} == set(module.values())


def test_features_of_a_users_own_weights_are_those_before_their_head(hub, fresh_cache, tmp_path):
    network = seeded_timm(TINY, num_classes=3)
    files, expected = timm_repo(network, label_names=["x", "y", "z"]), of_timm(network)
    write_folder(tmp_path / "pets", files)
    hub.put("me/pets", files)
    checkpoint = {"backbone": TINY, "checkpoint": "pets/model.safetensors"}
    for value in ("local-dir:pets", "hf-hub:me/pets", checkpoint):
        planned = plan(value, tmp_path)
        assert planned.num_classes == 3
        assert_features(load(planned.features()), planned.features(), expected)


def test_features_of_a_users_torchvision_checkpoint_are_those_before_its_head(tmp_path):
    network = models.shufflenet_v2_x0_5(num_classes=24)  # as many as an inner layer has outputs
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    planned = plan({"backbone": "torchvision/shufflenet_v2_x0_5", "checkpoint": "mine.pth"}, tmp_path).features()
    assert_features(load(planned), planned, input_of(network.fc, network, 64))


def test_backbone_without_a_head_has_features_and_is_no_classifier(publish, hub):
    publish(HEADLESS)
    planned = plan(HEADLESS, output="features")
    assert planned.features() is planned
    assert (planned.num_classes, planned.embedding_dim, planned.parameters) == (0, 320, 3_387_400)
    assert_features(load(planned), planned, of_timm(timm.create_model(HEADLESS, pretrained=True)))
    with pytest.raises(BackboneError, match="it has no classification head, and returns only features; choose"):
        plan(HEADLESS)


def test_features_of_a_contrastive_model_are_its_embedding(tmp_path):
    network = seeded_timm(CLIP)
    write_folder(tmp_path / "clip", timm_repo(network))
    planned = plan("local-dir:clip", tmp_path, output="features")
    assert (planned.num_classes, planned.embedding_dim) == (0, 512)
    assert_features(load(planned), planned, outputs(network))
    with pytest.raises(BackboneError, match="its output is an embedding of 512 numbers, not classes; choose"):
        plan("local-dir:clip", tmp_path)


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("vit_base_patch14_dinov2.lvd142m", 768),
        ("vit_base_patch16_clip_224.openai", 512),
        ("resnet50_clip.openai", 1024),
        ("vit_base_patch16_siglip_224.webli", 768),
        ({"backbone": "vit_small_patch16_dinov3", "pretrained": False}, 384),
    ],
)
def test_plan_of_features_needs_no_weights(hub, name, dim):
    planned = plan(name, output="features")
    assert (planned.output, planned.embedding_dim) == ("features", dim)
    assert hub.requests == []


def test_untrained_backbone_without_a_default_head_has_features_or_the_classes_of_its_labels():
    value = {"backbone": HEADLESS.partition(".")[0], "pretrained": False}
    assert plan(value).num_classes == 1000  # its default tag has a head
    value["backbone"] = "vit_small_patch16_dinov3"
    with pytest.raises(BackboneError, match="has no default; add `labels`"):
        plan(value)
    classifier = plan({**value, "labels": ["x", "y"]})
    assert (classifier.num_classes, classifier.features().embedding_dim) == (2, 384)


def test_output_that_is_no_vector_is_an_error_when_features_are_asked_for():
    with pytest.raises(BackboneError, match="expected a backbone that returns one vector of features per image; its"):
        plan({"backbone": "qwen3_vit_88m_enc", "pretrained": False}, output="features")


def test_source_without_features_says_so(fakes):
    planned = plan("fake:a")
    with pytest.raises(BackboneError, match="fake:a: expected a backbone that returns features; fake gives only clas"):
        planned.features()
    with pytest.raises(BackboneError, match="fake:a: expected a backbone that returns features"):
        plan("fake:a", output="features")


def test_source_that_gives_only_features_is_no_classifier(fakes):
    fakes.more["a"] = {"output": "features"}
    with pytest.raises(BackboneError, match="fake:a: expected a backbone that classifies; it returns only features"):
        plan("fake:a")


def test_features_are_the_same_after_an_eviction_and_a_reload():
    planned = plan({"backbone": TINY, "pretrained": False})
    first, second = (outputs(registry.build(planned.features(), None)) for _ in range(2))
    assert torch.equal(first, second)
    assert outputs(registry.build(planned, None)).shape == (2, 1000)  # the plan itself is unchanged
