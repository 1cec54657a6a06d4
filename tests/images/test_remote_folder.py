"""Folders that are listed without reading their images."""

import os

import pytest
from PIL import Image
from s3 import S3

from lineup.errors import LineupError
from lineup.images import labelled_folder, remote_folder

pytest.importorskip("pyarrow")
NAMES = ["train/wren/1.jpg", "train/owl/2.png", "test/wren/3.jpg", "test/owl/.hidden.jpg", "__pycache__/4.jpg"]


def put(folder, names=NAMES):
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number * 40, 99, 77)).save(folder / name)
    return folder


def objects(folder, prefix=""):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {f"{prefix}{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files}


def described(listing):
    return [(file.name, file.described.label, file.described.split, file.described.group) for file in listing.files]


@pytest.fixture
def s3(tmp_path, monkeypatch):
    """Return a bucket with a folder of images; each answer lists two objects."""
    (folder := tmp_path / "birds").mkdir()
    put(folder)
    (folder / "metadata.csv").write_text("file,label,group\ntest/wren/3.jpg,robin,g1\ntrain/owl/none.jpg,owl,g2\n")
    with S3({"photos": objects(folder, "my birds/"), "empty": {}}, page=2) as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        yield server


def test_a_folder_is_listed_with_the_labels_that_reading_it_gives(tmp_path):
    put(tmp_path)
    read = labelled_folder.read(tmp_path)
    found = remote_folder.list_files(str(tmp_path))
    assert described(found) == [
        (image.path.relative_to(tmp_path).as_posix(), image.label, image.split, image.group) for image in read.images
    ]
    assert [file.size for file in found.files] == [(tmp_path / file.name).stat().st_size for file in found.files]


def test_a_bucket_is_listed_as_a_folder_is_page_by_page_and_no_image_is_read(s3, tmp_path):
    here = remote_folder.list_files(str(tmp_path / "birds"))
    found = remote_folder.list_files("s3://photos/my birds")
    assert described(found) == described(here)
    assert ("test/wren/3.jpg", "robin", "test", "g1") in described(found)
    assert [str(each) for each in found.problems] == [str(each) for each in here.problems]
    assert "names others, such as 'train/owl/none.jpg'" in str(found.problems[0])
    assert s3.requests["GET", ""] >= 3  # pages
    assert not [key for (method, key) in s3.requests if method == "GET" and key.endswith((".jpg", ".png"))]
    opened = remote_folder.open_folder(found.address)
    assert remote_folder.read_bytes(opened, found.files[0].name, 1 << 20) == (
        (tmp_path / "birds" / found.files[0].name).read_bytes()
    )
    assert remote_folder.read_bytes(opened, found.files[0].name, 3) == b"\xff\xd8\xff"


def test_a_version_changes_with_the_file(tmp_path):
    put(tmp_path, ["wren/1.jpg"])
    (before,) = remote_folder.list_files(str(tmp_path)).files
    os.utime(tmp_path / "wren/1.jpg", ns=(1, 1))
    (after,) = remote_folder.list_files(str(tmp_path)).files
    assert before.version != after.version


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "s3://nowhere/x",
            "s3://nowhere/x: expected a folder that s3 can list; there is no such bucket; check the address, and "
            "AWS_ENDPOINT_URL",
        ),
        (
            "s3://photos/nothing",
            "s3://photos/nothing: expected a folder that s3 can list; there is no such folder, or it is empty; check "
            "the address",
        ),
        ("s3://empty", "s3://empty: expected images; it has none; choose a folder of images"),
        (
            "s3:///x",
            "s3:///x: expected the address of a folder, such as s3://bucket/folder; there is no name of a bucket; "
            "check the address, and what is installed",
        ),
        (
            "sx3://photos/x",
            "sx3://photos/x: expected the address of a folder, such as s3://bucket/folder; Protocol not known: sx3; "
            "check the address, and what is installed",
        ),
    ],
)
@pytest.mark.usefixtures("s3")
def test_a_wrong_address_is_told(address, message):
    with pytest.raises(LineupError) as caught:
        remote_folder.list_files(address)
    assert str(caught.value) == message


def test_wrong_credentials_are_told(s3, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone else")
    remote_folder._s3_system.cache_clear()
    with pytest.raises(LineupError) as caught:
        remote_folder.list_files("s3://photos/my birds")
    assert caught.value.got == "access was denied"
    assert "AWS_ACCESS_KEY_ID" in caught.value.remedy


def test_what_fsspec_opens_is_listed(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    put(tmp_path)
    memory = fsspec.filesystem("memory")
    for name, content in objects(tmp_path).items():
        memory.pipe(f"/birds/{name}", content)
    try:
        assert described(remote_folder.list_files("memory://birds")) == described(
            remote_folder.list_files(str(tmp_path))
        )
    finally:
        memory.rm("/birds", recursive=True)
