"""Batches of any size on torch and on OpenVINO, which must give what single images give."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from networks import network_of, noise
from planning import plan
from waiting import until

from lineup import registry
from lineup.engines import openvino_cache, openvino_engine
from lineup.engines.engine import softmax
from lineup.engines.openvino_engine import OpenVINOEngine
from lineup.engines.torch_engine import TorchEngine

pytestmark = pytest.mark.openvino

SIZE = (96, 96)


@pytest.fixture(scope="module")
def engine():
    return converted(network_of("test_resnet"))


def converted(network, size=SIZE):
    return OpenVINOEngine(openvino_engine.convert(network, size), "float32", 2)


def one_by_one(engine, batch):
    return np.concatenate([engine(batch[index : index + 1].copy()) for index in range(len(batch))])


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "torchvision/squeezenet1_1"])
def test_features_of_a_batch_are_those_of_single_images(name):
    planned = plan({"backbone": name, "pretrained": False, "input_size": 160}).features()
    network = registry.build(planned, None)
    for engine in (TorchEngine(network, "cpu"), converted(network, (160, 160))):
        batch = noise((160, 160), count=3)
        features = engine(batch.copy())
        assert features.shape == (3, planned.embedding_dim)
        assert features.std(axis=0).max() > 1e-4  # equal features of all images would prove nothing
        np.testing.assert_allclose(features, one_by_one(engine, batch), atol=1e-4 * np.abs(features).max())


def test_graph_for_batches_is_compiled_once_and_at_first_use(monkeypatch):
    hints, compile_with = [], OpenVINOEngine._compile

    def compile_and_note(engine, hint):
        hints.append(hint)
        return compile_with(engine, hint)

    monkeypatch.setattr(OpenVINOEngine, "_compile", compile_and_note)
    engine = converted(network_of("test_resnet"))
    engine(noise(SIZE))
    assert hints == ["LATENCY"]
    for count in (2, 1, 5):
        engine(noise(SIZE, count))
    assert hints == ["LATENCY", "THROUGHPUT"]


def test_memory_of_batches_is_known_before_the_first_one():
    network = network_of("test_resnet")
    engine, weights = converted(network), 4 * sum(each.numel() for each in network.parameters())
    assert engine.batch_memory_bytes == pytest.approx(weights + 2 * openvino_engine.REQUEST_BYTES, rel=0.01)
    assert TorchEngine(network, "cpu").batch_memory_bytes == 0


def test_batches_and_single_images_of_many_threads_are_not_mixed_up(engine):
    images = noise(SIZE, count=24)
    expected, start = one_by_one(engine, images), threading.Barrier(6)

    def ask(thread):
        start.wait(30)
        counts = [1, 2, 3, 7, 1, 24] if thread % 2 else [5, 1, 8, 2, 16]
        return [(count, engine(images[:count].copy())) for count in counts]

    with ThreadPoolExecutor(6) as threads:
        for count, logits in (pair for pairs in threads.map(ask, range(6)) for pair in pairs):
            np.testing.assert_allclose(logits, expected[:count], atol=1e-5)


def test_batch_may_be_read_only_strided_or_of_another_type(engine):
    images = noise(SIZE, count=3)
    expected, frozen = one_by_one(engine, images), images.copy()
    frozen.setflags(write=False)
    for batch in (frozen, np.asfortranarray(images), images.astype(np.float64)):
        np.testing.assert_allclose(engine(batch), expected, atol=1e-5)


def test_engine_keeps_no_batch_and_frees_its_graphs():
    engine, batch = converted(network_of("test_resnet")), noise(SIZE, count=4)
    engine(batch)
    kept = [weakref.ref(batch), weakref.ref(engine), weakref.ref(engine._batches)]
    del batch
    gc.collect()
    assert kept[0]() is None
    del engine
    gc.collect()
    assert [each() for each in kept] == [None] * 3


def test_engine_from_a_file_needs_the_file_no_more(tmp_path):
    network, batch = network_of("test_resnet"), noise(SIZE, count=3)
    openvino_engine.save(openvino_engine.convert(network, SIZE), tmp_path / "model.xml")
    engine = OpenVINOEngine(tmp_path / "model.xml", "float32", 1)
    for file in tmp_path.iterdir():
        file.unlink()
    np.testing.assert_allclose(softmax(engine(batch)), softmax(TorchEngine(network, "cpu")(batch)), atol=1e-5)


def test_converted_classes_and_features_have_different_cache_keys(tmp_path):
    torch.save(network_of("test_resnet").state_dict(), tmp_path / "mine.pth")
    planned = plan({"backbone": "test_resnet", "checkpoint": "mine.pth"}, tmp_path)
    keys = {openvino_cache._key(each, planned.weights.path, "float32") for each in (planned, planned.features())}
    assert len(keys - {""}) == 2


def test_images_of_several_threads_are_computed_at_the_same_time_once_there_is_a_graph_for_it(monkeypatch):
    engine, image = converted(network_of("test_resnet")), noise(SIZE)
    expected = engine(image.copy())
    assert not engine.is_concurrent
    engine.prepare_batches()
    assert engine.is_concurrent
    both, one = threading.Barrier(2, timeout=10), engine._batches.one
    latency = engine._request

    class Meeting:  # the graph with the least latency, which waits until the other graph computes, too
        def infer(self, *arguments, **options):
            both.wait()
            return latency.infer(*arguments, **options)

    engine._request = Meeting()
    monkeypatch.setattr(engine._batches, "one", lambda image: (both.wait(), one(image))[1])
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(engine, image.copy())
        until(lambda: both.n_waiting == 1)
        second = threads.submit(engine, image.copy())
        for each in (first, second):
            np.testing.assert_allclose(each.result(10), expected, atol=1e-4 * np.abs(expected).max())
