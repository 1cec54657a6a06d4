"""What was accepted is read by the libraries that it is for, `datasets` and torchvision, and by Lineup itself."""

import json
import shutil

import pytest
from feedback import Feedbacks

from lineup.errors import LineupError
from lineup.images import labelled_folder

HOSTILE = [
    *(
        "../../escape",
        "/abs",
        "..",
        "a\\b",
        "C:\\x",
        "a::b",
        "<script>alert(1)</script>",
        "{{ 7*7 }}",
        "$HOME",
        "${PATH}",
    ),
    *("metadata.jsonl", "metadata.csv", "METADATA.parquet", "label.txt", "cat.jpg", "cat.zip", "x.tar.gz", ".hidden"),
    *("*", "?", "[x]", "**", "-rf", "~", "~root", "%41", "100%", "CON", "__pycache__", "a#b", "Cardigan", "cardigan"),
    *(
        "train",
        "val",
        "test",
        "bullet train",
        "images",
        "鳥" * 90,
        "\U0001f469\u200d\U0001f52c",
        "e\u0301",
        "نص",
        '"x"',
    ),
]


@pytest.fixture
def kept(tmp_path):
    return Feedbacks(tmp_path / "feedback")


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that loads a folder with `datasets`, as rows of label and content, without network."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()

    def load(folder):
        found = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "cache"))
        assert list(found) == ["train"]
        rows = found["train"].cast_column("image", datasets.Image(decode=False))
        return [(row.get("label"), row["image"]["path"].rpartition("/")[2]) for row in rows]

    return load


def accepted(kept, *labels):
    receipts = [kept.add(number, label) for number, label in enumerate(labels)]
    kept.review.accept([receipt.image for receipt in receipts])
    return sorted((receipt.given, f"{receipt.image}.jpg") for receipt in receipts)


def test_labels_stay_although_there_is_a_metadata_file(kept, load):
    """With a metadata.jsonl, `datasets` takes labels from its column `label` alone, and not from folders."""
    expected = accepted(kept, "jay", "owl")
    assert sorted(load(kept.root / "accepted")) == expected
    path = kept.root / "accepted" / "metadata.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{json.dumps({'file_name': row['file_name']})}\n" for row in rows))
    assert {label for label, _ in load(kept.root / "accepted")} == {None}  # the trap


def test_metadata_is_in_one_file_at_the_top(kept, load, tmp_path):
    """With a metadata.jsonl in each label's folder, `datasets` loses labels without a word."""
    expected = accepted(kept, "jay", "owl")
    assert [path.parent for path in kept.root.rglob("metadata.jsonl")] == [kept.root / "accepted"]
    trap = tmp_path / "trap"
    shutil.copytree(kept.root / "accepted", trap)
    (trap / "metadata.jsonl").unlink()
    for label, name in expected:
        (trap / label / "metadata.jsonl").write_text(json.dumps({"file_name": name, "said": "jay"}))
    assert {label for label, _ in load(trap)} == {None}  # the trap


def test_single_class_keeps_its_label(kept, load, tmp_path):
    """With a single folder and no metadata, `datasets` drops the column of labels."""
    expected = accepted(kept, "jay", "jay")
    assert sorted(load(kept.root / "accepted")) == expected
    trap = tmp_path / "trap"
    shutil.copytree(kept.root / "accepted", trap)
    (trap / "metadata.jsonl").unlink()
    assert {label for label, _ in load(trap)} == {None}  # the trap


def test_hostile_labels_arrive_in_datasets_and_in_lineup(kept, load):
    expected = accepted(kept, *HOSTILE)
    assert sorted(load(kept.root / "accepted")) == expected
    found = labelled_folder.read(kept.root / "accepted")
    assert sorted((image.label, image.path.name) for image in found.images) == expected
    assert found.problems == ()


def test_torchvision_reads_images_and_labels(kept):
    from torchvision.datasets import ImageFolder

    expected = accepted(kept, "jay", "owl", "owl", *HOSTILE)
    found = ImageFolder(str(kept.root / "accepted"))
    assert len(found) == len(expected)
    assert {"jay", "owl"} <= set(found.classes)
    assert len(found.classes) == len({label for label, _ in expected})
    image, target = found[0]
    assert image.mode == "RGB"
    assert target == 0


def test_torchvision_reads_it_after_a_class_lost_its_last_image(kept):
    from torchvision.datasets import ImageFolder

    long = "鳥" * 100  # its folder has a file with the label
    accepted(kept, "jay", long)
    for number in range(2):
        kept.review.accept([kept.add(number, "owl").image])
    assert ImageFolder(str(kept.root / "accepted")).classes == ["owl"]


def test_export_is_the_same_data_set(kept, load, tmp_path):
    expected = accepted(kept, "jay", "鳥" * 100, "a/b")
    assert kept.review.export(tmp_path / "new" / "birds") == 3
    assert sorted(load(tmp_path / "new" / "birds")) == expected
    found = labelled_folder.read(tmp_path / "new" / "birds")
    assert sorted((image.label, image.path.name) for image in found.images) == expected


def test_export_refuses_what_would_be_overwritten_or_is_inside(kept, tmp_path):
    with pytest.raises(LineupError, match="expected accepted images; none is accepted yet"):
        kept.review.export(tmp_path / "out")
    accepted(kept, "jay")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert kept.review.export(tmp_path / "empty") == 1
    for name in ("full", "file", "link", "empty"):
        with pytest.raises(LineupError, match="expected a new folder; there is one"):
            kept.review.export(tmp_path / name)
    for folder in (kept.root, kept.root / "accepted" / "out", kept.root / "x" / ".." / "out"):
        with pytest.raises(LineupError, match="outside that of feedback"):
            kept.review.export(folder)
    for name in ("file/out", "x" * 300):
        with pytest.raises(LineupError, match="writing failed"):
            kept.review.export(tmp_path / name)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(LineupError, match="expected a new folder"):
        kept.review.export(loop)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]


def test_export_follows_no_links(kept, tmp_path):
    accepted(kept, "jay", "owl")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / f"{'0' * 16}.jpg").write_bytes(b"secret")
    (kept.root / "accepted" / "linked").symlink_to(secret)
    (kept.root / "accepted" / "jay" / f"{'1' * 16}.jpg").symlink_to(secret / f"{'0' * 16}.jpg")
    assert kept.review.export(tmp_path / "out") == 2
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 2
