"""Where forward passes run, and what they return."""

import pytest

from lineup.engines import zerogpu

ONE = "engine: torch\nbackbones: ['fake:a']"


@pytest.fixture
def make_zerogpu_service(make_service, monkeypatch):
    """Return a factory of services whose ZeroGPU worker is this process, and its GPU the CPU."""

    def make(text):
        service = make_service(text)
        service._pool._loader._choose_device = lambda device: "cpu"
        service.start()
        return service

    monkeypatch.setattr(zerogpu, "on_zerogpu", lambda: True)
    monkeypatch.setattr(zerogpu, "on_gpu_worker", lambda function, duration_s: function)
    return make


def test_cached_output_of_zerogpu_is_not_a_measurement(make_zerogpu_service, fakes, image):
    service = make_zerogpu_service(ONE)
    first, second = service.classify(image), service.classify(image)
    assert second.predictions == first.predictions
    assert second.milliseconds.forward == first.milliseconds.forward > 0
    assert service.timing("fake:a").runs == 1


def test_forward_passes_in_this_process_are_all_measured(make_service, fakes, image):
    service = make_service(ONE)
    for _ in range(2):
        assert service.classify(image).milliseconds.forward > 0
    assert service.timing("fake:a").runs == 2
