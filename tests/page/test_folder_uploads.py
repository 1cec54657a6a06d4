"""Folders that browsers upload: their paths are kept, limits hold, and nothing leads out of the folder."""

import io
import os
import time
import zipfile

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lineup.errors import LineupError
from lineup.page import folder_uploads as module
from lineup.page.folder_uploads import PATH, UploadRoute, Uploads


@pytest.fixture
def served(make_service, fakes, tmp_path):
    """A client of the route, and the uploads behind it; at most five files and 1 MB."""
    service = make_service("evaluation: {max_images: 5, max_mb: 1}\nbackbones: ['fake:a']")
    uploads = Uploads(service, tmp_path / "uploads")
    return TestClient(Starlette(routes=[UploadRoute(uploads)])), uploads


def body(seed=0):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (seed, 100, 50)).save(buffer, "PNG")
    return buffer.getvalue()


def post(client, files, upload=""):
    parts = [(name, ("x", data, "image/png")) for name, data in files]
    return client.post(PATH, params={"id": upload} if upload else {}, files=parts)


def test_paths_in_the_folder_become_labels(served):
    client, uploads = served
    answer = post(client, [("pets/cat/1.jpg", body(1)), ("pets/dog/2.jpg", body(2)), ("pets/dog/ü 3.jpg", body(3))])
    assert answer.status_code == 200
    images = uploads.images(answer.json()["id"])
    assert images.name == "pets"
    assert [(image.name, image.label) for image in images.images] == [
        ("cat/1.jpg", "cat"),
        ("dog/2.jpg", "dog"),
        ("dog/ü 3.jpg", "dog"),
    ]


def test_a_folder_may_come_in_several_bodies(served):
    client, uploads = served
    upload = post(client, [("cat/1.jpg", body(1))]).json()["id"]
    assert post(client, [("dog/2.jpg", body(2))], upload).json()["id"] == upload
    assert uploads.images(upload).labels == ["cat", "dog"]


def test_zip_file_is_unpacked(served):
    client, uploads = served
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cat/1.jpg", body(1))
        archive.writestr("dog/2.jpg", body(2))
    upload = post(client, [("pets.zip", buffer.getvalue())]).json()["id"]
    assert uploads.images(upload).labels == ["cat", "dog"]


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for seed, name in enumerate(names):
            archive.writestr(name, body(seed))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["...zip", "..zip", ".zip", "a/...zip", "a\\..\\...zip", "a\\..\\..\\b.zip"])
@pytest.mark.parametrize("content", [zipped("cat/1.jpg"), b"no zip file"], ids=["whole", "damaged"])
def test_zip_file_named_like_a_parent_folder_is_refused(served, name, content, tmp_path):
    client, uploads = served
    other = post(client, [("cat/1.jpg", body(1))]).json()["id"]
    answer = post(client, [(name, content)])
    assert answer.status_code == 400
    assert "a path" in answer.json()["detail"]
    assert len(uploads.images(other).images) == 1
    assert all(len(path.name) == 22 for path in (tmp_path / "uploads").iterdir())  # ids


def test_zip_file_does_not_replace_a_folder_of_its_name(served):
    client, uploads = served
    upload = post(client, [("pets/cat/1.jpg", body(1))]).json()["id"]
    answer = post(client, [("pets.zip", zipped("cat/1.jpg"))], upload)
    assert (answer.status_code, "is there already" in answer.json()["detail"]) == (400, True)
    assert [image.name for image in uploads.images(upload).images] == ["cat/1.jpg"]


def test_limit_on_files_is_that_of_all_bodies_together(served):
    client, _ = served
    upload = post(client, [("pets.zip", zipped(*(f"cat/{index}.jpg" for index in range(4))))]).json()["id"]
    assert post(client, [("dog/1.jpg", body(9))], upload).status_code == 200
    answer = post(client, [("dog/2.jpg", body(10))], upload)
    assert answer.json()["detail"].startswith("upload: expected at most 5 files; got 6")


def test_files_are_counted_once_for_each_body(served, monkeypatch):
    client, counted, used = served[0], [], module._used
    monkeypatch.setattr(module, "_used", lambda path: counted.append(path.is_dir()) or used(path))
    post(client, [(f"cat/{index}.jpg", body(index)) for index in range(4)])
    assert counted.count(True) == 1


@pytest.mark.parametrize("name", ["../1.jpg", "a/../../1.jpg", "/tmp/1.jpg", "C:/1.jpg", "a\\..\\..\\1.jpg", "..", ""])
def test_name_that_leads_out_of_the_folder_is_refused(served, name, tmp_path):
    client, _ = served
    before = {path for path in tmp_path.rglob("*") if "uploads" not in path.parts}
    answer = post(client, [(name, body())])
    if name:
        assert answer.status_code == 400
        assert "a path" in answer.json()["detail"]
    assert {path for path in tmp_path.rglob("*") if "uploads" not in path.parts} == before


@pytest.mark.parametrize("upload", ["x" * 22, "../../../../etc/passwd", "a/b", "..", "%2e%2e"])
def test_unknown_upload_is_refused(served, upload):
    client, _ = served
    answer = post(client, [("1.jpg", body())], upload)
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "upload: expected the id of an upload; there is none any more; choose the folder again",
    )


def test_too_many_files_are_refused_in_a_sentence(served):
    client, _ = served
    answer = post(client, [(f"cat/{index}.jpg", body(index)) for index in range(6)])
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("upload: expected at most 5 files; got 6")


def test_too_many_bytes_are_refused_in_a_sentence(served):
    client, _ = served
    answer = post(client, [("cat/1.jpg", bytes(600_000)), ("cat/2.jpg", bytes(600_000))])
    assert answer.status_code == 400
    assert "at most 1 MB" in answer.json()["detail"]


def test_the_same_name_twice_is_refused(served):
    client, _ = served
    answer = post(client, [("cat/1.jpg", body(1)), ("cat/1.jpg", body(2))])
    assert answer.status_code == 400
    assert "is there already" in answer.json()["detail"]


def test_old_uploads_are_deleted_when_another_begins(served):
    client, uploads = served
    old, new = (post(client, [("cat/1.jpg", body(1))]).json()["id"] for _ in range(2))
    past = time.time() - module.KEEP_S - 1
    os.utime(uploads.folder(old), (past, past))
    post(client, [("cat/1.jpg", body(1))])
    assert uploads.images(new)
    with pytest.raises(LineupError):
        uploads.folder(old)


def test_moved_upload_is_read_in_its_new_place(served, tmp_path):
    client, uploads = served
    upload = post(client, [("pets/cat/1.jpg", body(1))]).json()["id"]
    images = uploads.move(upload, tmp_path / "kept")
    assert images.images[0].path == str((tmp_path / "kept" / "pets" / "cat" / "1.jpg").resolve())
    with pytest.raises(LineupError):
        uploads.folder(upload)
