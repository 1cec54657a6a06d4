"""Where forward passes run, and what they return."""

from contextlib import nullcontext

import numpy as np
import pytest
from drawing import draw

from lineup.engines import zerogpu
from lineup.features.evaluation.run import Evaluations
from lineup.images import image_set
from lineup.inference import batches

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


def test_images_of_a_job_share_calls_of_zerogpu(make_zerogpu_service, fakes, tmp_path):
    service = make_zerogpu_service(ONE)
    execution, sizes = service._execution, []
    on_gpu = execution._on_gpu
    execution._on_gpu = lambda name, batch: sizes.append(len(batch)) or on_gpu(name, batch)
    paths = [draw(tmp_path / f"{index}.png", seed=index, size=(40, 30)) for index in range(300)]
    with service.pinned("fake:a") as backbone:
        found = list(batches.compute(backbone, paths, nullcontext, slice_s=0.001))
    assert sizes == [256, 44]
    assert sum(len(batch.outputs) for batch in found) == 300
    assert not execution._outputs  # the results of a job are on disk


def test_gpu_is_requested_for_at_most_a_minute(make_zerogpu_service, fakes):
    execution = make_zerogpu_service(ONE)._execution
    one, many, most = (execution._duration_s("fake:a", np.empty((n, 1), np.float32)) for n in (1, 256, 10_000))
    assert one < many < most == 60


def test_evaluation_without_quota_fails_and_is_resumed(make_zerogpu_service, fakes, tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    service = make_zerogpu_service(ONE)
    for index in range(6):
        path = tmp_path / "images" / "cat" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path, seed=index, size=(40, 30))
    on_gpu, quota = service._execution._on_gpu, [1]

    def limited(name, batch):
        if not quota:
            raise RuntimeError("You have exceeded your GPU quota")
        quota.pop()
        return on_gpu(name, batch)

    monkeypatch.setattr(service._execution, "_on_gpu", limited)
    evaluations = Evaluations(service)
    evaluation = evaluations.create(image_set.collect(tmp_path / "images"), ["fake:a"])
    status = evaluations.run(evaluation)
    assert (status.state, status.done) == ("failed", 0)
    assert "expected a ZeroGPU worker; You have exceeded your GPU quota" in status.problem
    quota.extend([1, 1])
    assert (evaluations.run(evaluation).state, evaluations.status(evaluation).done) == ("done", 6)
