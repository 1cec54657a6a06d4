"""Evaluations: what is computed, kept, resumed, and reported when a backbone fails."""

import errno
import shutil
import threading

import numpy as np
import pytest
from drawing import draw
from waiting import until

from lineup.errors import BackboneError, LineupError
from lineup.features.evaluation import reading, recording
from lineup.features.evaluation.run import Evaluations
from lineup.images import image_set
from lineup.inference import batches

SEEDED = "precision: float32\nengine: torch\nbackbones: [{name: a, backbone: test_resnet.r160_in1k, input_size: 64}]"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """Six images of two labels."""
    for index in range(6):
        path = tmp_path / "images" / ("cat" if index % 2 else "dog") / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path, seed=index)
    return tmp_path / "images"


def ran(service, folder, names):
    evaluations = Evaluations(service)
    evaluation = evaluations.create(image_set.collect(folder), names)
    return evaluations, evaluation, evaluations.run(evaluation)


def test_logits_are_those_of_single_answers(make_service, publish, hub, fresh_cache, folder):
    publish("test_resnet.r160_in1k")
    service = make_service(f"top_k: 1000\n{SEEDED}")
    evaluations, evaluation, status = ran(service, folder, ["a"])
    assert (status.state, status.done, status.total) == ("done", 6, 6)
    [backbone] = reading.report(evaluations, evaluation).backbones
    for index, path in enumerate(sorted(folder.rglob("*.jpg"))):
        answer = service.classify(path)
        assert [each.class_index for each in answer.predictions[:5]] == backbone.scores.top[index].tolist()
        expected = [each.probability for each in answer.predictions[:5]]
        assert backbone.scores.probabilities[index] == pytest.approx(expected, abs=1e-5)
    assert backbone.cost.forward_ms > 0
    assert backbone.cost.size_mb > 0


def test_second_evaluation_computes_only_what_is_new(make_service, publish, hub, fresh_cache, folder, monkeypatch):
    publish("test_resnet.r160_in1k")
    service = make_service(SEEDED)
    first = ran(service, folder, ["a"])
    draw(folder / "dog" / "new.jpg", seed=99)
    computed = []
    monkeypatch.setattr(batches, "compute", spy(batches.compute, computed))
    second = ran(service, folder, ["a"])
    assert [len(images) for images in computed] == [1]
    old, new = (reading.report(*each[:2]).backbones[0] for each in (first, second))
    assert new.is_answered.all()
    np.testing.assert_array_equal(old.scores.top, new.scores.top[:-1])


def spy(function, calls):
    def called(backbone, images, *arguments):
        calls.append(images)
        return function(backbone, images, *arguments)

    return called


def test_cancelled_evaluation_is_resumed_where_it_stopped(make_service, fakes, folder):
    service, held = make_service("backbones: ['fake:a', 'fake:b']"), fakes.hold("answer b")
    evaluations = Evaluations(service)
    evaluation = evaluations.create(image_set.collect(folder), ["fake:a", "fake:b"])
    thread = evaluations.start(evaluation)
    until(lambda: evaluations.status(evaluation).done == 6)
    evaluations.cancel(evaluation)
    held.set()
    thread.join(10)
    assert evaluations.status(evaluation).state == "cancelled"
    assert evaluations.run(evaluation).done == 12
    assert all(backbone.is_answered.all() for backbone in reading.report(evaluations, evaluation).backbones)


def test_rows_that_were_not_recorded_are_computed_again(make_service, fakes, folder):
    service = make_service("backbones: ['fake:a']")
    evaluations, evaluation, _ = ran(service, folder, ["fake:a"])
    expected = reading.report(evaluations, evaluation).backbones[0].scores
    job = evaluations.folder(evaluation)
    lines = (job / "results.jsonl").read_bytes().splitlines(keepends=True)
    (job / "results.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:5])  # killed while it wrote
    assert evaluations.run(evaluation).done == 6
    np.testing.assert_array_equal(reading.report(evaluations, evaluation).backbones[0].scores.top, expected.top)
    assert (job / "logits-0.f32").stat().st_size == 6 * 3 * 4


def test_backbone_that_fails_leaves_the_others_to_finish(make_service, fakes, folder):
    fakes.errors["b"] = BackboneError("b", "to load", "its file is damaged", "download it again")
    service = make_service("backbones: ['fake:a', 'fake:b', 'fake:c']")
    evaluations, evaluation, status = ran(service, folder, ["fake:a", "fake:b", "fake:c"])
    assert (status.state, status.done) == ("done", 18)
    report = reading.report(evaluations, evaluation)
    assert [backbone.name for backbone in report.backbones] == ["fake:a", "fake:c"]
    assert "its file is damaged" in report.left_out["fake:b"]


def test_backbone_that_fails_halfway_keeps_its_answers(make_service, fakes, folder, monkeypatch):
    service, count = make_service("backbones: ['fake:a', 'fake:b']"), [0]
    from lineup.inference.pinned_backbone import PinnedBackbone

    forward = PinnedBackbone.forward

    def failing(self, batch):
        count[0] += self.name == "fake:a"
        if self.name == "fake:a" and count[0] > 8:
            raise BackboneError("fake:a", "an answer", "out of memory", "use a smaller one")
        return forward(self, batch)

    monkeypatch.setattr(PinnedBackbone, "forward", failing)
    evaluations, evaluation, status = ran(service, folder, ["fake:a", "fake:b"])
    assert (status.state, status.done) == ("done", 12)
    first, second = reading.report(evaluations, evaluation).backbones
    assert 0 < first.is_answered.sum() < 6
    assert set(first.problems.values()) == {"fake:a: expected an answer; out of memory; use a smaller one"}
    assert second.is_answered.all()


def test_backbone_that_crashes_is_its_own_problem(make_service, fakes, folder, monkeypatch):
    service = make_service("backbones: ['fake:a', 'fake:b']")
    forward = service._execution.forward

    def crashing(name, engine, batch):
        if name == "fake:a":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(name, engine, batch)

    monkeypatch.setattr(service._execution, "forward", crashing)
    evaluations, evaluation, status = ran(service, folder, ["fake:a", "fake:b"])
    assert (status.state, status.done) == ("done", 12)
    report = reading.report(evaluations, evaluation)
    assert "can't allocate memory" in report.left_out["fake:a"]
    assert report.backbones[0].is_answered.all()


def test_image_that_cannot_be_decoded_is_a_problem_of_its_own(make_service, fakes, folder):
    whole = draw(folder / "dog" / "cut.jpg", seed=50)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    evaluations, evaluation, status = ran(make_service("backbones: ['fake:a']"), folder, ["fake:a"])
    assert (status.state, status.done) == ("done", 7)
    report = reading.report(evaluations, evaluation)
    [(index, problem)] = report.backbones[0].problems.items()
    assert report.images.images[index].name == "dog/cut.jpg"
    assert problem.startswith("dog/cut.jpg: expected a whole image; it is damaged or cut off")
    assert any(f"such as {problem}" in note for note in report.notes)


def test_full_disk_ends_the_evaluation_with_a_sentence(make_service, fakes, folder, monkeypatch):
    def full(self, logits):
        raise LineupError("evaluation", "its answers on disk", "writing failed (No space left on device)", "free some")

    monkeypatch.setattr(recording.LogitsWriter, "append", full)
    _, _, status = ran(make_service("backbones: ['fake:a']"), folder, ["fake:a"])
    assert status.state == "failed"
    assert "No space left" in status.problem


def test_multi_label_backbone_is_left_out_with_a_sentence(make_service, fakes, folder):
    fakes.more["b"] = {"activation": "sigmoid"}
    evaluations, evaluation, _ = ran(make_service("backbones: ['fake:a', 'fake:b']"), folder, ["fake:a", "fake:b"])
    report = reading.report(evaluations, evaluation)
    assert list(report.left_out) == ["fake:b"]
    assert "no single right answer" in report.left_out["fake:b"]


def test_requests_are_answered_while_an_evaluation_runs(make_service, fakes, folder, image):
    service = make_service("backbones: ['fake:a', 'fake:b']")
    for index in range(6, 40):
        draw(folder / "dog" / f"{index}.jpg", seed=index)
    evaluations = Evaluations(service)
    evaluation = evaluations.create(image_set.collect(folder), ["fake:a"])
    answers = []
    asking = threading.Thread(target=lambda: answers.extend(service.classify(image, "fake:b") for _ in range(5)))
    thread = evaluations.start(evaluation)
    asking.start()
    asking.join(20)
    thread.join(20)
    assert len(answers) == 5
    assert evaluations.status(evaluation).state == "done"


def test_names_are_checked_before_anything_is_created(make_service, fakes, folder, tmp_path):
    with pytest.raises(BackboneError, match="a name of the line-up"):
        Evaluations(make_service("backbones: ['fake:a']")).create(image_set.collect(folder), ["nope"])
    assert not (tmp_path / "cache").exists()


def test_evaluation_that_cannot_be_written_leaves_nothing(make_service, fakes, folder, tmp_path, monkeypatch):
    def full(self, folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(image_set.ImageSet, "write", full)
    with pytest.raises(LineupError, match=r"writing failed \(No space left on device\); free some space"):
        Evaluations(make_service("backbones: ['fake:a']"), tmp_path / "jobs").create(
            image_set.collect(folder), ["fake:a"]
        )
    assert list((tmp_path / "jobs").iterdir()) == []


def test_deleted_evaluation_leaves_nothing(make_service, fakes, folder):
    evaluations, evaluation, _ = ran(make_service("backbones: ['fake:a']"), folder, ["fake:a"])
    job = evaluations.folder(evaluation)
    evaluations.delete(evaluation)
    assert not job.exists()
    shutil.rmtree(folder)
    with pytest.raises(LineupError):
        evaluations.status(evaluation)
