"""The endpoints of evaluations: the figures of the page and the command, progress by id, and errors."""

import io
import zipfile

import pytest
from drawing import draw

from lineup.errors import BusyError, LineupError
from lineup.features.evaluation import reading
from lineup.features.evaluation.api_panel import EvaluationApi
from lineup.features.evaluation.run import Evaluations
from lineup.images import image_set
from lineup.page.folder_uploads import Uploads

# the recommended one of several that are as good is the faster one
TIMES = {"forward_ms", "recommended", "sentence", "id", "state", "done", "total", "problem"}


@pytest.fixture
def api(make_service, fakes, tmp_path, monkeypatch):
    """The endpoints of a service that takes at most six files, and a folder of five labelled images."""
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    fakes.logits |= {"a": [9.0, 1.0, 0.0], "b": [0.0, 9.0, 1.0]}
    service = make_service("backbones: ['fake:a', 'fake:b']\nevaluation: {max_images: 6}")
    for index, label in enumerate(["cat", "cat", "cat", "dog", "zebra"]):
        path = tmp_path / "pets" / label / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path, seed=index)
    return EvaluationApi(Evaluations(service), Uploads(service, tmp_path / "uploads"))


def zipped(folder, to):
    with zipfile.ZipFile(to, "w") as archive:
        for path in sorted(folder.rglob("*.jpg")):
            archive.write(path, path.relative_to(folder).as_posix())
    return to


def answered(api, files, upload="", backbones=None, mapping=None):
    evaluation, thread = api.start(files, upload, backbones, mapping)
    thread.join(20)
    return api.answer(evaluation, "among", mapping)


def without_times(value):
    """Return a report without what differs between two runs."""
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in TIMES}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def test_report_of_a_zip_file_is_that_of_its_folder(api, tmp_path):
    answer = answered(api, [zipped(tmp_path / "pets", tmp_path / "pets.zip")])
    assert answer["state"] == "done"
    assert answer["name"] == "pets"
    evaluations = Evaluations(api._evaluations.service, tmp_path / "jobs")
    evaluation = evaluations.create(image_set.collect(tmp_path / "pets"), ["fake:a", "fake:b"])
    evaluations.run(evaluation)
    expected = reading.report(evaluations, evaluation).to_json()
    assert [each["top1_among"]["right"] for each in answer["backbones"]] == [3, 1]
    assert without_times(answer) == without_times(expected)


def test_zip_file_is_known_by_its_content(api, tmp_path):
    answer = answered(api, [zipped(tmp_path / "pets", tmp_path / "blob")])
    assert answer["images"]["labelled"] == 5


def test_images_of_equal_names_are_all_evaluated(api, tmp_path):
    files = [draw(tmp_path / folder / "image.png", seed=9 + len(folder)) for folder in map(made(tmp_path), ["x", "yy"])]
    answer = answered(api, files)
    assert answer["images"]["evaluated"] == 2
    assert answer["verdict"] is None
    assert all(path.is_file() for path in files)  # they were copied


def made(tmp_path):
    def make(name):
        (tmp_path / name).mkdir()
        return name

    return make


def test_posted_folder_is_evaluated_by_its_id(api, tmp_path):
    upload = api._uploads.create()
    for path in sorted((tmp_path / "pets").rglob("*.jpg")):
        api._uploads.add(upload, [(path.relative_to(tmp_path).as_posix(), io.BytesIO(path.read_bytes()))])
    assert answered(api, [], upload)["images"]["labelled"] == 5


def test_long_evaluation_answers_with_its_progress(api, fakes, tmp_path):
    held = fakes.hold("answer b")
    evaluation, thread = api.start([zipped(tmp_path / "pets", tmp_path / "pets.zip")], "", None, None)
    answer = api.answer(evaluation, "among", None)
    assert (answer["id"], answer["state"], answer["total"]) == (evaluation, "running", 10)
    assert "backbones" not in answer
    held.set()
    thread.join(20)
    assert api.answer(evaluation, "among", None)["state"] == "done"


def test_labels_mean_what_the_mapping_says(api, tmp_path):
    archive = zipped(tmp_path / "pets", tmp_path / "pets.zip")
    answer = answered(api, [archive], mapping={"zebra": "owl", "dog": None})
    assert [label["state"] for label in answer["labels"]] == ["matched", "left out", "chosen"]
    again = api.answer(answer["id"], "anywhere", {"cat": None})
    assert (again["scoring"], again["labels"][0]["state"]) == ("anywhere", "left out")


BAD = [
    ({}, "evaluate: expected images, a zip file, or the id of an upload; got none"),
    ({"upload": "../../etc"}, "expected the id of an upload"),
    ({"upload": "x" * 22}, "expected the id of an upload"),
    ({"files": 7}, "evaluate: expected at most 6 files; got 7"),
    ({"files": 1, "backbones": ["nope"]}, "expected a name of the line-up"),
    ({"files": 1, "backbones": "fake:a"}, "backbones: expected"),
    ({"files": 1, "mapping": ["cat"]}, "mapping: expected labels, each with"),
    ({"files": 1, "mapping": {"cow": "cat"}}, "mapping: expected labels of the folder; got 'cow'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_wrong_argument_is_an_error_before_anything_runs(api, tmp_path, arguments, message):
    files = [draw(tmp_path / f"{index}.jpg", seed=index) for index in range(arguments.get("files", 0))]
    with pytest.raises(LineupError) as caught:
        api.start(files, arguments.get("upload", ""), arguments.get("backbones"), arguments.get("mapping"))
    assert message in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_file_that_is_no_image_is_an_error(api, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(LineupError, match=r"it has only a\.jpg"):
        api.start([tmp_path / "a.jpg"], "", None, None)


def test_unknown_id_is_an_error(api):
    for unknown in ("x" * 16, "../../../x", ""):
        with pytest.raises(LineupError, match="expected the id of a job"):
            api.answer(unknown, "among", None)


def test_evaluations_beyond_the_limit_are_refused(api, fakes, tmp_path, monkeypatch):
    held = fakes.hold("answer a")
    monkeypatch.setattr("lineup.features.evaluation.run.MAX_RUNNING", 1)
    files = [draw(tmp_path / "1.jpg")]
    _, thread = api.start(files, "", None, None)
    upload = api._uploads.create()
    with files[0].open("rb") as file:
        api._uploads.add(upload, [("1.jpg", file)])
    with pytest.raises(BusyError, match="1 evaluation is running already"):
        api.start([], upload, None, None)
    held.set()
    thread.join(20)
    api.start([], upload, None, None)[1].join(20)  # the upload is still there


def test_endpoints_are_named(assembled):
    from lineup.features import FEATURES

    page = assembled("backbones: ['resnet18']", [FEATURES["evaluation"]])
    endpoints = page.demo.get_api_info()["named_endpoints"]
    names = [each["parameter_name"] for each in endpoints["/evaluate"]["parameters"]]
    assert names == ["archive", "images", "upload", "backbones", "scoring", "mapping"]
    assert not any(each["parameter_has_default"] is False for each in endpoints["/evaluate"]["parameters"])
    assert "/evaluation" in endpoints


def test_switched_off_feature_has_no_endpoints(assembled):
    from lineup.features import FEATURES

    page = assembled("backbones: ['resnet18']\nevaluation: {enabled: false}", [FEATURES["evaluation"]])
    assert not page.demo.get_api_info()["named_endpoints"].keys() & {"/evaluate", "/evaluation"}
