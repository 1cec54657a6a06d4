"""Batches of images, for features that evaluate folders or train heads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawing import draw
from waiting import until

from lineup.errors import BackboneError, BusyError, ClientDisconnected, ImageError
from lineup.inference import memory_budget, pool

MB = 1 << 20
ENTRY = "{name: %s, backbone: test_resnet, pretrained: false, input_size: 96}"
REAL = f"precision: float32\nbackbones: [{ENTRY % 'a'}]"


@pytest.fixture
def images(tmp_path):
    return [draw(tmp_path / f"{index}.jpg", seed=index) for index in range(5)]


@pytest.mark.parametrize("engine", ["torch", pytest.param("openvino", marks=pytest.mark.openvino)])
def test_batch_of_files_equals_single_answers(make_service, images, engine):
    service = make_service(f"engine: {engine}\ntop_k: 1000\n{REAL}")
    with service.pinned("a") as backbone, service.turn():
        logits = backbone.outputs(images)
    assert logits.shape == (5, 1000)
    assert logits.dtype == np.float32
    probabilities = torch.from_numpy(logits).softmax(1)
    for row, image in zip(probabilities, images, strict=True):
        for prediction in service.classify(image).predictions:
            assert row[prediction.class_index].item() == pytest.approx(prediction.probability, abs=1e-5)


def test_features_are_those_before_the_classification_layer(make_service, images):
    service = make_service(f"engine: torch\n{REAL}")
    with service.pinned("a", "features") as features, service.pinned("a") as classes, service.network("a") as network:
        embedded, logits = features.outputs(images), classes.outputs(images)
        assert features.plan.embedding_dim == embedded.shape[1]
        with torch.inference_mode():
            expected = network.get_classifier()(torch.from_numpy(embedded)).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_load_that_nobody_waits_for_any_more_is_left(make_service, fakes, monkeypatch):
    monkeypatch.setattr(pool, "POLL_S", 0.01)
    service, held, gone = make_service("backbones: ['fake:a']"), fakes.hold("build a"), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(service.pinned, "fake:a", "classes", gone.is_set)
        until(lambda: fakes.built)
        assert not waiting.done()
        gone.set()
        with pytest.raises(ClientDisconnected):
            waiting.result(30)
    assert service._pool._states.get("fake:a").pins == 0
    held.set()
    assert service._pool._states.get("fake:a").settled.wait(30)
    with service.pinned("fake:a", cancelled=lambda: True):  # there is nothing to wait for
        assert service.status("fake:a").status == "ready"


def test_features_are_loaded_beside_the_classes_and_not_listed(make_service, images):
    service = make_service(f"engine: torch\n{REAL}")
    with service.pinned("a", "features"):
        assert [status.status for status in service.backbones()] == ["idle"]
        assert service.names == ["a"]


def test_pinned_backbone_is_not_evicted(make_service, images, monkeypatch):
    monkeypatch.setattr(memory_budget, "MEMORY_TIMEOUT_S", 0.1)
    service = make_service(f"limits: {{memory_mb: 100}}\nengine: torch\nbackbones: [{ENTRY % 'a'}, {ENTRY % 'b'}]")
    with service.pinned("a", "features"), pytest.raises(BusyError):
        service._pool.get("b")
    monkeypatch.undo()
    service.remove("b")
    service.add(service.config.backbones[1])
    assert service._pool.get("b")


@pytest.mark.openvino
def test_memory_of_the_graph_for_batches_counts(make_service, images):
    service = make_service(f"engine: openvino\n{REAL}")
    with service.pinned("a") as backbone:
        backbone.outputs(images[:1])
        state = service._pool._states.get("a")
        assert state.batch_bytes == 0
        backbone.outputs(images)
        assert state.batch_bytes == service._pool.get("a").engine.batch_memory_bytes > 0
    service.config = service.config.model_copy(
        update={"limits": service.config.limits.model_copy(update={"memory_mb": 70})}
    )
    state.batch_bytes = 0
    with service.pinned("a") as backbone, pytest.raises(BackboneError, match="fits into 70 MB"):
        backbone.outputs(images)


@pytest.mark.openvino
def test_pinned_backbone_that_was_removed_still_computes_batches(make_service, images):
    service = make_service(f"engine: openvino\nbackbones: [{ENTRY % 'a'}, {ENTRY % 'b'}]")
    with service.pinned("b") as backbone:
        service.remove("b")
        assert backbone.outputs(images).shape == (5, 1000)


def test_unreadable_image_is_an_error_that_names_it(make_service, fakes, images, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with (
        make_service("backbones: ['fake:a']").pinned("fake:a") as backbone,
        pytest.raises(ImageError, match=r"broken\.jpg"),
    ):
        backbone.outputs([images[0], tmp_path / "broken.jpg"])


def test_backbone_that_cannot_be_loaded_is_not_pinned(make_service, fakes):
    fakes.errors["a"] = BackboneError("", "", "no such thing")
    service = make_service("backbones: ['fake:a']")
    with pytest.raises(BackboneError, match="no such thing"):
        service.pinned("fake:a")
    assert service._pool._states.get("fake:a").pins == 0


def test_fingerprint_differs_between_outputs_and_is_empty_without_weights(make_service):
    service = make_service(
        "engine: torch\nbackbones: [{name: a, backbone: 'local-dir:bundled/efficientnet_lite0'}, "
        "{name: b, backbone: test_resnet, pretrained: false}]",
        __import__("serving").ROOT,
    )
    with service.pinned("a") as classes, service.pinned("a", "features") as features, service.pinned("b") as random:
        assert len({classes.fingerprint, features.fingerprint, ""}) == 3
        assert random.fingerprint == ""


def test_answer_has_the_fingerprint_of_the_backbone_that_gave_it(make_service, images):
    service = make_service(
        "engine: torch\nbackbones: [{name: a, backbone: 'local-dir:bundled/efficientnet_lite0'}, "
        "{name: b, backbone: test_resnet, pretrained: false}]",
        __import__("serving").ROOT,
    )
    compared = service.compare(images[0], ["a", "b"]).answers
    with service.pinned("a") as pinned:
        assert (
            service.fingerprint(compared["a"]) == service.fingerprint(service.classify(images[0])) == pinned.fingerprint
        )
    assert service.fingerprint(compared["b"]) == ""
    assert service.fingerprint(replace(compared["a"], engine="of another process")) == ""


def test_a_request_overtakes_the_slices_of_a_job(make_service, fakes, images, image):
    service, order = make_service("backbones: ['fake:a']"), []
    service._pool.get("fake:a")

    def job(backbone):
        for index in range(3):
            with service.background_turn():
                order.append(f"slice {index}")
                backbone.outputs([image])
                if index == 0:
                    began.set()
                    until(lambda: len(service._execution._queue) == 1)  # the request waits

    began = threading.Event()
    with service.pinned("fake:a") as backbone, ThreadPoolExecutor(1) as threads:
        running = threads.submit(job, backbone)
        assert began.wait(10)
        service.classify(image)
        order.append("request")
        running.result(10)
    assert order.index("request") <= 2
