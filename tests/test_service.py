import statistics
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import torch
import wide_images
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


def start(service):
    service.start()
    assert service.default_resolved.wait(30)
    assert service.probed.wait(30)
    return service


# --- answers ---


def test_predictions_are_the_softmax_in_descending_order(make_service, fakes, image):
    fakes.logits["a"] = [0.0, 2.0, 1.0]
    answer = make_service(TWO).classify(image)
    assert [prediction.label for prediction in answer.predictions] == ["dog", "owl", "cat"]
    assert [prediction.class_index for prediction in answer.predictions] == [1, 2, 0]
    expected = np.exp([2, 1, 0]) / np.exp([2, 1, 0]).sum()
    assert [prediction.probability for prediction in answer.predictions] == pytest.approx(expected)
    assert Image.open(BytesIO(answer.model_input_jpeg)).size == (8, 8)


def test_large_logits_do_not_overflow():
    assert softmax(np.float32([[1e4, 0.0], [0.0, 0.0]])).tolist() == [[1, 0], [0.5, 0.5]]


def test_answer_to_json_has_the_documented_keys(make_service, fakes, image):
    answer = make_service(TWO).classify(image, top_k=1).to_json()
    assert set(answer.pop("milliseconds")) == {"decode", "preprocess", "forward"}
    assert answer.pop("predictions") == [
        {"class_index": 0, "id": None, "label": "cat", "probability": pytest.approx(0.66524, abs=1e-5)}
    ]
    assert answer == {
        **{"backbone": "fake:a", "activation": "softmax", "above_half": None},
        **{"input_size": [8, 8], "engine": "torch", "notes": []},
    }


def test_classes_with_equal_labels_stay_distinct(make_service, fakes, image):
    fakes.names = ("crane", "owl", "crane")
    labels = [prediction.label for prediction in make_service(TWO).classify(image).predictions]
    assert labels == ["crane (class 0)", "owl", "crane (class 2)"]


def test_default_backbone_answers_when_none_is_named(make_service, fakes, image):
    service = make_service(f"default: fake:b\n{TWO}")
    assert service.classify(image).backbone == "fake:b"
    assert service.classify(image, "fake:a").backbone == "fake:a"
    assert service.classify(image, backbone=None, top_k=None).backbone == "fake:b"


def test_concurrent_answers_are_of_the_requested_backbones(make_service, fakes, image):
    names = [f"fake:{target}" for target in "abc"]
    fakes.logits = {target: np.eye(3)[index].tolist() for index, target in enumerate("abc")}
    service = make_service(f"backbones: {names}")

    def classify(index: int) -> tuple[str, int]:
        answer = service.classify(image, names[index % 3])
        return answer.backbone, answer.predictions[0].class_index

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(classify, range(60)))
    assert answers == [(names[index % 3], index % 3) for index in range(60)]


def test_failing_backbone_is_not_replaced_by_another(make_service, fakes, image):
    fakes.errors["a"] = BackboneError("", "", "it is broken")
    service = start(make_service(TWO))
    assert service.preselected == "fake:b"
    for name in (None, "fake:a"):
        with pytest.raises(BackboneError, match="fake:a: it is broken"):
            service.classify(image, name)
    assert service.classify(image, "fake:b").backbone == "fake:b"


# --- arguments ---


@pytest.mark.parametrize(("top_k", "labels"), [(None, 2), (1, 1), (3, 3), (2.0, 2)])
def test_top_k_is_the_number_of_predictions(make_service, fakes, image, top_k, labels):
    answer = make_service(f"top_k: 2\n{TWO}").classify(image, top_k=top_k)
    assert len(answer.predictions) == labels
    assert answer.notes == ()


@pytest.mark.parametrize("top_k", [0, -1, True, False, 2.5, "3", float("nan"), float("inf"), [3], {}])
def test_invalid_top_k_is_rejected_before_loading(make_service, fakes, image, top_k):
    with pytest.raises(LineupError, match="top_k: expected a whole number from 1 to 100000; got"):
        make_service(TWO).classify(image, top_k=top_k)
    assert fakes.built == []


@pytest.mark.parametrize("top_k", [4, 1000])
def test_top_k_above_the_number_of_classes_lists_all_with_a_note(make_service, fakes, image, top_k):
    answer = make_service(TWO).classify(image, top_k=top_k)
    assert len(answer.predictions) == 3
    assert answer.notes == (f"top_k {top_k} is more than there are classes: all 3 are listed",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fake:aa", "expected a name of the line-up; got 'fake:aa'; did you mean 'fake:a'?"),
        ("", "use one of: fake:a, fake:b"),
        (["fake:a"], "expected one name of the line-up; got"),
        (0, "expected one name of the line-up; got 0"),
    ],
)
def test_unknown_backbone_is_rejected(make_service, fakes, image, name, message):
    with pytest.raises(BackboneError) as caught:
        make_service(TWO).classify(image, name)
    assert message in str(caught.value)


def test_invalid_image_is_rejected(make_service, fakes, image, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.jpg").write_bytes(image.read_bytes()[:4000])
    Image.new("1", (2000, 1000)).save(tmp_path / "large.png")
    service = make_service(f"limits: {{max_megapixels: 1}}\n{TWO}")
    for name, message in {
        "none.jpg": "there is no such file",
        "text.jpg": "not one that can be read",
        "cut.jpg": "damaged or cut off",
        "large.png": "expected at most 1 megapixels",
    }.items():
        with pytest.raises(ImageError, match=message):
            service.classify(tmp_path / name)
    assert service.classify(image)


# --- failures ---


@pytest.mark.parametrize("logits", [[1.0, float("nan"), 0.0], [float("inf"), 0.0, 0.0], [1.0, 2.0], [1.0] * 4])
def test_invalid_logits_are_an_error(make_service, fakes, image, logits):
    fakes.logits["a"] = logits
    with pytest.raises(BackboneError, match=r"fake:a: expected (logits of shape \(1, 3\)|finite numbers)"):
        make_service(TWO).classify(image)


def test_full_queue_rejects_excess_requests_and_serves_the_rest(make_service, fakes, image):
    service, held = make_service(f"limits: {{queue_size: 2}}\n{TWO}"), fakes.hold("answer a")
    service._pool.get("fake:a")
    rejected = threading.Event()

    def classify(_: int) -> str:
        try:
            return service.classify(image).backbone
        except BusyError as error:
            rejected.set()
            return str(error)

    with ThreadPoolExecutor(3) as threads:
        answers = [threads.submit(classify, index) for index in range(3)]
        assert rejected.wait(10)
        held.set()
        busy, *served = sorted(answer.result() for answer in answers)
        assert busy == "busy: 2 requests are waiting already; try again in some seconds"
        assert served == ["fake:a", "fake:a"]
    assert service.classify(image)  # the queue is empty again


def test_failed_request_leaves_the_queue(make_service, fakes, image, tmp_path):
    service = make_service(f"limits: {{queue_size: 1}}\n{TWO}")
    for _ in range(3):
        with pytest.raises(ImageError):
            service.classify(tmp_path / "none.jpg")
    assert service.classify(image)


# --- comparisons ---


def test_ready_backbones_answer_first_and_results_keep_the_order(make_service, fakes, image):
    service, held, names = make_service(TWO), fakes.hold("build a"), ["fake:a", "fake:b"]
    answers = service.answers(image, names)
    first = next(answers)
    held.set()
    results = dict([first, *answers])
    assert list(results) == ["fake:b", "fake:a"]
    assert list(service.comparison(names, results).answers) == names


def test_comparison_decodes_the_image_once(make_service, fakes, image, monkeypatch):
    opened = []
    monkeypatch.setattr(
        "lineup.inference.preprocessing.open_image",
        lambda path, *args, **options: opened.append(path) or open_image(path, *args, **options),
    )
    comparison = make_service(THREE).compare(image)
    assert opened == [image]
    assert len({answer.milliseconds.decode for answer in comparison.answers.values()} - {0}) == 1


def test_equal_transforms_preprocess_the_image_once(make_service, fakes, image):
    from lineup.registry import Transform

    prepared = []
    same = Transform(lambda _: prepared.append(1) or torch.zeros(3, 8, 8), (8, 8), (0, 0, 0), (1, 1, 1))
    fakes.more = {target: {"transform": same} for target in "ab"} | {
        "c": {"transform": replace(same, steps=lambda _: same.steps(_))}
    }
    make_service(THREE).compare(image)
    assert len(prepared) == 2


def test_network_that_modifies_its_input_does_not_affect_others(make_service, fakes, image):
    from lineup.registry import Transform

    class Writing(torch.nn.Module):
        def forward(self, batch):
            return batch.add_(1).mean((2, 3))

    same = Transform(lambda _: torch.zeros(3, 8, 8), (8, 8), (0, 0, 0), (1, 1, 1))
    fakes.more = {target: {"transform": same, "make": lambda _: Writing()} for target in "ab"}
    answers = make_service(TWO).compare(image).answers.values()
    assert [Image.open(BytesIO(answer.model_input_jpeg)).getpixel((0, 0)) for answer in answers] == [
        (0, 0, 0),
        (0, 0, 0),
    ]


def test_backbone_error_is_a_result_beside_the_others(make_service, fakes, image):
    fakes.errors["a"] = BackboneError("", "", "it is broken")
    fakes.logits["b"] = [float("nan"), 0.0, 0.0]
    comparison = make_service(THREE).compare(image, ["fake:a", "fake:b", "fake:c"])
    broken, damaged, answer = comparison.answers.values()
    assert str(broken) == "fake:a: it is broken"
    assert "fake:b: expected finite numbers" in str(damaged)
    assert answer.predictions[0].label == "cat"
    assert comparison.agreement.sentence.endswith("fake:a and fake:b did not answer.")


def test_full_queue_is_the_result_of_each_compared_backbone(make_service, fakes, image):
    service, held = make_service(f"limits: {{queue_size: 1}}\n{TWO}"), fakes.hold("answer a")
    service._pool.get("fake:a")
    with ThreadPoolExecutor(1) as threads:
        request = threads.submit(service.classify, image)
        until(lambda: len(service._execution._queue))
        comparison = service.compare(image, ["fake:a", "fake:b"])
        held.set()
        assert request.result()
    assert [type(answer) for answer in comparison.answers.values()] == [BusyError, BusyError]


def test_comparison_of_an_invalid_image_raises_an_error(make_service, fakes, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ImageError, match="not one that can be read"):
        make_service(TWO).compare(tmp_path / "text.jpg")


@pytest.mark.parametrize(
    ("names", "message"),
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
def test_invalid_list_of_names_is_rejected_before_loading(make_service, fakes, image, names, message):
    with pytest.raises(BackboneError) as caught:
        make_service(f"limits: {{max_compared: 2}}\n{THREE}").compare(image, names)
    assert message in str(caught.value)
    assert fakes.built == []


def test_every_compared_answer_notes_a_top_k_above_its_classes(make_service, fakes, image):
    note = "top_k 4 is more than there are classes: all 3 are listed"
    comparison = make_service(TWO).compare(image, top_k=4)
    assert [answer.notes for answer in comparison.answers.values()] == [(note,), (note,)]


@pytest.mark.parametrize(("top_k", "keep", "predictions"), [(1, 0, 1), (1, 2, 2), (2, 1, 2), (1, 20, 3)])
def test_keep_raises_the_number_of_predictions_above_top_k(make_service, fakes, image, top_k, keep, predictions):
    ((_, answer),) = make_service(TWO).answers(image, ["fake:a"], top_k, keep)
    assert (len(answer.predictions), answer.notes) == (predictions, ())


def test_margin_is_the_difference_of_the_two_highest_probabilities(make_service, fakes, image):
    fakes.logits["a"] = [1.0, 3.0, 2.0]
    first, second, _ = sorted(softmax(np.array([[1.0, 3.0, 2.0]]))[0], reverse=True)
    answer = make_service(TWO).classify(image, top_k=1)
    assert answer.margin == pytest.approx(first - second)


def test_margin_of_a_single_class_is_1(make_service, fakes, image):
    fakes.names, fakes.logits["a"] = ("cat",), [2.0]
    assert make_service(TWO).classify(image).margin == 1


def test_latency_statistics_are_recorded_per_backbone(make_service, fakes, image):
    service = make_service(TWO)
    assert service.timing("fake:a") is None
    forward_ms = [service.classify(image).milliseconds.forward for _ in range(4)]
    fakes.logits["a"] = [float("nan"), 0.0, 0.0]
    with pytest.raises(BackboneError):
        service.classify(image)  # not an answer, so its latency is not recorded
    timing = service.timing("fake:a")
    assert (timing.runs, timing.last_ms, timing.median_ms) == (4, forward_ms[-1], statistics.median(forward_ms))
    assert service.timing("fake:b") is None


def test_first_available_backbones_are_compared_by_default(make_service, fakes, image):
    fakes.errors["b"] = BackboneError("", "", "it is broken")
    service = make_service(f"limits: {{max_compared: 2}}\n{FOUR}")
    assert service.load("fake:b").exception()
    service._pool.get("fake:d")  # a loaded backbone is not preferred
    comparison = service.compare(image)
    assert list(comparison.answers) == ["fake:a", "fake:c"]
    too_many = "at most 2 are compared at once"
    assert {name: str(reason) for name, reason in comparison.left_out.items()} == {
        "fake:b": "fake:b: it is broken",
        "fake:d": too_many,
    }
    fields = {"where": "fake:b", "expected": "", "got": "it is broken", "remedy": ""}
    assert comparison.to_json()["left_out"] == [
        {"backbone": "fake:b", "error": "fake:b: it is broken", **fields},
        {"backbone": "fake:d", "error": too_many},
    ]
    assert service.compare(image, ["fake:a"]).left_out == {}


def test_selected_backbone_is_compared_first_if_available(make_service, fakes):
    fakes.errors["b"] = BackboneError("", "", "it is broken")
    service = make_service(f"limits: {{max_compared: 2}}\n{FOUR}")
    assert service.load("fake:b").exception()
    assert service.comparable_all("fake:d")[0] == ["fake:d", "fake:a"]
    assert service.comparable_all("fake:b")[0] == ["fake:a", "fake:c"]


@pytest.mark.usefixtures("fresh_cache")
def test_comparison_of_all_retries_failed_hub_requests(make_service, fakes, hub, monkeypatch, image):
    fakes.weights["a"] = HubFile("me/pets", ("a.bin",))
    service = make_service(TWO)
    hub.faults["me/pets"] = "500"
    start(service)
    assert service.comparable_all()[0] == ["fake:b"]
    hub.put("me/pets", {"a.bin": b"1234"})
    hub.faults.clear()
    monkeypatch.setattr(pool, "RETRY_AFTER_S", 0)
    assert service.comparable_all() == (["fake:a", "fake:b"], {})
    assert list(service.compare(image).answers) == ["fake:a", "fake:b"]


def test_comparison_reports_every_error_when_no_backbone_runs(make_service, fakes, image):
    fakes.errors = {"a": BackboneError("", "", "it is broken"), "b": BackboneError("", "", "so is this")}
    service = start(make_service(TWO))
    comparison = service.compare(image)
    assert [str(answer) for answer in comparison.answers.values()] == ["fake:a: it is broken", "fake:b: so is this"]
    assert comparison.agreement.sentence == "No backbone answered."
    assert comparison.left_out == {}


def test_comparison_to_json_has_the_documented_keys(make_service, fakes, image):
    fakes.errors["b"] = BackboneError("", "", "it is broken")
    comparison = make_service(TWO).compare(image, ["fake:b", "fake:a"], top_k=1).to_json()
    assert list(comparison) == ["results", "agreement", "left_out"]
    failed, answer = comparison["results"]
    fields = {"where": "fake:b", "expected": "", "got": "it is broken", "remedy": ""}
    assert failed == {"backbone": "fake:b", "error": "fake:b: it is broken", **fields}
    keys = ["backbone", "predictions", "activation", "above_half", "input_size", "engine", "milliseconds", "notes"]
    assert list(answer) == keys
    assert answer["predictions"] == [
        {"class_index": 0, "id": None, "label": "cat", "probability": pytest.approx(0.66524, abs=1e-5)}
    ]
    assert list(comparison["agreement"]) == [
        "sentence",
        "majority",
        "groups",
        "not_comparable",
        "dissenting",
        "missing_class",
        "multi_label",
    ]


def test_concurrent_comparisons_get_their_own_answers(make_service, fakes, image):
    fakes.logits = {target: np.eye(3)[index].tolist() for index, target in enumerate("abc")}
    service = make_service(THREE)
    selections = [["fake:a", "fake:b"], ["fake:c", "fake:a"], ["fake:b", "fake:c", "fake:a"]]

    def compare(index: int) -> dict[str, int]:
        answers = service.compare(image, selections[index % 3]).answers
        return {answer.backbone: answer.predictions[0].class_index for answer in answers.values()}

    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(compare, range(30)))
    assert results == [{name: "abc".index(name[-1]) for name in selections[index % 3]} for index in range(30)]


# --- startup ---


def test_startup_loads_only_the_default_backbone(make_service, fakes):
    service = start(make_service(f"default: fake:b\n{TWO}"))
    assert (service.preselected, service.status(service.config.default_name).reason) == ("fake:b", "")
    assert fakes.built == ["b"]
    assert [status.status for status in service.backbones()] == ["idle", "ready"]
    assert [status.num_classes for status in service.backbones()] == [3, 3]  # probed, not loaded


def test_nothing_is_loaded_before_startup(make_service, fakes):
    service = make_service(TWO)
    assert (service.preselected, service.default_resolved.is_set(), fakes.built) == ("fake:a", False, [])


def test_first_available_backbone_is_preselected_if_the_default_fails(make_service, fakes):
    fakes.errors = {"a": BackboneError("", "", "it is broken"), "b": BackboneError("", "", "so is this")}
    names = ["resnet19", "fake:a", "fake:b", "fake:c", "fake:d"]
    service = start(make_service(f"default: fake:a\nbackbones: {names}"))
    assert service.preselected == "fake:c"
    assert service.status(service.config.default_name).reason == "fake:a: it is broken"
    assert [status.status for status in service.backbones()] == ["unavailable"] * 3 + ["ready", "idle"]
    assert fakes.built == ["a", "b", "c"]


def test_startup_ends_when_no_backbone_runs(make_service, fakes):
    fakes.errors = {"a": BackboneError("", "", "it is broken"), "b": BackboneError("", "", "so is this")}
    service = start(make_service(TWO))
    assert service.preselected == "fake:a"
    assert service.status(service.config.default_name).reason == "fake:a: it is broken"


def test_default_is_ready_before_the_others_are_probed(make_service, fakes, hub):
    hub.faults["me/slow"] = "hung"
    service = make_service("limits: {hub_timeout_s: 60}\nbackbones: ['fake:a', 'hf-hub:me/slow']")
    service.start()
    assert service.default_resolved.wait(30)
    until(lambda: hub.requests)
    assert not service.probed.is_set()
    assert service.preselected == "fake:a"
    hub.resume.set()
    assert service.probed.wait(30)


def test_problems_name_their_place_in_the_config(make_service, fakes):
    service = start(make_service("backbones:\n  - fake:a\n  - resnet19\nexamples:\n  - none.jpg\n"))
    entry, example = service.problems()
    assert entry.startswith("config.yaml:3:5: backbones[1]: resnet19: expected a model name of timm")
    assert example.startswith("config.yaml:5:5: examples[0]: expected a p")


def test_hub_that_was_unreachable_at_startup_is_retried(make_service, publish, hub, fresh_cache, image, monkeypatch):
    monkeypatch.setattr(pool, "RETRY_AFTER_S", 0)
    publish("test_vit.r160_in1k")
    service = make_service("backbones: [test_vit]")
    with hub.unreachable():
        start(service)
        assert "cannot be reached" in service.status(service.config.default_name).reason
        assert service.notes()[0].startswith("config.yaml:1:13: backbones[0]: test_vit: timm/test_vit.r160_in1k/")
        assert service.problems() == []
    assert service.classify(image).label_set == "ImageNet-1k"
    assert service.status(service.config.default_name).reason == ""


def test_untrained_backbone_has_notes(make_service, image):
    service = make_service("backbones: [{backbone: test_vit, pretrained: false}]")
    assert service.classify(image).notes == (
        "untrained: the weights are random, so the predictions are meaningless",
        "the classes of these weights have no names here, only numbers",
    )


def test_large_jpeg_is_decoded_for_the_largest_transform_compared(make_service, fakes, tmp_path, monkeypatch):
    resize_px_of, opened = {"a": 100, "b": 235}, []
    for target, resize_px in resize_px_of.items():
        fakes.more[target] = {"transform": transform_of(resize_px)}
    open_image = preprocessing.open_image
    monkeypatch.setattr(
        preprocessing, "open_image", lambda *args, **options: opened.append(open_image(*args, **options)) or opened[-1]
    )
    Image.effect_noise((4000, 3000), 60).convert("RGB").save(tmp_path / "large.jpg")
    service = make_service("backbones: ['fake:a', 'fake:b', 'fake:c']")
    service.probe()
    assert service.classify(tmp_path / "large.jpg", "fake:a").min_side_px == 200
    assert opened.pop().size == (500, 375)
    comparison = service.compare(tmp_path / "large.jpg", ["fake:a", "fake:b"])
    assert {answer.min_side_px for answer in comparison.answers.values()} == {470}
    assert [image.size for image in opened] == [(1000, 750)]  # once for both
    opened.clear()
    service.compare(tmp_path / "large.jpg", ["fake:a", "fake:c"])  # the size that c's transform needs is unknown
    assert [image.size for image in opened] == [(4000, 3000)]


def transform_of(resize_px):
    return Transform(lambda image: torch.zeros(3, 8, 8), (8, 8), (0, 0, 0), (1, 1, 1), resize_px=resize_px)


def test_answer_notes_what_was_inferred_from_a_wide_image(make_service, fakes, tmp_path):
    (tmp_path / "wide.tif").write_bytes(wide_images.tiff(np.full((60, 60, 1), 3000, np.uint16)))
    answer = make_service("backbones: ['fake:a']").classify(tmp_path / "wide.tif")
    note = "its values of 12 bits in a file of 16 bits go up to 3000: white is taken as 4095"
    assert answer.notes == (note,)
    assert answer.to_json()["notes"] == [note]


def test_image_is_decoded_while_another_request_computes(make_service, fakes, image, monkeypatch):
    service, decoded = make_service(TWO), []
    monkeypatch.setattr(
        preprocessing, "open_image", lambda *rest, **more: decoded.append(1) or open_image(*rest, **more)
    )
    held = fakes.hold("answer a")
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(service.classify, image, "fake:a")
        until(lambda: decoded == [1])
        second = threads.submit(service.classify, image, "fake:b")
        until(lambda: decoded == [1, 1])
        assert not second.done()
        held.set()
        assert (first.result(30).backbone, second.result(30).backbone) == ("fake:a", "fake:b")
    assert decoded == [1, 1]
