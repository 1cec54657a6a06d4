"""Zip files: what is unpacked, and what is refused before anything is written."""

import stat
import zipfile

import pytest
from drawing import draw

from lineup.errors import LineupError
from lineup.images import image_set
from lineup.images.archive import ArchiveLimits, unpack


@pytest.fixture
def jpeg(tmp_path):
    return draw(tmp_path / "source.jpg").read_bytes()


def packed(tmp_path, files, **options):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, body in files:
            archive.writestr(name, body)
    return path


def unpacked(path, tmp_path, limits=None):
    folder = tmp_path / "unpacked"
    unpack(path, folder, limits)
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


def test_all_files_but_hidden_ones_are_unpacked(tmp_path, jpeg):
    kept = ["set/cat/1.jpg", "set/cat/noname", "set/dog/2.HEIC", "set/inner.zip", "set/labels.TSV"]
    hidden = ["__MACOSX/._1.jpg", ".git/1.jpg", "a/.DS_Store", "Thumbs.db", "a/Desktop.ini"]
    assert unpacked(packed(tmp_path, [(name, jpeg) for name in [*kept, *hidden]]), tmp_path) == kept


def test_zip_file_has_the_images_and_problems_of_its_folder(tmp_path, jpeg):
    files = {"cat/1.jpg": jpeg, "cat/2.heic": b"\0\0\0\x18ftypheic", "inner.zip": b"PK\x03\x04", "notes.txt": b"notes"}
    for name, body in files.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(body)
    unpack(packed(tmp_path, files.items()), tmp_path / "unpacked")
    of_zip, of_folder = image_set.collect(tmp_path / "unpacked", "set"), image_set.collect(tmp_path / "set")
    assert of_zip.unreadable == of_folder.unreadable
    assert [each["where"] for each in of_zip.unreadable] == ["cat/2.heic", "inner.zip", "notes.txt"]
    assert [image.name for image in of_zip.images] == [image.name for image in of_folder.images]


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


REFUSED = [
    ([("../1.jpg", b"x")], "a path inside the folder"),
    ([("a/../../1.jpg", b"x")], "a path inside the folder"),
    ([("/etc/1.jpg", b"x")], "a path inside the folder"),
    ([("C:\\1.jpg", b"x")], "a path inside the folder"),
    ([("a\\..\\..\\1.jpg", b"x")], "a path inside the folder"),
    ([(link("1.jpg"), b"/etc/passwd")], "is a link or a device"),
    ([("/".join("a" * 13) + "/1.jpg", b"x")], "at most 12 names"),
    ([(f"{'a' * 300}.jpg", b"x")], "at most 240 bytes"),
    ([("1.jpg", bytes(10**7))], "grows 1,0"),
    ([("a.JPG", b"x"), ("A.jpg", b"x")], "names that differ"),
    ([("a/1.jpg", b"x"), ("a", b"x")], "is both"),
]


@pytest.mark.parametrize(("files", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_dangerous_archive_is_refused_and_writes_nothing(tmp_path, files, message):
    path = packed(tmp_path, files, compression=zipfile.ZIP_DEFLATED)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LineupError, match=message):
        unpack(path, tmp_path / "unpacked")
    assert not any((tmp_path / "unpacked").iterdir())
    assert sorted(each for each in tmp_path.rglob("*") if each.name != "unpacked") == before


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ArchiveLimits(max_files=1), "at most 1 files; got 2"),
        (ArchiveLimits(max_bytes=1000), "MB unpacked"),
        (ArchiveLimits(max_file_bytes=1000), "files of at most 0 MB"),
    ],
)
def test_archive_over_a_limit_is_refused(tmp_path, jpeg, limits, message):
    with pytest.raises(LineupError, match=message):
        unpack(packed(tmp_path, [("1.jpg", jpeg), ("2.jpg", jpeg)]), tmp_path / "unpacked", limits)


def test_damaged_archives_are_refused_and_leave_nothing(tmp_path, jpeg):
    whole = packed(tmp_path, [("1.jpg", jpeg), ("2.jpg", jpeg)]).read_bytes()
    middle = bytearray(whole)
    middle[len(jpeg) // 2] ^= 255
    for body in (b"", b"no zip", whole[: len(whole) // 2], bytes(middle)):
        path = tmp_path / "damaged.zip"
        path.write_bytes(body)
        with pytest.raises(LineupError, match="damaged or cut off"):
            unpack(path, tmp_path / "unpacked")
        assert not any((tmp_path / "unpacked").iterdir())


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_found_whatever_the_compression(tmp_path, jpeg, method):
    whole = bytearray(packed(tmp_path, [("1.jpg", jpeg)], compression=method).read_bytes())
    whole[50:90] = bytes(40)
    (tmp_path / "damaged.zip").write_bytes(whole)
    with pytest.raises(LineupError, match=r"pets\.zip: expected a zip file of images; it is damaged or cut off"):
        unpack(tmp_path / "damaged.zip", tmp_path / "unpacked", name="pets.zip")
    assert not any((tmp_path / "unpacked").iterdir())


def test_file_larger_than_it_states_is_refused(tmp_path):
    path = packed(tmp_path, [("1.jpg", b"a" * 5000)], compression=zipfile.ZIP_DEFLATED)
    body = path.read_bytes().replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little"))
    path.write_bytes(body)
    with pytest.raises(LineupError):
        unpack(path, tmp_path / "unpacked")
    assert not any((tmp_path / "unpacked").iterdir())


def test_archive_with_a_password_is_refused(tmp_path, jpeg):
    path = packed(tmp_path, [("1.jpg", jpeg)])
    body = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        body[body.index(signature) + offset] |= 1
    path.write_bytes(bytes(body))
    with pytest.raises(LineupError, match="without a password"):
        unpack(path, tmp_path / "unpacked")
