"""The files of an evaluation: the same figures as the page, for those who have its id only."""

import asyncio
import csv
import io
import json
import os
import time
import zipfile
from types import SimpleNamespace

import gradio as gr
import pytest
from drawing import draw
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lineup.analysis.labelling import session
from lineup.features.evaluation import gallery, labelling, panel, reading
from lineup.features.evaluation.downloads import DownloadRoute
from lineup.features.evaluation.run import Evaluations
from lineup.images import image_set
from lineup.page.connections import Connections
from lineup.page.folder_uploads import Uploads
from lineup.server.sessions import Sessions
from lineup.server.uploads import sweeping


@pytest.fixture
def service(make_service, fakes, tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    fakes.logits |= {"a": [9.0, 1.0, 0.0], "b": [0.0, 9.0, 1.0]}
    return make_service("backbones: ['fake:a', 'fake:b']")


@pytest.fixture
def served(service, tmp_path):
    """A client of the route, and a finished evaluation of two cats and a dog."""
    for index in range(3):
        draw(tmp_path / f"{index}.jpg", seed=index)
    (tmp_path / "metadata.csv").write_text("file_name,label\n0.jpg,cat\n1.jpg,cat\n2.jpg,../d:og\n")
    evaluations = Evaluations(service)
    evaluation = evaluations.create(image_set.collect(tmp_path, "my pets"), service.names)
    evaluations.choose(evaluation, {"../d:og": ["dog"]})
    evaluations.run(evaluation)
    return SimpleNamespace(
        client=TestClient(Starlette(routes=[DownloadRoute(evaluations)])), id=evaluation, evaluations=evaluations
    )


@pytest.mark.parametrize("name", ["report.html", "report.json", "predictions.csv", "predictions.json", "mapping.yaml"])
def test_file_is_an_attachment(served, name):
    answer = served.client.get(f"/evaluation/{served.id}/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["cache-control"] == "no-store"


def test_figures_are_those_of_the_page(served):
    report = reading.report(served.evaluations, served.id)
    assert served.client.get(f"/evaluation/{served.id}/report.json").json() == json.loads(json.dumps(report.to_json()))
    text = served.client.get(f"/evaluation/{served.id}/predictions.csv").content.decode("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(text, newline="")))) == 6
    html = served.client.get(f"/evaluation/{served.id}/report.html", params={"scoring": "anywhere"}).text
    assert "--scoring anywhere --mapping mapping.yaml" in html


def test_differing_images_come_as_an_imagefolder(served, tmp_path):
    body = served.client.get(f"/evaluation/{served.id}/differing.zip").content
    archive = zipfile.ZipFile(io.BytesIO(body))
    assert archive.testzip() is None
    archive.extractall(tmp_path / "out")
    images = image_set.collect(tmp_path / "out")
    assert images.labels == ["../d:og", "cat"]
    assert len(images.images) == 3


def test_labelled_images_come_as_an_imagefolder(served, tmp_path):
    hashes = [image.sha256 for image in image_set.collect(tmp_path).images]
    for image, right in zip(hashes, (["dog"], [], ["cat", "dog"]), strict=True):
        labelling.append(served.evaluations.folder(served.id), {"image": image, "right": right})
    answer = served.client.get(f"/evaluation/{served.id}/labelled.zip")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() == [f"dog/{hashes[0][:32]}.jpg", f"cat/{hashes[2][:32]}.jpg"]
    assert archive.read(archive.namelist()[0]) == (tmp_path / "0.jpg").read_bytes()
    report = reading.report(served.evaluations, served.id)
    shown = gallery.labelling(report, served.id, session(report, labelling.read(served.evaluations.folder(served.id))))
    assert f'href="evaluation/{served.id}/labelled.zip"' in shown


@pytest.mark.parametrize("evaluation", ["a" * 16, "..", "%2e%2e", "a", "..%2f..%2fetc", "%00"])
def test_unknown_id_is_404_in_a_sentence(served, evaluation):
    answer = served.client.get(f"/evaluation/{evaluation}/report.json")
    assert answer.status_code == 404


@pytest.mark.parametrize("name", ["job.json", "..%2fjob.json", "images.json", "x", "logits-0.f32"])
def test_other_files_of_the_folder_are_not_served(served, name):
    assert served.client.get(f"/evaluation/{served.id}/{name}").status_code == 404


def test_unknown_scoring_is_400(served):
    answer = served.client.get(f"/evaluation/{served.id}/report.json?scoring=x")
    assert (answer.status_code, "among or anywhere" in answer.json()["detail"]) == (400, True)


@pytest.mark.parametrize(("number", "status"), [(28, 507), (2, 404)])
def test_disk_that_fails_is_a_sentence(served, monkeypatch, number, status):
    def failing(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(reading, "report", failing)
    answer = served.client.get(f"/evaluation/{served.id}/report.json")
    assert answer.status_code == status
    assert os.strerror(number) in answer.json()["detail"]


def test_disabled_feature_has_no_route_and_no_link(make_service, fakes):
    service = make_service("evaluation: {enabled: false}\nbackbones: ['fake:a']")
    assert panel.routes(service) == []
    assert not panel.LinkPanel().applies(service)


def test_old_images_are_deleted_without_an_upload(service, tmp_path):
    uploads = Uploads(service)
    folder = uploads.folder(uploads.create())
    os.utime(folder, (time.time() - 10**6,) * 2)

    async def serve():
        page = gr.Blocks()
        async with sweeping(page, Sessions(page, Connections()), panel.routes(service))(None):
            while folder.exists():
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(serve(), 10))
