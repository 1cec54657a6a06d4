"""The choice of an engine, with fakes that are added to ENGINES as a fork adds its own."""

from pathlib import Path

import numpy as np
import pytest

from lineup import config
from lineup.config import yaml_source
from lineup.engines import choice, openvino_engine
from lineup.engines.engine import EngineType
from lineup.errors import BackboneError, ConfigError

LINE_UP = "backbones: ['fake:a']"


class Onnx:
    name = "onnx"
    hint = "f32"
    batch_memory_bytes = 0
    is_concurrent = False

    def prepare_batches(self):
        pass

    def __call__(self, batch):
        return np.float32([[0.0, 0.0, 9.0]] * len(batch))


def names(name, device, precision="auto"):
    preferred, interim = choice.choose(name, None, device, precision)
    return preferred.name, interim and interim.name


@pytest.mark.openvino
def test_openvino_is_preferred_on_a_cpu_and_torch_answers_meanwhile(monkeypatch):
    assert names("auto", "cpu") == ("openvino", "torch")
    assert names("openvino", "cpu") == ("openvino", None)
    assert names("torch", "cpu") == ("torch", None)
    assert names("auto", "cuda") == ("torch", None)
    monkeypatch.setattr(openvino_engine, "unavailable", lambda *_: "OpenVINO is not installed")
    assert names("auto", "cpu") == ("openvino", "torch")  # its build reports why the backbone stays on torch


@pytest.mark.openvino
def test_named_engine_that_cannot_run_here_is_an_error(monkeypatch):
    with pytest.raises(BackboneError, match="engine: expected an engine for cuda; got openvino; write `engine: auto`"):
        names("openvino", "cuda")
    monkeypatch.setattr(openvino_engine, "_computes_in_bfloat16", lambda core: False)
    with pytest.raises(BackboneError, match="expected openvino to run here; this CPU does not support bfloat16; write"):
        names("openvino", "cpu", "bfloat16")


def test_unknown_engine_is_a_config_error():
    settings = config.build(yaml_source.parse("engine: opnvino\nbackbones: [resnet18]", "config.yaml"), Path())
    with pytest.raises(ConfigError) as caught:
        choice.check(settings)
    assert caught.value.problems == (
        "config.yaml:1:1: engine: expected one of auto, openvino, torch; got 'opnvino'; did you mean 'openvino'?",
    )


def test_added_engine_answers_under_its_name(make_service, fakes, image, monkeypatch):
    monkeypatch.setitem(choice.ENGINES, "onnx", EngineType("onnx", build=lambda *_: Onnx(), converts=True))
    answer = make_service(f"engine: onnx\n{LINE_UP}").classify(image)
    assert (answer.engine, answer.predictions[0].label) == ("onnx", "owl")


def test_added_engine_without_conversion_answers_at_once(make_service, fakes, image, monkeypatch):
    onnx = EngineType("onnx", build=lambda *_: Onnx(), applies=lambda plan, device: plan.name == "fake:a")
    monkeypatch.setattr(choice, "ENGINES", {"onnx": onnx, **choice.ENGINES})
    service = make_service("backbones: ['fake:a', 'fake:b']")
    assert service.classify(image).engine == "onnx"
    assert service.classify(image, "fake:b").engine == "torch"


def test_added_engine_that_is_not_installed_is_skipped(make_service, fakes, image, monkeypatch):
    onnx = EngineType("onnx", build=lambda *_: Onnx(), unavailable=lambda precision: "it is not installed")
    monkeypatch.setattr(choice, "ENGINES", {"onnx": onnx, **choice.ENGINES})
    assert make_service(LINE_UP).classify(image).engine == "torch"
