"""The torch engine, and OpenVINO, which must give the same probabilities or is rejected."""

import logging
import threading

import numpy as np
import pytest
import torch
from networks import network_of, noise

from lineup.engines import openvino_engine
from lineup.engines.engine import softmax
from lineup.engines.openvino_engine import OpenVINOEngine
from lineup.engines.torch_engine import TorchEngine
from lineup.errors import BackboneError

pytestmark = pytest.mark.openvino

FAMILIES = {  # a small architecture of each kind, and an input size that it accepts
    "test_resnet": (96, 96),
    "test_vit": (160, 160),
    "test_efficientnet": (96, 128),
    "test_convnext": (96, 96),
    "test_nfnet": (96, 96),
    "test_byobnet": (96, 96),
    "test_mambaout": (96, 96),
    "tf_efficientnetv2_b0": (96, 96),
    "swin_tiny_patch4_window7_224": (224, 224),
    "torchvision/squeezenet1_1": (96, 96),
    "torchvision/shufflenet_v2_x0_5": (96, 96),
}
MORE_FAMILIES = {  # of the same operations: other transformers, and other networks of inverted residuals
    "mobilenetv3_small_050": (96, 96),
    "repvit_m0_9": (64, 64),
    "xcit_nano_12_p16_224": (224, 224),
    "levit_128s": (224, 224),
    "torchvision/mnasnet0_5": (96, 96),
}
ALL_FAMILIES = [*FAMILIES, *(pytest.param(name, marks=pytest.mark.long) for name in MORE_FAMILIES)]
SETTINGS = {"precision": "float32", "threads": 1}


@pytest.fixture(scope="module", params=ALL_FAMILIES)
def both(request):
    """Return the engines of a family, on torch and on OpenVINO, and its input size."""
    network, size = network_of(request.param), {**FAMILIES, **MORE_FAMILIES}[request.param]
    return TorchEngine(network, "cpu"), OpenVINOEngine(openvino_engine.convert(network, size), **SETTINGS), size


def test_converted_network_gives_the_same_probabilities_as_torch(both):
    plain, converted, size = both
    batch = noise(size, count=2)
    expected = plain(batch.copy())
    assert expected.std() > 1e-3  # equal logits for all classes would prove nothing
    np.testing.assert_allclose(softmax(converted(batch)), softmax(expected), atol=1e-4)
    assert converted(batch).shape == expected.shape


def test_batch_gives_the_same_probabilities_as_single_images(both):
    *engines, size = both
    counts = (1, 2, 5, 8) if size < (224, 224) else (1, 3)  # a large network takes too long on a busy core
    images = noise(size, max(counts))
    for engine in engines:
        single = softmax(np.concatenate([engine(images[index : index + 1].copy()) for index in range(len(images))]))
        assert np.abs(np.diff(single, axis=0)).max(axis=1).min() > 2e-5  # equal images would prove nothing
        for count in counts:
            np.testing.assert_allclose(softmax(engine(images[:count].copy())), single[:count], atol=1e-5)


class Airy(torch.nn.Module):
    """A network with an operation that OpenVINO does not support."""

    def forward(self, batch):
        return torch.special.airy_ai(batch.mean(dim=(2, 3)))


def test_failed_conversion_reports_the_reason():
    with pytest.raises(BackboneError, match=r"OpenVINO cannot convert it .*airy_ai"):
        openvino_engine.convert(Airy(), (32, 32))


def test_failed_conversion_restores_the_logging_configuration(caplog):
    root = logging.getLogger()
    before = root.level, root.filters[:]
    with pytest.raises(BackboneError):
        openvino_engine.convert(Airy(), (32, 32))
    assert (root.level, root.filters) == before


def test_conversion_with_different_logits_is_rejected():
    one, other = network_of("test_resnet"), network_of("test_resnet")
    with torch.no_grad():
        other.fc.bias[0] += 0.1
    model = openvino_engine.convert(other, (96, 96))
    with pytest.raises(BackboneError, match=r"its logits differ from torch's by 0\.1"):
        openvino_engine.compile_checked(model, TorchEngine(one, "cpu"), (96, 96), **SETTINGS)
    assert openvino_engine.compile_checked(model, TorchEngine(other, "cpu"), (96, 96), **SETTINGS).name == "openvino"


def test_conversion_with_nan_logits_is_rejected():
    network = network_of("test_resnet")
    with torch.no_grad():
        network.fc.bias[0] = float("nan")
    with pytest.raises(BackboneError, match="its logits differ from torch's by"):
        openvino_engine.compile_checked(
            openvino_engine.convert(network, (96, 96)), TorchEngine(network, "cpu"), (96, 96), **SETTINGS
        )


def test_network_answers_unchanged_during_and_after_its_conversion():
    network = network_of("test_vit")
    engine, batch = TorchEngine(network, "cpu"), noise((160, 160))
    expected, answers, stop = engine(batch.copy()), [], threading.Event()

    def answer_until_stopped():
        while not stop.is_set():
            answers.append(engine(batch.copy()))

    thread = threading.Thread(target=answer_until_stopped)
    thread.start()
    openvino_engine.convert(network, (160, 160))
    stop.set()
    thread.join(30)
    assert len(answers) > 1
    for logits in (*answers, engine(batch.copy())):
        np.testing.assert_array_equal(logits, expected)


def test_precision_selects_bfloat16_or_float32():
    network, batch = network_of("test_resnet"), noise((96, 96), count=4)
    exact = TorchEngine(network, "cpu", "float32")(batch.copy())
    assert np.array_equal(TorchEngine(network, "cpu", "auto")(batch.copy()), exact)  # on a CPU torch stays exact
    rounded = TorchEngine(network, "cpu", "bfloat16")(batch.copy())
    assert 1e-4 < np.abs(rounded - exact).max() < 0.5
    assert rounded.dtype == np.float32
    model = openvino_engine.convert(network, (96, 96))
    assert OpenVINOEngine(model, "float32", 1).hint == "f32"


def test_bfloat16_requires_a_cpu_that_supports_it(monkeypatch):
    model = openvino_engine.convert(network_of("test_resnet"), (96, 96))
    capabilities = ["FP32", "INT8"]
    monkeypatch.setattr("openvino.Core.get_property", lambda self, device, name: capabilities)
    assert openvino_engine.unavailable("bfloat16") == "this CPU does not support bfloat16"
    assert openvino_engine.unavailable("auto") == openvino_engine.unavailable("float32") == ""
    assert OpenVINOEngine(model, "auto", 1).hint == "f32"
    capabilities.append("BF16")
    assert openvino_engine.unavailable("bfloat16") == ""
    assert OpenVINOEngine(model, "auto", 1).hint == OpenVINOEngine(model, "bfloat16", 1).hint == "bf16"
    assert OpenVINOEngine(model, "float32", 1).hint == "f32"


def test_openvino_is_imported_without_telemetry():
    import sys

    openvino_engine._openvino()
    assert sys.modules["openvino_telemetry"] is None


def test_softmax_is_stable_for_large_logits():
    probabilities = softmax(np.array([[1000.0, 999.0, -1000.0], [0.0, 0.0, 0.0]], np.float32))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities[0], [0.7310586, 0.2689414, 0], atol=1e-6)
