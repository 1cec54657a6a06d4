import statistics
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from waiting import until

from lineup.engines.engine import softmax
from lineup.errors import BackboneError, BusyError, ImageError, LineupError
from lineup.hub.files import HubFile
from lineup.images.reading import open_image
from lineup.inference import pool, preprocessing
from lineup.registry import Transform

TWO = "backbones: ['fake:a', 'fake:b']"
THREE = "backbones: ['fake:a', 'fake:b', 'fake:c']"
FOUR = "backbones: ['fake:a', 'fake:b', 'fake:c', 'fake:d']"


def started(service):
    service.start()
    assert service.opened.wait(30)
    assert service.probed.wait(30)
    return service


# --- answers ---


def test_an_answer_is_the_softmax_most_probable_first(make_service, fakes, image):
    fakes.logits["a"] = [0.0, 2.0, 1.0]
    answer = make_service(TWO).classify(image)
    assert [prediction.label for prediction in answer.predictions] == ["dog", "owl", "cat"]
    assert [prediction.class_index for prediction in answer.predictions] == [1, 2, 0]
    expected = np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum()
    assert [prediction.probability for prediction in answer.predictions] == pytest.approx(expected)
    assert Image.open(BytesIO(answer.model_input_jpeg)).size == (8, 8)


def test_large_logits_do_not_overflow():
    assert softmax(np.float32([[1e4, 0.0], [0.0, 0.0]])).tolist() == [[1, 0], [0.5, 0.5]]


def test_the_answer_as_json_is_what_the_contract_says(make_service, fakes, image):
    answer = make_service(TWO).classify(image, top_k=1).to_json()
    assert set(answer.pop("milliseconds")) == {"decode", "preprocess", "forward"}
    assert answer.pop("predictions") == [
        {"class_index": 0, "id": None, "label": "cat", "probability": pytest.approx(0.66524, abs=1e-5)}
    ]
    assert answer == {"backbone": "fake:a", "input_size": [8, 8], "engine": "torch", "notes": []}


def test_two_classes_of_one_name_stay_two(make_service, fakes, image):
    fakes.names = ("crane", "owl", "crane")
    labels = [prediction.label for prediction in make_service(TWO).classify(image).predictions]
    assert labels == ["crane (class 0)", "owl", "crane (class 2)"]


def test_the_named_backbone_answers_and_the_default_when_none_is_named(make_service, fakes, image):
    service = make_service(f"default: fake:b\n{TWO}")
    assert service.classify(image).backbone == "fake:b"
    assert service.classify(image, "fake:a").backbone == "fake:a"
    assert service.classify(image, backbone=None, top_k=None).backbone == "fake:b"


def test_an_answer_is_never_another_backbones(make_service, fakes, image):
    names = [f"fake:{target}" for target in "abc"]
    fakes.logits = {target: np.eye(3)[index].tolist() for index, target in enumerate("abc")}
    service = make_service(f"backbones: {names}")

    def ask(index: int) -> tuple[str, int]:
        answer = service.classify(image, names[index % 3])
        return answer.backbone, answer.predictions[0].class_index

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(60)))
    assert answers == [(names[index % 3], index % 3) for index in range(60)]


def test_a_backbone_that_cannot_run_is_not_stood_in_for(make_service, fakes, image):
    fakes.errors["a"] = BackboneError("", "", "it is broken")
    service = started(make_service(TWO))
    assert service.preselected == "fake:b"
    for named in (None, "fake:a"):
        with pytest.raises(BackboneError, match="fake:a: it is broken"):
            service.classify(image, named)
    assert service.classify(image, "fake:b").backbone == "fake:b"


# --- what is asked ---


@pytest.mark.parametrize(("top_k", "labels"), [(None, 2), (1, 1), (3, 3), (2.0, 2)])
def test_top_k_says_how_many(make_service, fakes, image, top_k, labels):
    answer = make_service(f"top_k: 2\n{TWO}").classify(image, top_k=top_k)
    assert len(answer.predictions) == labels
    assert answer.notes == ()


@pytest.mark.parametrize("top_k", [0, -1, True, False, 2.5, "3", float("nan"), float("inf"), [3], {}])
def test_a_top_k_that_is_no_count_is_refused(make_service, fakes, image, top_k):
    with pytest.raises(LineupError, match="top_k: expected a whole number from 1 to 100000; got"):
        make_service(TWO).classify(image, top_k=top_k)
    assert fakes.built == []  # before anything is loaded for it


@pytest.mark.parametrize("top_k", [4, 1000])
def test_a_top_k_above_the_number_of_classes_gives_all_and_says_so(make_service, fakes, image, top_k):
    answer = make_service(TWO).classify(image, top_k=top_k)
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
def test_a_backbone_that_is_not_in_the_lineup_is_refused(make_service, fakes, image, name, told):
    with pytest.raises(BackboneError) as caught:
        make_service(TWO).classify(image, name)
    assert told in str(caught.value)


def test_what_is_no_image_is_refused(make_service, fakes, image, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.jpg").write_bytes(image.read_bytes()[:4000])
    Image.new("1", (2000, 1000)).save(tmp_path / "large.png")
    service = make_service(f"limits: {{max_megapixels: 1}}\n{TWO}")
    for name, told in {
        "none.jpg": "there is no such file",
        "text.jpg": "not one that can be read",
        "cut.jpg": "damaged or cut off",
        "large.png": "expected at most 1 megapixels",
    }.items():
        with pytest.raises(ImageError, match=told):
            service.classify(tmp_path / name)
    assert service.classify(image)


# --- what goes wrong inside ---


@pytest.mark.parametrize("logits", [[1.0, float("nan"), 0.0], [float("inf"), 0.0, 0.0], [1.0, 2.0], [1.0] * 4])
def test_numbers_that_are_no_answer_are_an_error(make_service, fakes, image, logits):
    fakes.logits["a"] = logits
    with pytest.raises(BackboneError, match=r"fake:a: expected (3|finite) numbers"):
        make_service(TWO).classify(image)


def test_too_many_at_once_are_told_so_and_the_rest_are_served(make_service, fakes, image):
    service, held = make_service(f"limits: {{queue_size: 2}}\n{TWO}"), fakes.hold("answer a")
    service._pool.get("fake:a")
    refused = threading.Event()

    def ask(_: int) -> str:
        try:
            return service.classify(image).backbone
        except BusyError as error:
            refused.set()
            return str(error)

    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(ask, index) for index in range(3)]
        assert refused.wait(10)
        held.set()
        busy, *served = sorted(answer.result() for answer in answers)
        assert busy == "busy: 2 requests are waiting already; try again in some seconds"
        assert served == ["fake:a", "fake:a"]
    assert service.classify(image)  # nobody is counted as waiting any more


def test_a_failed_answer_gives_its_turn_back(make_service, fakes, image, tmp_path):
    service = make_service(f"limits: {{queue_size: 1}}\n{TWO}")
    for _ in range(3):
        with pytest.raises(ImageError):
            service.classify(tmp_path / "none.jpg")
    assert service.classify(image)


# --- comparisons ---


def test_whoever_is_ready_answers_first_and_the_order_asked_for_stays(make_service, fakes, image):
    service, held, names = make_service(TWO), fakes.hold("build a"), ["fake:a", "fake:b"]
    answers = service.answers(image, names)
    first = next(answers)
    held.set()
    found = dict([first, *answers])
    assert list(found) == ["fake:b", "fake:a"]
    assert list(service.comparison(names, found).answers) == names


def test_all_answer_on_one_decoded_image(make_service, fakes, image, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "lineup.inference.preprocessing.open_image",
        lambda *said, **more: opened.append(said[0]) or open_image(*said, **more),
    )
    found = make_service(THREE).compare(image)
    assert opened == [image]
    assert len({answer.milliseconds.decode for answer in found.answers.values()} - {0}) == 1


def test_those_who_prepare_a_image_alike_share_the_work(make_service, fakes, image):
    from lineup.registry import Transform

    prepared = []
    same = Transform(lambda _: prepared.append(1) or torch.zeros(3, 8, 8), (8, 8), (0, 0, 0), (1, 1, 1))
    fakes.more = {target: {"transform": same} for target in "ab"} | {
        "c": {"transform": replace(same, steps=lambda _: same.steps(_))}
    }
    make_service(THREE).compare(image)
    assert len(prepared) == 2


def test_a_network_that_writes_into_its_input_spoils_nobody_elses(make_service, fakes, image):
    from lineup.registry import Transform

    class Writing(torch.nn.Module):
        def forward(self, batch):
            return batch.add_(1).mean((2, 3))

    same = Transform(lambda _: torch.zeros(3, 8, 8), (8, 8), (0, 0, 0), (1, 1, 1))
    fakes.more = {target: {"transform": same, "make": lambda _: Writing()} for target in "ab"}
    found = make_service(TWO).compare(image).answers.values()
    assert [Image.open(BytesIO(answer.model_input_jpeg)).getpixel((0, 0)) for answer in found] == [(0, 0, 0), (0, 0, 0)]


def test_one_that_cannot_answer_is_a_result_beside_the_others(make_service, fakes, image):
    fakes.errors["a"] = BackboneError("", "", "it is broken")
    fakes.logits["b"] = [float("nan"), 0.0, 0.0]
    found = make_service(THREE).compare(image, ["fake:a", "fake:b", "fake:c"])
    broken, damaged, answer = found.answers.values()
    assert str(broken) == "fake:a: it is broken"
    assert "fake:b: expected finite numbers" in str(damaged)
    assert answer.predictions[0].label == "cat"
    assert found.agreement.sentence.endswith("fake:a and fake:b did not answer.")


def test_when_too_many_wait_each_backbone_says_so(make_service, fakes, image):
    service, held = make_service(f"limits: {{queue_size: 1}}\n{TWO}"), fakes.hold("answer a")
    service._pool.get("fake:a")
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(service.classify, image)
        until(lambda: len(service._execution._queue))
        found = service.compare(image, ["fake:a", "fake:b"])
        held.set()
        assert asked.result()
    assert [type(answer) for answer in found.answers.values()] == [BusyError, BusyError]


def test_a_image_that_cannot_be_read_is_nobodys_answer(make_service, fakes, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ImageError, match="not one that can be read"):
        make_service(TWO).compare(tmp_path / "text.jpg")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "expected a list of one name or more; got []"),
        ("fake:a", "expected a list of one name or more; got 'fake:a'"),
        ({"fake:a": 1}, "expected a list of one name or more; got {"),
        (3, "expected a list of one name or more; got 3"),
        (["fake:a", "fake:aa"], "got 'fake:aa'; did you mean 'fake:a'?"),
        (["fake:a", ["fake:b"]], "expected one name of the line-up; got ['fake:b']"),
        (["fake:a", None], "expected one name of the line-up; got None"),
        (["fake:b", "fake:a", "fake:b"], "expected each name once; got 'fake:b' again"),
        (["fake:a", "fake:b", "fake:c"], "expected at most 2 at once; got 3; leave some out"),
    ],
)
def test_what_is_no_list_of_names_is_refused_before_anything_is_loaded(make_service, fakes, image, names, told):
    with pytest.raises(BackboneError) as caught:
        make_service(f"limits: {{max_compared: 2}}\n{THREE}").compare(image, names)
    assert told in str(caught.value)
    assert fakes.built == []


def test_each_answer_of_a_comparison_says_that_top_k_is_too_many(make_service, fakes, image):
    note = "top_k 4 is more than there are classes: all 3 are listed"
    found = make_service(TWO).compare(image, top_k=4)
    assert [answer.notes for answer in found.answers.values()] == [(note,), (note,)]


@pytest.mark.parametrize(("top_k", "keep", "predictions"), [(1, 0, 1), (1, 2, 2), (2, 1, 2), (1, 20, 3)])
def test_more_classes_may_be_kept_than_were_asked_for(make_service, fakes, image, top_k, keep, predictions):
    ((_, answer),) = make_service(TWO).answers(image, ["fake:a"], top_k, keep)
    assert (len(answer.predictions), answer.notes) == (predictions, ())


def test_the_margin_is_how_far_the_first_class_is_before_the_second(make_service, fakes, image):
    fakes.logits["a"] = [1.0, 3.0, 2.0]
    first, second, _ = sorted(softmax(np.array([[1.0, 3.0, 2.0]]))[0], reverse=True)
    answer = make_service(TWO).classify(image, top_k=1)
    assert answer.margin == pytest.approx(first - second)


def test_an_only_class_is_before_nothing_by_all_it_has(make_service, fakes, image):
    fakes.names, fakes.logits["a"] = ("cat",), [2.0]
    assert make_service(TWO).classify(image).margin == 1


def test_the_time_that_forward_passes_took_is_kept_for_each_backbone(make_service, fakes, image):
    service = make_service(TWO)
    assert service.timing("fake:a") is None
    took = [service.classify(image).milliseconds.forward for _ in range(4)]
    fakes.logits["a"] = [float("nan"), 0.0, 0.0]
    with pytest.raises(BackboneError):
        service.classify(image)  # no answer, so its time does not count
    timing = service.timing("fake:a")
    assert (timing.runs, timing.last_ms, timing.median_ms) == (4, took[-1], statistics.median(took))
    assert service.timing("fake:b") is None


def test_the_first_that_can_be_had_are_compared_when_none_is_named(make_service, fakes, image):
    fakes.errors["b"] = BackboneError("", "", "it is broken")
    service = make_service(f"limits: {{max_compared: 2}}\n{FOUR}")
    assert service.load("fake:b").exception()
    service._pool.get("fake:d")  # that one is ready already does not matter
    found = service.compare(image)
    assert list(found.answers) == ["fake:a", "fake:c"]
    too_many = "at most 2 are compared at once"
    assert {name: str(why) for name, why in found.left_out.items()} == {
        "fake:b": "fake:b: it is broken",
        "fake:d": too_many,
    }
    fields = {"where": "fake:b", "expected": "", "got": "it is broken", "remedy": ""}
    assert found.to_json()["left_out"] == [
        {"backbone": "fake:b", "error": "fake:b: it is broken", **fields},
        {"backbone": "fake:d", "error": too_many},
    ]
    assert service.compare(image, ["fake:a"]).left_out == {}


def test_the_one_that_is_chosen_comes_first_if_it_can_be_had(make_service, fakes):
    fakes.errors["b"] = BackboneError("", "", "it is broken")
    service = make_service(f"limits: {{max_compared: 2}}\n{FOUR}")
    assert service.load("fake:b").exception()
    assert service.comparable_all("fake:d")[0] == ["fake:d", "fake:a"]
    assert service.comparable_all("fake:b")[0] == ["fake:a", "fake:c"]


@pytest.mark.usefixtures("fresh_cache")
def test_what_failed_at_the_hub_is_asked_for_again_when_all_are_compared(make_service, fakes, hub, monkeypatch, image):
    fakes.weights["a"] = HubFile("me/pets", ("a.bin",))
    service = make_service(TWO)
    hub.faults["me/pets"] = "500"
    started(service)
    assert service.comparable_all()[0] == ["fake:b"]
    hub.put("me/pets", {"a.bin": b"1234"})
    hub.faults.clear()
    monkeypatch.setattr(pool, "RETRY_AFTER_S", 0)
    assert service.comparable_all() == (["fake:a", "fake:b"], {})
    assert list(service.compare(image).answers) == ["fake:a", "fake:b"]


def test_when_nothing_can_run_each_says_why(make_service, fakes, image):
    fakes.errors = {"a": BackboneError("", "", "it is broken"), "b": BackboneError("", "", "so is this")}
    service = started(make_service(TWO))
    found = service.compare(image)
    assert [str(answer) for answer in found.answers.values()] == ["fake:a: it is broken", "fake:b: so is this"]
    assert found.agreement.sentence == "No backbone answered."
    assert found.left_out == {}


def test_a_comparison_as_json_is_what_the_contract_says(make_service, fakes, image):
    fakes.errors["b"] = BackboneError("", "", "it is broken")
    found = make_service(TWO).compare(image, ["fake:b", "fake:a"], top_k=1).to_json()
    assert list(found) == ["results", "agreement", "left_out"]
    failed, answer = found["results"]
    fields = {"where": "fake:b", "expected": "", "got": "it is broken", "remedy": ""}
    assert failed == {"backbone": "fake:b", "error": "fake:b: it is broken", **fields}
    assert list(answer) == ["backbone", "predictions", "input_size", "engine", "milliseconds", "notes"]
    assert answer["predictions"] == [
        {"class_index": 0, "id": None, "label": "cat", "probability": pytest.approx(0.66524, abs=1e-5)}
    ]
    assert list(found["agreement"]) == ["sentence", "majority", "groups", "not_comparable", "dissenting", "lacking"]


def test_who_compares_at_once_with_others_gets_his_own(make_service, fakes, image):
    fakes.logits = {target: np.eye(3)[index].tolist() for index, target in enumerate("abc")}
    service = make_service(THREE)
    chosen = [["fake:a", "fake:b"], ["fake:c", "fake:a"], ["fake:b", "fake:c", "fake:a"]]

    def ask(index: int) -> dict[str, int]:
        answers = service.compare(image, chosen[index % 3]).answers
        return {answer.backbone: answer.predictions[0].class_index for answer in answers.values()}

    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(ask, range(30)))
    assert found == [{name: "abc".index(name[-1]) for name in chosen[index % 3]} for index in range(30)]


# --- the start ---


def test_the_start_loads_the_default_only(make_service, fakes):
    service = started(make_service(f"default: fake:b\n{TWO}"))
    assert (service.preselected, service.default_problem) == ("fake:b", "")
    assert fakes.built == ["b"]
    assert [status.status for status in service.backbones()] == ["idle", "ready"]
    assert [status.num_classes for status in service.backbones()] == [3, 3]  # known of all


def test_nothing_is_loaded_before_the_start(make_service, fakes):
    service = make_service(TWO)
    assert (service.preselected, service.opened.is_set(), fakes.built) == ("fake:a", False, [])


def test_the_page_opens_with_the_first_that_runs_when_the_default_cannot(make_service, fakes):
    fakes.errors = {"a": BackboneError("", "", "it is broken"), "b": BackboneError("", "", "so is this")}
    names = ["resnet19", "fake:a", "fake:b", "fake:c", "fake:d"]
    service = started(make_service(f"default: fake:a\nbackbones: {names}"))
    assert service.preselected == "fake:c"
    assert service.default_problem == "fake:a: it is broken"
    assert [status.status for status in service.backbones()] == ["unavailable"] * 3 + ["ready", "idle"]
    assert fakes.built == ["a", "b", "c"]


def test_the_start_ends_when_nothing_runs_at_all(make_service, fakes):
    fakes.errors = {"a": BackboneError("", "", "it is broken"), "b": BackboneError("", "", "so is this")}
    service = started(make_service(TWO))
    assert service.preselected == "fake:a"
    assert service.default_problem == "fake:a: it is broken"


def test_the_default_is_ready_before_the_others_are_looked_at(make_service, fakes, hub):
    hub.faults["me/slow"] = "hung"
    service = make_service("limits: {hub_timeout_s: 5}\nbackbones: ['fake:a', 'hf-hub:me/slow']")
    service.start()
    assert service.opened.wait(4)
    until(lambda: hub.requests)
    assert not service.probed.is_set()
    assert service.preselected == "fake:a"
    hub.resume.set()
    assert service.probed.wait(10)


def test_problems_name_their_place_in_the_config(make_service, fakes):
    service = started(make_service("backbones:\n  - fake:a\n  - resnet19\nexamples:\n  - none.jpg\n"))
    entry, example = service.problems()
    assert entry.startswith("config.yaml:3:5: backbones[1]: resnet19: expected a model name of timm")
    assert example.startswith("config.yaml:5:5: examples[0]: expected a p")


def test_a_hub_that_was_gone_at_the_start_is_used_when_it_is_back(
    make_service, publish, hub, fresh_cache, image, monkeypatch
):
    monkeypatch.setattr(pool, "RETRY_AFTER_S", 0)
    publish("test_vit.r160_in1k")
    service = make_service("backbones: [test_vit]")
    with hub.gone():
        started(service)
        assert "cannot be reached" in service.default_problem
        assert service.notes()[0].startswith("config.yaml:1:13: backbones[0]: test_vit: timm/test_vit.r160_in1k/")
        assert service.problems() == []
    assert service.classify(image).label_set == "ImageNet-1k"
    assert service.default_problem == ""


def test_what_a_visitor_should_know_is_noted(make_service, image):
    service = make_service("backbones: [{backbone: test_vit, pretrained: false}]")
    assert service.classify(image).notes == (
        "untrained: the weights are random, so the predictions are meaningless",
        "the classes of these weights have no names here, only numbers",
    )


def test_a_large_jpeg_is_decoded_for_the_largest_transform_of_a_comparison(make_service, fakes, tmp_path, monkeypatch):
    asked, opened = {"a": 100, "b": 235}, []
    for target, resize_px in asked.items():
        fakes.more[target] = {"transform": transform_of(resize_px)}
    open_image = preprocessing.open_image
    monkeypatch.setattr(
        preprocessing, "open_image", lambda *given, **more: opened.append(open_image(*given, **more)) or opened[-1]
    )
    Image.effect_noise((4000, 3000), 60).convert("RGB").save(tmp_path / "large.jpg")
    service = make_service("backbones: ['fake:a', 'fake:b', 'fake:c']")
    service.probe()
    assert service.classify(tmp_path / "large.jpg", "fake:a").min_side_px == 200
    assert opened.pop().size == (500, 375)
    found = service.compare(tmp_path / "large.jpg", ["fake:a", "fake:b"])
    assert {answer.min_side_px for answer in found.answers.values()} == {470}
    assert [each.size for each in opened] == [(1000, 750)]  # once for both
    opened.clear()
    service.compare(tmp_path / "large.jpg", ["fake:a", "fake:c"])  # nobody knows what c's transform asks for
    assert [each.size for each in opened] == [(4000, 3000)]


def transform_of(resize_px):
    return Transform(lambda image: torch.zeros(3, 8, 8), (8, 8), (0, 0, 0), (1, 1, 1), resize_px=resize_px)
