"""Backbones that another process computes, at the place where a forward pass would run."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from drawing import draw
from remotes import FakeRemote
from waiting import until

from lineup.errors import (
    BackboneError,
    BusyError,
    ClientDisconnected,
    ForwardTimeout,
    ImageError,
    LineupError,
    UnreachableError,
)
from lineup.features.evaluation.run import Evaluations
from lineup.images import image_set
from lineup.images.image_bytes import ImageBytes
from lineup.inference import batches, pool
from lineup.inference.execution import LocalExecution
from lineup.inference.postprocessing import AnswerOptions

ONE = "engine: torch\nbackbones: ['fake:a']"
TWO = "engine: torch\nbackbones: ['fake:a', 'fake:b']"
FOUR = "engine: torch\nbackbones: ['fake:a', 'fake:b', 'fake:c', 'fake:d']"


@pytest.fixture
def remote(fakes):
    """Return the remote backbone of `fake:a`."""
    remote = FakeRemote()
    fakes.more["a"] = {"remote": remote.connect}
    yield remote
    if remote.held:
        remote.held.set()


# --- answers ---


@pytest.mark.parametrize("more", [{}, {"activation": "sigmoid"}, {"notes": ("a caveat",)}])
@pytest.mark.parametrize("options", [AnswerOptions(top_k=2), AnswerOptions(top_k=9), AnswerOptions(scores="none")])
def test_remote_answer_is_the_local_one(make_service, fakes, image, remote, more, options):
    fakes.more = {"a": {"remote": remote.connect, **more}, "b": more}
    answers = dict(make_service(TWO).answers(image, ["fake:a", "fake:b"], options.top_k, options=options))
    far, near = answers["fake:a"], answers["fake:b"]
    for name in ("predictions", "activation", "above_half", "margin", "notes", "input_size", "label_set", "license"):
        assert getattr(far, name) == getattr(near, name), name
    assert (far.backbone, far.engine, far.device) == ("fake:a", "there", "gpu")
    assert (far.milliseconds.decode, far.milliseconds.forward, far.min_side_px) == (1, 3, 448)
    assert fakes.built == ["b"]


def test_remote_backbone_gets_the_bytes_of_the_file(make_service, fakes, image, remote):
    remote.notes = ("an early note",)
    answer = make_service(ONE).classify(image)
    assert remote.images == [image.read_bytes()]
    assert answer.notes == ("an early note",)
    assert answer.model_input_jpeg == b"jpeg"
    assert make_service(ONE).classify(ImageBytes(image.read_bytes())).predictions == answer.predictions


def test_nothing_is_fetched_and_no_memory_is_used_here(make_service, fakes, image, remote):
    fakes.more["a"]["parameters"] = 10**12
    service = make_service(ONE)
    service.classify(image)
    status = service.status("fake:a")
    assert (status.status, status.engine) == ("ready", "far")
    assert service._pool._states.get("fake:a").total_bytes == 0
    assert service.timing("fake:a").last_ms == 3
    assert service.load("fake:a").result().path is None


def test_wrong_number_of_outputs_is_an_error(make_service, fakes, image, remote):
    remote.logits = (1.0, 2.0)
    with pytest.raises(BackboneError, match=r"logits of shape \(1, 3\), one per class; got shape \(1, 2\)"):
        make_service(ONE).classify(image)


def test_a_fork_decides_which_backbones_are_computed_elsewhere(make_service, fakes, image):
    config = make_service(TWO).config
    remote, asked = FakeRemote(), []

    def elsewhere(entry, plan):
        asked.append((entry.name, plan.output))
        return replace(plan, remote=remote.connect) if entry.name == "fake:a" else plan

    made = LocalExecution(lambda: config, elsewhere).pool
    assert made.get("fake:a").remote is remote
    assert made.get("fake:b").remote is None
    fakes.more["a"] = {"remote": FakeRemote().connect}
    assert LocalExecution(lambda: config, elsewhere).pool.get("fake:a").remote is not remote
    assert asked == [("fake:a", "classes"), ("fake:b", "classes")]


def test_network_of_a_remote_backbone_is_refused(make_service, fakes, remote):
    service = make_service(ONE)
    with pytest.raises(BackboneError, match="another process computes it"), service.network("fake:a"):
        pass
    with service.pinned("fake:a") as pinned, pytest.raises(BackboneError, match="another process computes it"):
        pinned.forward(np.zeros((1, 3, 8, 8), np.float32))


# --- errors ---


@pytest.mark.parametrize("kind", [BackboneError, BusyError, ForwardTimeout, UnreachableError])
def test_error_of_one_is_its_answer(make_service, fakes, image, remote, kind):
    remote.error = kind("far", "an answer", "it has none")
    service = make_service(TWO)
    answers = service.compare(image, ["fake:a", "fake:b"]).answers
    assert isinstance(answers["fake:a"], kind)
    assert "it has none" in str(answers["fake:a"])
    assert answers["fake:b"].predictions


def test_unexpected_error_is_an_answer_without_its_words_on_the_type(make_service, fakes, image, remote):
    remote.error = ValueError("strange")
    with pytest.raises(LineupError, match="fake:a: expected an answer; strange; see the log"):
        make_service(ONE).classify(image)


def test_image_that_cannot_be_read_there_has_its_name(make_service, fakes, image, remote):
    remote.error = ImageError("image", "a whole image", "it is cut off", "send it again")
    with pytest.raises(ImageError, match=r"shapes.jpg: expected a whole image; it is cut off"):
        make_service(ONE).classify(image)


def test_missing_or_large_files_are_not_sent(make_service, fakes, tmp_path, remote):
    service = make_service(f"limits: {{max_upload_mb: 1}}\n{ONE}")
    (tmp_path / "large.jpg").write_bytes(bytes(1_100_000))
    with pytest.raises(ImageError, match=r"large.jpg: expected at most 1 MB; got 1.1"):
        service.classify(tmp_path / "large.jpg")
    with pytest.raises(ImageError, match="there is no such file"):
        service.classify(tmp_path / "none.jpg")
    assert remote.images == []


def test_full_queue_of_a_remote_backbone_is_reported(make_service, fakes, image, remote):
    remote.held = threading.Event()
    service = make_service(f"limits: {{queue_size: 1}}\n{TWO}")
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(service.classify, image)
        until(lambda: remote.running)
        with pytest.raises(BusyError, match="1 requests are waiting already"):
            service.classify(image)
        assert service.classify(image, "fake:b").predictions  # whose queue is free
        remote.held.set()
        assert first.result(10).predictions


def test_cancelled_request_leaves_the_remote_backbone(make_service, fakes, image, remote):
    remote.held, cancelled = threading.Event(), threading.Event()
    service = make_service(ONE)
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(service.classify, image, cancelled=cancelled.is_set)
        until(lambda: remote.running)
        waiting = threads.submit(service.classify, image, cancelled=cancelled.is_set)
        cancelled.set()
        for request in (running, waiting):
            with pytest.raises(ClientDisconnected):
                request.result(10)
    assert len(remote.images) == 1
    remote.held.set()
    assert service.classify(image).predictions


def test_remote_backbone_that_is_gone_comes_back(make_service, fakes, image, remote, monkeypatch):
    service = make_service(TWO)
    assert service.classify(image).predictions
    remote.error = UnreachableError("far", "an answer", "it is gone")
    with pytest.raises(UnreachableError, match="fake:a: far: expected an answer; it is gone"):
        service.classify(image)
    status = service.status("fake:a")
    assert (status.status, status.reason) == ("unavailable", "fake:a: far: expected an answer; it is gone")
    remote.error, n_images = None, len(remote.images)
    with pytest.raises(UnreachableError, match="it is gone"):  # it is not asked again at once
        service.classify(image)
    assert len(remote.images) == n_images
    monkeypatch.setattr(pool, "RETRY_AFTER_S", 0)
    assert service.classify(image).predictions
    assert remote.connections == 2


def test_comparison_finds_a_remote_backbone_again(make_service, fakes, image, remote, monkeypatch):
    monkeypatch.setattr(pool, "RETRY_AFTER_S", 0)
    remote.connecting = UnreachableError("far", "a connection", "it is down")
    service = make_service(TWO)
    with pytest.raises(UnreachableError, match="it is down"):
        service.classify(image)
    assert service.comparable_all()[0] == ["fake:b"]
    remote.connecting = None
    assert service.comparable_all()[0] == ["fake:a", "fake:b"]
    assert service.compare(image).answers["fake:a"].predictions


def test_answer_that_is_late_does_not_break_a_new_connection(make_service, fakes, remote):
    service = make_service(ONE)
    pin, gone = service._pool.pin("fake:a"), UnreachableError("", "", "it is gone")
    old = pin.load.result()
    pin.gone(old, gone)
    new = service._pool._states.get("fake:a")
    new.load, new.failed_at = None, 0
    assert service._pool.get("fake:a") is not old
    pin.gone(old, gone)
    assert service.status("fake:a").status == "ready"


# --- several at the same time ---


def test_slow_remote_backbone_delays_no_local_one(make_service, fakes, image, remote):
    remote.held = threading.Event()
    service, found = make_service(FOUR), []
    for name, _ in service.answers(image, ["fake:a", "fake:b", "fake:c", "fake:d"]):
        found.append(name)
        if len(found) == 3:
            remote.held.set()
    assert sorted(found[:3]) == ["fake:b", "fake:c", "fake:d"]


def test_slow_local_backbone_delays_no_remote_one(make_service, fakes, image, remote):
    service = make_service(TWO)
    service.classify(image), service.classify(image, "fake:b")
    held, found = fakes.hold("answer b"), []
    for name, _ in service.answers(image, ["fake:b", "fake:a"]):
        found.append(name)
        held.set()
    assert found == ["fake:a", "fake:b"]


def test_remote_backbones_of_a_comparison_run_at_the_same_time(make_service, fakes, image):
    remotes, barrier = {name: FakeRemote() for name in "abc"}, threading.Barrier(3, timeout=20)
    for name, remote in remotes.items():
        remote.logits = lambda _: [barrier.wait() >= 0, 2.0, 1.0]
        fakes.more[name] = {"remote": remote.connect}
    answers = make_service(FOUR).compare(image).answers
    assert [answer.predictions[0].label for answer in answers.values()] == ["dog", "dog", "dog", "cat"]


def test_comparison_that_ends_early_cancels_what_runs(make_service, fakes, image, remote):
    remote.held = threading.Event()
    service = make_service(TWO)
    answers = service.answers(image, ["fake:a", "fake:b"])
    assert next(answers)[0] == "fake:b"
    assert remote.running
    answers.close()
    until(lambda: not remote.running)
    until(lambda: service._pool._states.get("fake:a").pins == 0)


# --- batches ---


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / "images" / ("cat", "dog")[index % 2] / f"{index}.png" for index in range(20)]
    for index, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path, seed=index, size=(40, 30))
    return paths


def by_content(images):
    """Return a function that gives each image the logits of its number."""
    numbers = {path.read_bytes(): index for index, path in enumerate(images)}
    return lambda image: [float(numbers[image]), 2.0, 1.0]


def test_batches_are_in_order_and_as_many_as_are_computed_at_once_are_sent(make_service, fakes, images, remote):
    remote.concurrency, number, barrier = 4, by_content(images), threading.Barrier(4, timeout=20)
    first = iter(range(4))
    remote.logits = lambda image: number(image) if next(first, None) is None or barrier.wait() >= 0 else []
    service = make_service(ONE)
    with service.pinned("fake:a") as pinned, service.turn():  # it takes no turn here
        found = list(batches.compute(pinned, images, nullcontext, slice_s=0.1))
    assert np.concatenate([batch.outputs for batch in found])[:, 0].tolist() == list(range(20))
    assert [batch.start for batch in found] == np.cumsum([0, *(len(batch.outputs) for batch in found)]).tolist()[:-1]
    assert remote.most == 4


def test_image_that_cannot_be_read_is_a_problem_of_its_own(make_service, fakes, images, remote):
    remote.logits = by_content(images)
    images.insert(1, images[0].with_name("none.png"))
    with make_service(ONE).pinned("fake:a") as pinned:
        found = list(batches.compute(pinned, images, nullcontext, slice_s=0.1))
    problems = {batch.start + row: error for batch in found for row, error in batch.problems.items()}
    outputs = np.concatenate([batch.outputs for batch in found])[:, 0]
    assert list(problems) == [1]
    assert np.isnan(outputs[1])
    assert outputs[[0, 2, 20]].tolist() == [0, 1, 19]


def test_cancelled_job_ends(make_service, fakes, images, remote):
    remote.held, cancelled = threading.Event(), threading.Event()
    with make_service(ONE).pinned("fake:a") as pinned, ThreadPoolExecutor(1) as threads:
        job = threads.submit(list, batches.compute(pinned, images, nullcontext, 0.1, cancelled.is_set))
        until(lambda: remote.running)
        cancelled.set()
        with pytest.raises(ClientDisconnected):
            job.result(10)


def test_requests_overtake_the_images_of_a_job(make_service, fakes, image, images, remote):
    remote.held = threading.Event()
    service = make_service(ONE)
    with service.pinned("fake:a") as pinned, ThreadPoolExecutor(2) as threads:
        job = threads.submit(list, batches.compute(pinned, images, nullcontext, 0.1))
        until(lambda: remote.running)
        request = threads.submit(service.classify, image)
        until(lambda: len(pinned._loaded.queue) == 1)
        remote.held.set()
        assert request.result(10).predictions
        assert len(job.result(10)) > 0
    assert remote.images[1] == image.read_bytes()


@pytest.mark.parametrize("fingerprint", ["", "f" * 64])
def test_evaluation_stores_outputs_with_the_fingerprint_of_the_remote_backbone(
    make_service, fakes, images, remote, tmp_path, monkeypatch, fingerprint
):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    remote.logits, remote.fingerprint = by_content(images), fingerprint
    evaluations = Evaluations(make_service(ONE))
    for _ in range(2):
        evaluation = evaluations.create(image_set.collect(tmp_path / "images"), ["fake:a"])
        assert evaluations.run(evaluation).state == "done"
    computed = [image for image in remote.images if image != images[0].read_bytes()]  # that is timed, too
    assert len(computed) == (19 if fingerprint else 38)


def test_outputs_are_not_stored_once_the_remote_backbone_has_changed(
    make_service, fakes, images, remote, tmp_path, monkeypatch
):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    number = by_content(images)

    def changed(image):
        remote.fingerprint = "b" * 64
        return number(image)

    remote.fingerprint, remote.logits = "a" * 64, number
    evaluations = Evaluations(make_service(ONE))
    evaluation = evaluations.create(image_set.collect(tmp_path / "images"), ["fake:a"])
    with evaluations.service.pinned("fake:a") as pinned:
        monkeypatch.setattr(pinned.__class__, "latency_ms", lambda *_: None)
        remote.logits = changed
        evaluations.run(evaluation)
        for fingerprint in ("a" * 64, "b" * 64):
            stored = evaluations._store.get_many([image.sha256 for image in pictures(tmp_path)], fingerprint, "logits")
            assert stored == {}


def pictures(tmp_path):
    return image_set.collect(tmp_path / "images").images


# --- features ---


def test_features_come_from_the_remote_backbone(make_service, fakes, image, remote):
    remote.logits = (1.0, 2.0, 3.0, 4.0)
    fakes.more["a"]["embedding"] = SimpleNamespace(dim=4, is_normalized=False)
    service = make_service(ONE)
    with service.pinned("fake:a", "features") as pinned, service.turn():
        output = pinned.output(image, service.turn)
        assert pinned.outputs([image, image]).shape == (2, 4)
        assert (pinned.engine, pinned.path, pinned.plan.output) == ("far f32", None, "features")
    assert output.logits.tolist() == [[1, 2, 3, 4]]
    assert (output.engine, output.forward_ms) == ("there", 3)


def test_output_of_a_local_backbone_takes_a_turn(make_service, fakes, image):
    service, turns = make_service(ONE), []
    with service.pinned("fake:a") as pinned:
        output = pinned.output(image, lambda: turns.append(1) or nullcontext())
    assert output.logits.tolist() == [[3, 2, 1]]
    assert turns == [1]
