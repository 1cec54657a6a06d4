import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from test_pool import until

from lineup import pool
from lineup.errors import BackboneError, BusyError, LineupError, PictureError
from lineup.service import softmax

TWO = "backbones: ['fake:a', 'fake:b']"


def started(service):
    service.start()
    assert service.started.wait(30)
    assert service.looked.wait(30)
    return service


# --- answers ---


def test_an_answer_is_the_softmax_most_probable_first(make_service, fakes, picture):
    fakes.logits["a"] = [0.0, 2.0, 1.0]
    answer = make_service(TWO).classify(picture)
    assert [prediction.label for prediction in answer.predictions] == ["dog", "owl", "cat"]
    assert [prediction.class_index for prediction in answer.predictions] == [1, 2, 0]
    expected = np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum()
    assert [prediction.probability for prediction in answer.predictions] == pytest.approx(expected)
    assert answer.seen.size == (8, 8)


def test_large_logits_do_not_overflow():
    assert softmax(np.float32([[1e4, 0.0], [0.0, 0.0]])).tolist() == [[1, 0], [0.5, 0.5]]


def test_the_answer_as_json_is_what_the_contract_says(make_service, fakes, picture):
    answer = make_service(TWO).classify(picture, top_k=1).to_json()
    assert set(answer.pop("milliseconds")) == {"decode", "preprocess", "forward"}
    assert answer.pop("predictions") == [
        {"class_index": 0, "id": None, "label": "cat", "probability": pytest.approx(0.66524, abs=1e-5)}
    ]
    assert answer == {"backbone": "fake:a", "input_size": [8, 8], "engine": "torch", "notes": []}


def test_two_classes_of_one_name_stay_two(make_service, fakes, picture):
    fakes.names = ("crane", "owl", "crane")
    labels = [prediction.label for prediction in make_service(TWO).classify(picture).predictions]
    assert labels == ["crane (class 0)", "owl", "crane (class 2)"]


def test_the_named_backbone_answers_and_the_default_when_none_is_named(make_service, fakes, picture):
    service = make_service(f"default: fake:b\n{TWO}")
    assert service.classify(picture).backbone == "fake:b"
    assert service.classify(picture, "fake:a").backbone == "fake:a"
    assert service.classify(picture, backbone=None, top_k=None).backbone == "fake:b"


def test_an_answer_is_never_another_backbones(make_service, fakes, picture):
    names = [f"fake:{target}" for target in "abc"]
    fakes.logits = {target: np.eye(3)[index].tolist() for index, target in enumerate("abc")}
    service = make_service(f"backbones: {names}")

    def ask(index: int) -> tuple[str, int]:
        answer = service.classify(picture, names[index % 3])
        return answer.backbone, answer.predictions[0].class_index

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(60)))
    assert answers == [(names[index % 3], index % 3) for index in range(60)]


def test_a_backbone_that_cannot_run_is_not_stood_in_for(make_service, fakes, picture):
    fakes.errors["a"] = BackboneError("it is broken")
    service = started(make_service(TWO))
    assert service.preselected == "fake:b"
    for named in (None, "fake:a"):
        with pytest.raises(BackboneError, match="fake:a: it is broken"):
            service.classify(picture, named)
    assert service.classify(picture, "fake:b").backbone == "fake:b"


# --- what is asked ---


@pytest.mark.parametrize(("top_k", "labels"), [(None, 2), (1, 1), (3, 3), (2.0, 2)])
def test_top_k_says_how_many(make_service, fakes, picture, top_k, labels):
    answer = make_service(f"top_k: 2\n{TWO}").classify(picture, top_k=top_k)
    assert len(answer.predictions) == labels
    assert answer.notes == ()


@pytest.mark.parametrize("top_k", [0, -1, True, False, 2.5, "3", float("nan"), float("inf"), [3], {}])
def test_a_top_k_that_is_no_count_is_refused(make_service, fakes, picture, top_k):
    with pytest.raises(LineupError, match="top_k: expected a whole number from 1; got"):
        make_service(TWO).classify(picture, top_k=top_k)
    assert fakes.built == []  # before anything is loaded for it


@pytest.mark.parametrize("top_k", [4, 10**12])
def test_a_top_k_above_the_number_of_classes_gives_all_and_says_so(make_service, fakes, picture, top_k):
    answer = make_service(TWO).classify(picture, top_k=top_k)
    assert len(answer.predictions) == 3
    assert answer.notes == (f"top_k {top_k} is more than there are classes: all 3 are listed",)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fake:aa", "expected a name of the line-up; got 'fake:aa'; did you mean 'fake:a'?"),
        ("", "use one of: fake:a, fake:b"),
        (["fake:a"], "expected one name of the line-up; got"),
        (0, "expected one name of the line-up; got 0"),
    ],
)
def test_a_backbone_that_is_not_in_the_lineup_is_refused(make_service, fakes, picture, name, told):
    with pytest.raises(BackboneError) as caught:
        make_service(TWO).classify(picture, name)
    assert told in str(caught.value)


def test_what_is_no_picture_is_refused(make_service, fakes, picture, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "cut.jpg").write_bytes(picture.read_bytes()[:4000])
    Image.new("1", (2000, 1000)).save(tmp_path / "large.png")
    service = make_service(f"limits: {{max_megapixels: 1}}\n{TWO}")
    for name, told in {
        "none.jpg": "there is no such file",
        "text.jpg": "not one that can be read",
        "cut.jpg": "damaged or cut off",
        "large.png": "expected at most 1 megapixels",
    }.items():
        with pytest.raises(PictureError, match=told):
            service.classify(tmp_path / name)
    assert service.classify(picture)


# --- what goes wrong inside ---


@pytest.mark.parametrize("logits", [[1.0, float("nan"), 0.0], [float("inf"), 0.0, 0.0], [1.0, 2.0], [1.0] * 4])
def test_numbers_that_are_no_answer_are_an_error(make_service, fakes, picture, logits):
    fakes.logits["a"] = logits
    with pytest.raises(BackboneError, match=r"fake:a: expected (3|finite) numbers"):
        make_service(TWO).classify(picture)


def test_too_many_at_once_are_told_so_and_the_rest_are_served(make_service, fakes, picture):
    service, held = make_service(f"limits: {{queue_size: 2}}\n{TWO}"), fakes.hold("answer a")
    service.pool.get("fake:a")
    refused = threading.Event()

    def ask(_: int) -> str:
        try:
            return service.classify(picture).backbone
        except BusyError as error:
            refused.set()
            return str(error)

    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(ask, index) for index in range(3)]
        assert refused.wait(10)
        held.set()
        busy, *served = sorted(answer.result() for answer in answers)
        assert busy == "busy: 2 visitors are waiting already; try again in some seconds"
        assert served == ["fake:a", "fake:a"]
    assert service.classify(picture)  # nobody is counted as waiting any more


def test_a_failed_answer_gives_its_turn_back(make_service, fakes, picture, tmp_path):
    service = make_service(f"limits: {{queue_size: 1}}\n{TWO}")
    for _ in range(3):
        with pytest.raises(PictureError):
            service.classify(tmp_path / "none.jpg")
    assert service.classify(picture)


# --- the start ---


def test_the_start_loads_the_default_only(make_service, fakes):
    service = started(make_service(f"default: fake:b\n{TWO}"))
    assert (service.preselected, service.default_problem) == ("fake:b", "")
    assert fakes.built == ["b"]
    assert [status.status for status in service.backbones()] == ["idle", "ready"]
    assert [status.num_classes for status in service.backbones()] == [3, 3]  # known of all


def test_nothing_is_loaded_before_the_start(make_service, fakes):
    service = make_service(TWO)
    assert (service.preselected, service.started.is_set(), fakes.built) == ("fake:a", False, [])


def test_the_page_opens_with_the_first_that_runs_when_the_default_cannot(make_service, fakes):
    fakes.errors = {"a": BackboneError("it is broken"), "b": BackboneError("so is this")}
    names = ["resnet19", "fake:a", "fake:b", "fake:c", "fake:d"]
    service = started(make_service(f"default: fake:a\nbackbones: {names}"))
    assert service.preselected == "fake:c"
    assert service.default_problem == "fake:a: it is broken"
    assert [status.status for status in service.backbones()] == ["unavailable"] * 3 + ["ready", "idle"]
    assert fakes.built == ["a", "b", "c"]


def test_the_start_ends_when_nothing_runs_at_all(make_service, fakes):
    fakes.errors = {"a": BackboneError("it is broken"), "b": BackboneError("so is this")}
    service = started(make_service(TWO))
    assert service.preselected == "fake:a"
    assert service.default_problem == "fake:a: it is broken"


def test_the_default_is_ready_before_the_others_are_looked_at(make_service, fakes, hub):
    hub.faults["me/slow"] = "hung"
    service = make_service("limits: {hub_timeout_s: 5}\nbackbones: ['fake:a', 'hf-hub:me/slow']")
    service.start()
    assert service.started.wait(4)
    until(lambda: hub.requests)
    assert not service.looked.is_set()
    assert service.preselected == "fake:a"
    hub.resume.set()
    assert service.looked.wait(10)


def test_problems_name_their_place_in_the_config(make_service, fakes):
    service = started(make_service("backbones:\n  - fake:a\n  - resnet19\nexamples:\n  - none.jpg\n"))
    entry, example = service.problems()
    assert entry.startswith("config.yaml:3:5: backbones[1]: resnet19: expected a name that timm knows")
    assert example.startswith("config.yaml:5:5: examples[0]: expected a p")


def test_a_hub_that_was_gone_at_the_start_is_used_when_it_is_back(
    make_service, publish, hub, fresh_cache, picture, monkeypatch
):
    monkeypatch.setattr(pool, "RETRY_AFTER_S", 0)
    publish("test_vit.r160_in1k")
    service = make_service("backbones: [test_vit]")
    with hub.gone():
        started(service)
        assert "cannot be reached" in service.default_problem
        assert service.notes()[0].startswith("config.yaml:1:13: backbones[0]: test_vit: timm/test_vit.r160_in1k/")
        assert service.problems() == []
    assert service.classify(picture).label_set == "ImageNet-1k"
    assert service.default_problem == ""


def test_what_a_visitor_should_know_is_noted(make_service, picture):
    service = make_service("backbones: [{backbone: test_vit, pretrained: false}]")
    assert service.classify(picture).notes == (
        "untrained: the weights are random, so the answers mean nothing",
        "the classes of these weights have no names here, only numbers",
    )
