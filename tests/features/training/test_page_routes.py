"""The routes of the page of classes: answers, downloads and thumbnails, and where the page is switched off."""

import io
import zipfile

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lineup.errors import BusyError, ImageError, LineupError
from lineup.features import FEATURES
from lineup.features.training import panel
from lineup.features.training.routes import AnswerRoute, ArchiveRoute
from lineup.page.folder_uploads import Uploads
from lineup.page.image_classes import Collections
from lineup.page.thumbnails import ThumbnailRoute
from lineup.results import Prediction


class FakeTrainings:
    def __init__(self, service, folder):
        self.service, self.folder, self.error, self.seen = service, folder, None, []

    def delete_old(self):
        """Delete nothing: nothing is old here."""

    def predict(self, training, backbone, image):
        if self.error:
            raise self.error
        self.seen.append((training, backbone, image.read_bytes()))
        return [Prediction(1, None, "wren", 0.75), Prediction(0, None, "robin", 0.25)]

    def archive(self, training, backbone, name):
        if training != "known":
            raise LineupError("job", "the id of a job", f"got {training!r}", "start it again")
        path = self.folder / "archive.zip"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(f"{name}/README.md", "# birds")
        return path


@pytest.fixture
def trainings(make_service, fakes, tmp_path):
    return FakeTrainings(make_service("backbones: ['fake:a']"), tmp_path)


@pytest.fixture
def client(trainings):
    routes = [AnswerRoute("/classes/answer", trainings), ArchiveRoute("/classes/{training}/folder.zip", trainings)]
    return TestClient(Starlette(routes=routes))


def test_answer_has_all_classes_and_keeps_no_file(client, trainings):
    answer = client.post("/classes/answer?training=known&backbone=a", content=b"bytes")
    assert answer.json() == {
        "answers": [{"label": "wren", "probability": 0.75}, {"label": "robin", "probability": 0.25}]
    }
    assert trainings.seen == [("known", "a", b"bytes")]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ImageError("image", "an image", "it is empty", "send another"), 400),
        (BusyError("busy", "", "a queue", "try again"), 503),
    ],
)
def test_answer_that_fails_is_a_sentence(client, trainings, error, status):
    trainings.error = error
    answer = client.post("/classes/answer?training=known&backbone=a", content=b"")
    assert (answer.status_code, answer.json()["detail"]) == (status, str(error))


def test_body_of_an_answer_has_the_limit_of_an_image(trainings):
    assert AnswerRoute("/classes/answer", trainings).max_body_bytes == 20 * 10**6


def test_folder_is_downloaded_under_its_name(client):
    answer = client.get("/classes/known/folder.zip?backbone=a&name=my birds")
    assert "my%20birds.zip" in answer.headers["content-disposition"]
    assert zipfile.ZipFile(io.BytesIO(answer.content)).namelist() == ["my birds/README.md"]
    answer = client.get("/classes/unknown/folder.zip?backbone=a&name=b")
    assert (answer.status_code, answer.json()["detail"][:4]) == (400, "job:")


def test_thumbnails_are_found_by_the_hash_of_an_image_and_nothing_else(trainings, tmp_path):
    collections = Collections(trainings.service, tmp_path / "classes")
    uploads = Uploads(trainings.service, tmp_path / "up", lambda config: config.training)
    collection, upload = collections.create(), uploads.create()
    Image.new("RGB", (900, 600), (9, 9, 9)).save(buffer := io.BytesIO(), "PNG")
    buffer.seek(0)
    uploads.add(upload, [("cat/1.png", buffer)])
    collections.add(collection, uploads, upload)
    [image] = collections.read(collection).classes[0].images
    client = TestClient(Starlette(routes=[ThumbnailRoute("/classes", collections.folder, 40, collections.image)]))
    answer = client.get(f"/classes/{collection}/thumbnail/{image}")
    assert Image.open(io.BytesIO(answer.content)).size == (480, 320)
    for key in ("0", "x" * 32, "..%5c..%5cclasses", "*"):
        assert client.get(f"/classes/{collection}/thumbnail/{key}").status_code == 404
    assert client.get(f"/classes/{'x' * 22}/thumbnail/{image}").status_code == 404


def test_page_is_there_unless_it_is_switched_off(assembled, fakes):
    on = assembled("backbones: ['fake:a']", [FEATURES["training"]])
    off = assembled("backbones: ['fake:a']\ntraining: {enabled: false}", [FEATURES["training"]])
    assert {"train", "add-now", "classes-link"} <= on.element_ids
    assert not {"train", "add-now", "classes-link"} & off.element_ids
    assert panel.routes(off.service) == []


@pytest.mark.parametrize(("training", "is_shown"), [("", False), ("training: {public: true}", True)])
def test_strangers_add_a_backbone_only_where_the_config_allows_it(assembled, fakes, training, is_shown):
    page = assembled(f"backbones: ['fake:a']\nshare: true\n{training}", [FEATURES["training"]])
    [button] = [each for each in page.demo.blocks.values() if each.elem_id == "add-now"]
    assert button.visible == is_shown
    texts = [str(getattr(each, "value", "")) for each in page.demo.blocks.values()]
    assert any("open to all" in text for text in texts) != is_shown
