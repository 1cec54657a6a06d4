"""Engines: torch as it is, and OpenVINO, which must give the same numbers or stay away."""

import logging
import threading

import numpy as np
import pytest
import torch
from networks import scale_head, seeded_timm
from torchvision import models

from lineup.engines import openvino_engine
from lineup.engines.engine import softmax
from lineup.engines.openvino_engine import OpenVINOEngine
from lineup.engines.torch_engine import TorchEngine
from lineup.errors import BackboneError

pytestmark = pytest.mark.openvino

FAMILIES = {  # one architecture of each family, small, at a size that it takes
    "test_resnet": (96, 96),
    "test_vit": (160, 160),
    "test_efficientnet": (96, 128),
    "test_convnext": (96, 96),
    "test_nfnet": (96, 96),
    "test_byobnet": (96, 96),
    "test_mambaout": (96, 96),
    "mobilenetv3_small_050": (96, 96),
    "repvit_m0_9": (64, 64),
    "tf_efficientnetv2_b0": (96, 96),
    "swin_tiny_patch4_window7_224": (224, 224),
    "xcit_nano_12_p16_224": (224, 224),
    "levit_128s": (224, 224),
    "torchvision/squeezenet1_1": (96, 96),
    "torchvision/shufflenet_v2_x0_5": (96, 96),
    "torchvision/mnasnet0_5": (96, 96),
}
HERE = {"precision": "float32", "threads": 1}


def network_of(name):
    if name.startswith("torchvision/"):
        torch.manual_seed(0)
        return scale_head(models.get_model(name.partition("/")[2], weights=None))
    return seeded_timm(name)


def noise(size, count=1, seed=1):
    return np.random.default_rng(seed).standard_normal((count, 3, *size), np.float32)


@pytest.mark.parametrize(("name", "size"), FAMILIES.items(), ids=FAMILIES)
def test_a_converted_network_gives_the_probabilities_that_torch_gives(name, size):
    network = network_of(name)
    plain = TorchEngine(network, "cpu")
    converted = OpenVINOEngine(openvino_engine.convert(network, size), **HERE)
    batch = noise(size, count=2)
    wanted = plain(batch.copy())
    assert wanted.std() > 1e-3  # an answer that is the same for every class would prove nothing
    np.testing.assert_allclose(softmax(converted(batch)), softmax(wanted), atol=1e-4)
    assert converted(batch).shape == wanted.shape


class Airy(torch.nn.Module):
    """Has an operation that OpenVINO does not know."""

    def forward(self, batch):
        return torch.special.airy_ai(batch.mean(dim=(2, 3)))


def test_what_cannot_be_converted_says_why():
    with pytest.raises(BackboneError, match=r"OpenVINO cannot convert it .*airy_ai"):
        openvino_engine.convert(Airy(), (32, 32))


def test_a_failed_conversion_leaves_the_log_as_it_was(caplog):
    root = logging.getLogger()
    before = root.level, root.filters[:]
    with pytest.raises(BackboneError):
        openvino_engine.convert(Airy(), (32, 32))
    assert (root.level, root.filters) == before


def test_a_conversion_that_gives_other_numbers_is_refused():
    one, other = network_of("test_resnet"), network_of("test_resnet")
    with torch.no_grad():
        other.fc.bias[0] += 0.1
    model = openvino_engine.convert(other, (96, 96))
    with pytest.raises(BackboneError, match=r"its logits differ from torch's by 0\.1"):
        openvino_engine.compile_checked(model, TorchEngine(one, "cpu"), (96, 96), **HERE)
    assert openvino_engine.compile_checked(model, TorchEngine(other, "cpu"), (96, 96), **HERE).name == "openvino"


def test_numbers_that_are_none_are_refused():
    network = network_of("test_resnet")
    with torch.no_grad():
        network.fc.bias[0] = float("nan")
    with pytest.raises(BackboneError, match="its logits differ from torch's by"):
        openvino_engine.compile_checked(
            openvino_engine.convert(network, (96, 96)), TorchEngine(network, "cpu"), (96, 96), **HERE
        )


def test_a_network_answers_while_it_is_converted_and_is_the_same_afterwards():
    network = network_of("test_vit")
    answering, batch = TorchEngine(network, "cpu"), noise((160, 160))
    wanted, found, stop = answering(batch.copy()), [], threading.Event()

    def ask():
        while not stop.is_set():
            found.append(answering(batch.copy()))

    asking = threading.Thread(target=ask)
    asking.start()
    openvino_engine.convert(network, (160, 160))
    stop.set()
    asking.join(30)
    assert len(found) > 1
    for each in (*found, answering(batch.copy())):
        np.testing.assert_array_equal(each, wanted)


def test_bfloat16_is_used_where_it_is_wished_and_float32_turns_it_off():
    network, batch = network_of("test_resnet"), noise((96, 96), count=4)
    exact = TorchEngine(network, "cpu", "float32")(batch.copy())
    assert np.array_equal(TorchEngine(network, "cpu", "auto")(batch.copy()), exact)  # on a CPU torch stays exact
    rounded = TorchEngine(network, "cpu", "bfloat16")(batch.copy())
    assert 1e-4 < np.abs(rounded - exact).max() < 0.5
    assert rounded.dtype == np.float32
    model = openvino_engine.convert(network, (96, 96))
    assert OpenVINOEngine(model, "float32", 1).hint == "f32"


def test_bfloat16_is_for_processors_that_compute_in_it(monkeypatch):
    model = openvino_engine.convert(network_of("test_resnet"), (96, 96))
    abilities = ["FP32", "INT8"]
    monkeypatch.setattr("openvino.Core.get_property", lambda self, device, name: abilities)
    assert openvino_engine.unavailable("bfloat16") == "this CPU does not support bfloat16"
    assert openvino_engine.unavailable("auto") == openvino_engine.unavailable("float32") == ""
    assert OpenVINOEngine(model, "auto", 1).hint == "f32"
    abilities.append("BF16")
    assert openvino_engine.unavailable("bfloat16") == ""
    assert OpenVINOEngine(model, "auto", 1).hint == OpenVINOEngine(model, "bfloat16", 1).hint == "bf16"
    assert OpenVINOEngine(model, "float32", 1).hint == "f32"


def test_nothing_is_reported_to_anybody_when_openvino_is_imported():
    import sys

    openvino_engine._openvino()
    assert sys.modules["openvino_telemetry"] is None


def test_softmax_gives_probabilities_however_large_the_logits():
    found = softmax(np.array([[1000.0, 999.0, -1000.0], [0.0, 0.0, 0.0]], np.float32))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found[0], [0.7310586, 0.2689414, 0], atol=1e-6)
