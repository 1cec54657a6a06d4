"""A running pool: backbones that are added and removed, networks beside engines, and limits that change."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from waiting import until

from lineup.config import Entry
from lineup.engines import zerogpu
from lineup.errors import BackboneError, BusyError, ForwardTimeout, ImageError
from lineup.inference import memory_budget

TWO = "backbones: ['fake:a', 'fake:b']"
MB = 1 << 20


def entry(backbone):
    return Entry.model_validate(backbone)


def limit(service, **limits):
    """Replace limits of the current config."""
    service.config = service.config.model_copy(update={"limits": service.config.limits.model_copy(update=limits)})


# --- backbones ---


def test_added_backbone_answers_and_a_removed_one_is_unknown(make_service, fakes, image):
    service = make_service(TWO)
    service.add(entry("fake:c"))
    assert service.names == ["fake:a", "fake:b", "fake:c"]
    assert service.classify(image, "fake:c").predictions[0].label == "cat"
    assert service.timing("fake:c").runs == 1
    service.remove("fake:c")
    assert service.names == ["fake:a", "fake:b"]
    with pytest.raises(BackboneError, match="backbone: expected a name of the line-up; got 'fake:c'"):
        service.classify(image, "fake:c")
    assert service.problems() == []


def test_names_in_use_unknown_names_and_the_default_are_rejected(make_service, fakes):
    service = make_service(TWO)
    with pytest.raises(BackboneError, match="fake:b: expected a name that is not in use; there is one"):
        service.add(entry("fake:b"))
    with pytest.raises(BackboneError, match="got 'fake:c'"):
        service.remove("fake:c")
    with pytest.raises(BackboneError, match="fake:a: expected an entry that is not the default"):
        service.remove("fake:a")
    assert service.names == ["fake:a", "fake:b"]


def test_request_that_runs_finishes_on_a_removed_backbone(make_service, fakes, image):
    service, held = make_service(TWO), fakes.hold("answer b")
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(service.classify, image, "fake:b")
        until(lambda: service.status("fake:b").status == "ready")
        state = weakref.ref(service._pool._states.get("fake:b"))
        service.remove("fake:b")
        service.add(entry("fake:b"))
        assert state() in service._pool._states._removed  # its memory still counts
        held.set()
        assert answer.result(10).predictions[0].label == "cat"
    until(lambda: gc.collect() is not None and state() is None)
    assert service.classify(image, "fake:b").backbone == "fake:b"
    assert fakes.built == ["b", "b"]


def test_load_of_a_removed_backbone_is_dropped_when_it_ends(make_service, fakes):
    service, held = make_service(TWO), fakes.hold("build b")
    load = service.load("fake:b")
    until(lambda: fakes.built)
    service.remove("fake:b")
    assert len(service._pool._states._removed) == 1
    held.set()
    load.result(10)
    until(lambda: service._pool._states._removed == [])


def test_timeout_of_a_removed_backbone_leaves_others_alone(make_service, fakes, image):
    service, held = make_service(f"limits: {{forward_timeout_s: 0.2}}\n{TWO}"), fakes.hold("answer b")
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(service.classify, image, "fake:b")
        until(lambda: service.status("fake:b").status == "ready")
        service.remove("fake:b")
        with pytest.raises(ForwardTimeout):
            answer.result(10)
    limit(service, forward_timeout_s=30)
    assert service.classify(image, "fake:a")
    held.set()
    until(lambda: service._pool._states._removed == [])


def test_request_for_a_backbone_that_is_removed_while_it_loads_is_answered(make_service, fakes, image):
    service, held = make_service(TWO), fakes.hold("build b")
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(service.classify, image, "fake:b")
        until(lambda: service.status("fake:b").status == "loading")
        service.remove("fake:b")
        held.set()
        assert answer.result(30).backbone == "fake:b"


def test_backbone_added_on_zerogpu_runs_on_the_cpu(make_service, fakes, image, monkeypatch):
    calls = []

    def on_gpu_worker(function, duration_s):
        return lambda name, batch: calls.append(name) or function(name, batch)

    monkeypatch.setattr(zerogpu, "on_zerogpu", lambda: True)
    monkeypatch.setattr(zerogpu, "on_gpu_worker", on_gpu_worker)
    monkeypatch.setattr(torch.nn.Module, "to", lambda network, *args, **kwargs: network)  # there is no GPU
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, *args, **kwargs: tensor)
    service = make_service(f"engine: torch\n{TWO}")
    service.start()
    assert service.status("fake:a").status == "ready"
    service.add(entry("fake:c"))
    assert service.classify(image, "fake:c").device == "cpu"
    assert calls == []


# --- networks ---

REAL = "{name: %s, backbone: test_resnet, pretrained: false, input_size: 96}"


def real(*names, **limits):
    text = ", ".join(f"{key}: {value}" for key, value in limits.items())
    return f"limits: {{{text}}}\nbackbones: [{', '.join(REAL % name for name in names)}]"


def test_network_of_the_torch_engine_is_the_engines(make_service):
    service = make_service(f"engine: torch\n{real('a')}")
    with service.network("a") as network:
        assert network is service._pool.get("a").engine.network


@pytest.mark.openvino
def test_network_beside_openvino_has_its_logits_and_gradients(make_service):
    service = make_service(f"engine: openvino\nprecision: float32\n{real('a')}")
    batch = np.random.default_rng(0).standard_normal((1, 3, 96, 96), np.float32)
    engine = service._pool.get("a").engine
    with service.network("a") as network:
        images = torch.from_numpy(batch).requires_grad_()
        logits = network(images)
        logits.max().backward()
    assert engine.name == "openvino"
    np.testing.assert_allclose(logits.detach(), engine(batch), atol=1e-4)
    assert images.grad.abs().sum() > 0
    with service.network("a") as again:
        assert again is network
        assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.openvino
def test_network_is_freed_before_a_backbone_is_evicted_and_built_again(make_service, monkeypatch):
    monkeypatch.setattr(memory_budget, "_GRADIENT_BYTES", 64 * MB)
    service = make_service(f"engine: openvino\n{real('a', 'b', memory_mb=180)}")  # two engines, or one and a network
    with service.network("a") as network:
        kept = weakref.ref(network)
    del network
    service._pool.get("b")
    assert [status.status for status in service.backbones()] == ["ready", "ready"]
    until(lambda: gc.collect() is not None and kept() is None)
    service._pool._states.get("b").used_at = 0
    with service.network("a"):
        assert [status.status for status in service.backbones()] == ["ready", "idle"]


@pytest.mark.openvino
def test_network_in_use_is_not_freed(make_service, monkeypatch):
    monkeypatch.setattr(memory_budget, "_GRADIENT_BYTES", 64 * MB)
    monkeypatch.setattr(memory_budget, "MEMORY_TIMEOUT_S", 0.2)
    service = make_service(f"engine: openvino\n{real('a', 'b', memory_mb=180)}")
    with service.network("a"), pytest.raises(BusyError, match=r"b: expected .* MB for it"):
        service._pool.get("b")


@pytest.mark.openvino
def test_network_that_does_not_fit_beside_its_engine_is_an_error(make_service):
    service = make_service(f"engine: openvino\n{real('a', memory_mb=200)}")
    message = r"a: expected a backbone that fits into 200 MB; it needs about 3\d\d MB"
    with pytest.raises(BackboneError, match=message), service.network("a"):
        pass
    assert service.status("a").status == "ready"


# --- limits ---


def test_limits_of_the_current_config_apply_at_once(make_service, fakes, image):
    service, held = make_service(TWO), fakes.hold("answer a")
    service._pool.get("fake:a")
    limit(service, queue_size=1)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(service.classify, image)
        until(lambda: len(service._execution._queue) == 1)
        with pytest.raises(BusyError, match="1 requests are waiting already"):
            service.classify(image)
        held.set()
        answer.result(10)
    limit(service, max_upload_mb=0.001)
    with pytest.raises(ImageError, match=r"expected at most 0\.001 MB"):
        service.classify(image)
    limit(service, max_upload_mb=20, max_megapixels=0.01)
    with pytest.raises(ImageError, match=r"expected at most 0\.01 megapixels"):
        service.classify(image)


def test_forward_timeout_of_the_current_config_applies(make_service, fakes, image):
    service, held = make_service(TWO), fakes.hold("answer a")
    limit(service, forward_timeout_s=0.1)
    with pytest.raises(ForwardTimeout, match=r"fake:a: expected an answer within 0.1 s"):
        service.classify(image)
    held.set()


def test_memory_limit_of_the_current_config_applies_to_the_next_load(make_service, fakes):
    fakes.more["b"] = {"parameters": 100 * MB // 12}
    service = make_service(TWO)
    limit(service, memory_mb=100)
    with pytest.raises(BackboneError, match="fits into 100 MB; it needs about 163 MB"):
        service._pool.get("fake:b")
    limit(service, memory_mb=200)
    service.remove("fake:b")
    service.add(entry("fake:b"))
    assert service._pool.get("fake:b")


def test_concurrent_additions_and_removals_do_not_disturb_listing(make_service, fakes):
    service, stop = make_service(TWO), threading.Event()

    def change():
        while not stop.is_set():
            service.add(entry("fake:c"))
            service.remove("fake:c")

    with ThreadPoolExecutor(1) as threads:
        changing = threads.submit(change)
        try:
            for _ in range(2000):
                assert {status.name for status in service.backbones()} >= {"fake:a", "fake:b"}
        finally:
            stop.set()
        changing.result(10)
