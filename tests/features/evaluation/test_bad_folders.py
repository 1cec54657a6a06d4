"""Folders that hardly can be evaluated: each ends in a report with a sentence, as JSON, text and files."""

import errno
import json
import os
import shutil
import zipfile

import pytest
from drawing import draw

from lineup.errors import LineupError
from lineup.features.evaluation import exports, reading, text
from lineup.features.evaluation.run import Evaluations
from lineup.images import archive, image_set


@pytest.fixture
def report(make_service, fakes, tmp_path, monkeypatch):
    """Return a function that evaluates two backbones on images: paths in a folder, and seeds of their contents."""
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    fakes.logits |= {"a": [9.0, 1.0, 0.0], "b": [0.0, 9.0, 1.0]}
    service = make_service("backbones: ['fake:a', 'fake:b']")

    def evaluate(files):
        for name, seed in files.items():
            (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
            draw(tmp_path / "pets" / name, seed=seed, size=(40, 30))
        evaluations = Evaluations(service)
        evaluation = evaluations.create(image_set.collect(tmp_path / "pets"), ["fake:a", "fake:b"])
        assert evaluations.run(evaluation).state == "done"
        found = reading.report(evaluations, evaluation)
        json.dumps(found.to_json(), allow_nan=False)
        assert text.report(found)
        assert exports.write_all(found, tmp_path / "out", "the command", service.config)
        return found

    return evaluate


FOLDERS = [
    ({"cat/1.png": 1}, "Only one label is scored, so every answer is right", 1),
    ({"cat/1.png": 1, "dog/2.png": 2}, " is right on 1 of 2", 2),
    ({f"cat/{seed}.png": seed for seed in range(4)}, " is right on 4 of 4", 4),
    ({"cat/1.png": 1, "2.png": 2}, "1 file without a label is not scored.", 2),
    ({"cat/1.png": 1, "cat/2.png": 1, "dog/3.png": 3}, "1 file repeats another, and is left out.", 2),
    ({"cat/1.png": 1, "dog/2.png": 1, "dog/3.png": 3}, "noise in the labels: cat/1.png and dog/2.png are the same", 1),
    ({"cow/1.png": 1, "zzyzx/2.png": 2}, "cow: no backbone has a class for it", 2),
    ({"1.png": 1}, "", 1),
]


@pytest.mark.parametrize(("files", "sentence", "count"), FOLDERS)
def test_small_or_odd_folder_has_a_report(report, files, sentence, count):
    found = report(files)
    assert len(found.images.images) == count
    assert sentence in " ".join([found.verdict.to_json()["sentence"] if found.is_labelled else "", *found.notes])


def test_names_that_are_not_utf_8_are_written_everywhere(report):
    found = report({os.fsdecode(b"c\xffat/\xfe.png"): 1, "dog/2.png": 2})
    assert [image.name for image in found.images.images] == ["c\ufffdat/\ufffd.png", "dog/2.png"]


def test_same_image_under_two_labels_alone_is_an_error(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        draw(tmp_path / "pets" / label / "1.png")
    with pytest.raises(LineupError, match="each image is there under several labels, such as cat and dog"):
        image_set.collect(tmp_path / "pets")


def test_full_disk_leaves_nothing_of_an_archive(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for index in range(2):
            file.write(draw(tmp_path / f"{index}.png", seed=index), f"cat/{index}.png")
    write = archive._write

    def full(packed, member, target):
        if member.filename.endswith("1.png"):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(packed, member, target)

    monkeypatch.setattr(archive, "_write", full)
    with pytest.raises(LineupError, match=r"a\.zip: .* \(No space left on device\); free some space"):
        archive.unpack(tmp_path / "a.zip", tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []


def test_archive_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.write(draw(tmp_path / "1.png"), "cat/1.png")
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(LineupError, match="at most half of the free disk space"):
        archive.unpack(tmp_path / "a.zip", tmp_path / "in")


def test_thirty_thousand_files_are_over_the_limit_before_any_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        for index in range(30_000):
            file.writestr(f"cat/{index}.jpg", b"")
    with pytest.raises(LineupError, match="expected at most 500 files; got 30,000; pack fewer, or use the command"):
        archive.unpack(tmp_path / "a.zip", tmp_path / "in", archive.ArchiveLimits(max_files=500))
