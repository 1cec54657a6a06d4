from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import until

CONFIG = """
engine: openvino
precision: float32
backbones:
- {name: a, backbone: test_resnet, pretrained: false, input_size: 96}
- {name: b, backbone: test_vit, pretrained: false}
"""
pytestmark = pytest.mark.openvino


def ask_while_others_wait(service, image):
    """Classify an image while another request waits for its turn."""
    with ThreadPoolExecutor(2) as threads:
        with service.turn():
            waiting = [threads.submit(service.classify, image, "a") for _ in range(2)]
            until(lambda: len(service._execution._queue) == 3)
        return [each.result(30) for each in waiting]


def test_requests_that_wait_begin_the_graph_with_which_the_next_ones_compute_at_the_same_time(make_service, image):
    service = make_service(CONFIG)
    alone = service.classify(image, "a")
    state = service._pool._states.get("a")
    assert not service._pool.get("a").engine.is_concurrent
    assert state.batch_bytes == 0
    ask_while_others_wait(service, image)
    until(lambda: service._pool.get("a").engine.is_concurrent)
    until(lambda: state.pins == 0)
    assert state.batch_bytes == service._pool.get("a").engine.batch_memory_bytes > 0
    for answer in ask_while_others_wait(service, image):
        assert answer.predictions[0].probability == pytest.approx(alone.predictions[0].probability, abs=1e-4)


def test_no_backbone_is_evicted_for_a_graph(make_service, image):
    service = make_service(CONFIG)
    for name in "ab":
        service.classify(image, name)
    used_mb = sum(state.total_bytes for state in service._pool._states.all()) / 2**20
    limits = service.config.limits.model_copy(update={"memory_mb": int(used_mb) + 1})
    service.config = service.config.model_copy(update={"limits": limits})
    ask_while_others_wait(service, image)
    state = service._pool._states.get("a")
    until(lambda: state.pins == 0)
    assert state.batch_bytes == 0
    assert not service._pool.get("a").engine.is_concurrent
    assert service.status("b").status == "ready"
