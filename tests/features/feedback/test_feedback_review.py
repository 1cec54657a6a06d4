"""What the owner sees and decides."""

import hashlib
import json
import os
import threading
from pathlib import Path

import pytest
from feedback import Feedbacks, numbered_image, said

from lineup.errors import LineupError
from lineup.features.feedback import image_files, records, review
from lineup.features.feedback.records import Move
from lineup.features.feedback.review import Review
from lineup.images import labelled_folder


@pytest.fixture
def kept(tmp_path):
    return Feedbacks(tmp_path / "feedback")


def decisions(kept):
    return [(row["id"], row["decision"], row["label"]) for row in records.read_lines(kept.root / "reviews.jsonl")]


def reviewed_answers(kept):
    return records.read_answers([kept.root / "answers.jsonl"])


class FakeCopy:
    def __init__(self):
        self.moves: list[Move] = []

    def apply(self, moves):
        self.moves += moves


def test_disputed_images_come_first_then_the_oldest(kept):
    ids = []
    for number, (given, label) in enumerate([("jay", "jay"), ("owl", "jay"), ("jay", "jay"), ("wren", "jay")]):
        kept.clock.time_s += 1
        ids.append(kept.add(number, given, label).image)
    pending = kept.review.pending()
    assert [image.id for image in pending] == [ids[1], ids[3], ids[0], ids[2]]
    assert [image.is_disputed for image in pending] == [True, True, False, False]


def test_label_is_the_one_given_most_often(kept):
    for given in ("wren", "owl", "owl"):
        kept.add(1, given)
    [image] = kept.review.pending()
    assert (image.label, image.labels) == ("owl", (("owl", 2), ("wren", 1)))
    assert len(image.answers) == 3
    assert kept.review.image(image.id) == image.path


def test_accepted_image_moves_to_its_label_with_its_answers(kept):
    first, second = kept.add(1, "jay"), kept.add(2, "owl")
    assert kept.review.accept([first.image]) == 1
    assert [image.id for image in kept.review.pending()] == [second.image]
    path = f"accepted/jay/{first.image}.jpg"
    assert kept.files == [path, "accepted/metadata.jsonl", "answers.jsonl", f"unreviewed/owl/{second.image}.jpg"]
    assert (kept.root / path).read_bytes() == labelled_folder.encode(numbered_image(1))
    assert decisions(kept) == [(first.image, "accepted", "jay")]
    assert [(row.image, row.given) for row in reviewed_answers(kept)] == [(first.image, "jay")]


def test_label_is_changed_on_acceptance(kept):
    ids = [kept.add(number, "jay").image for number in range(3)]
    assert kept.review.accept(ids, "  blue   jay ") == 3
    assert all(path.startswith(("accepted/blue jay/", "accepted/meta", "answers")) for path in kept.files)
    with pytest.raises(LineupError, match="got a control character"):
        kept.review.accept([kept.add(4, "jay").image], "a\0b")
    assert len(kept.review.pending()) == 1


def test_class_that_a_backbone_said_may_be_long(kept):
    long = "x" * 150
    receipt = kept.add(1, "jay", long)
    assert kept.review.accept([receipt.image], long) == 1
    [(folder, _)] = image_files.by_folder(kept.root / "accepted")
    assert labelled_folder.label_of(folder) == long
    with pytest.raises(LineupError, match="at most 100 characters"):
        kept.review.accept([kept.add(2, "jay").image], "y" * 150)


def test_rejected_image_is_deleted_and_its_answer_kept(kept):
    receipt = kept.add(1, "nonsense")
    assert kept.review.reject([receipt.image, receipt.image]) == 1
    assert kept.files == ["answers.jsonl"]
    assert decisions(kept) == [(receipt.image, "rejected", "")]
    assert not (kept.root / "unreviewed" / "nonsense").exists()


def test_image_that_was_accepted_and_is_given_another_label_moves(kept):
    receipt = kept.add(1, "jay")
    kept.review.accept([receipt.image])
    assert kept.add(1, "owl").is_new
    [image] = kept.review.pending()
    assert image.labels == (("owl", 1),)  # the earlier answer is reviewed
    kept.review.accept([image.id])
    assert [name for name in kept.files if name.endswith(".jpg")] == [f"accepted/owl/{receipt.image}.jpg"]
    assert not (kept.root / "accepted" / "jay").exists()
    assert len(reviewed_answers(kept)) == 2
    assert kept.review.stats().n_answers == 2


def test_unknown_image_is_refused_before_anything_changes(kept):
    receipt = kept.add(1, "jay")
    before = kept.files
    for unknown in ("0" * 16, "../../etc/passwd", "", "x" * 10_000, None, receipt.image.upper() + "\n"):
        for decide in (kept.review.accept, kept.review.reject):
            with pytest.raises(LineupError, match="image: expected the id of an image"):
                decide([receipt.image, unknown])
        with pytest.raises(LineupError, match="image: expected the id of an image"):
            kept.review.image(unknown)
    assert kept.files == before


def test_files_of_others_are_not_accepted(kept):
    """Others may write to the data set on the Hub."""
    good = kept.add(1, "jay")
    folder = kept.root / "unreviewed" / "jay"
    (folder / f"{'0' * 16}.jpg").write_bytes(labelled_folder.encode(numbered_image(2)))
    (folder / f"{'1' * 16}.html").write_bytes(b"<script>")
    (folder / f"{'2' * 16}.jpg").mkdir()
    (folder / "deep").mkdir()
    (folder / "deep" / f"{'3' * 16}.jpg").write_bytes(b"x")
    ids = [image.id for image in kept.review.pending()]
    assert sorted(ids) == sorted([good.image, "0" * 16])
    with pytest.raises(LineupError, match=r"1 of 2 are not: 0{16}.jpg: .*; reject it; the others are accepted"):
        kept.review.accept(ids)
    assert [image.id for image in kept.review.pending()] == ["0" * 16]
    assert kept.review.reject(["0" * 16]) == 1


def test_content_that_is_no_image_is_not_accepted(kept):
    body = b"<script>alert(1)</script>"
    name = hashlib.sha256(body).hexdigest()[:16]
    (kept.root / "unreviewed" / "jay").mkdir(parents=True)
    (kept.root / "unreviewed" / "jay" / f"{name}.jpg").write_bytes(body)
    with pytest.raises(LineupError, match="expected images as they were uploaded"):
        kept.review.accept([name])
    assert not (kept.root / "accepted").exists()


def test_image_without_answers_has_the_label_of_its_folder(kept):
    receipt = kept.add(1, "a/b")
    for path in records.answers_files(kept.root / "unreviewed"):
        path.unlink()
    [image] = kept.review.pending()
    assert (image.label, image.labels, image.is_disputed) == ("a/b", (), False)
    assert kept.review.accept([receipt.image]) == 1


def test_deleting_lists_each_folder_once(kept, monkeypatch):
    ids = [kept.add(number, "jay").image for number in range(30)]
    listed, entries = [], records.entries
    monkeypatch.setattr(records, "entries", lambda folder: listed.append(folder.name) or entries(folder))
    kept.review.reject(ids)
    assert listed.count("jay") <= 3


@pytest.mark.parametrize("step", ["write_metadata", "append", "delete"])
def test_review_that_is_interrupted_is_completed_by_the_next(kept, monkeypatch, step):
    ids = [kept.add(number, "jay").image for number in range(3)]
    owner = {"write_metadata": review.accepted, "append": records, "delete": image_files}[step]

    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, fail)
        with pytest.raises(KeyboardInterrupt):
            kept.review.accept(ids)
    assert len(kept.review.pending()) == 3
    assert kept.review.accept(ids) == 3
    assert kept.review.pending() == []
    assert len(reviewed_answers(kept)) == 3
    lines = (kept.root / "accepted" / "metadata.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["file_name"] for line in lines) == sorted(f"jay/{name}.jpg" for name in ids)
    assert kept.review.stats().n_answers == 3


def test_two_owners_at_once_accept_each_image_once(kept):
    ids = [kept.add(number, "jay").image for number in range(40)]
    counts = []

    def accept():
        mine = Review(kept.collection)
        for name in ids:
            try:
                counts.append(mine.accept([name]))
            except LineupError:
                counts.append(0)

    threads = [threading.Thread(target=accept) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 40
    assert sorted(name for name, *_ in decisions(kept)) == sorted(ids)


def test_answer_that_is_given_during_a_review_is_not_lost(kept, monkeypatch):
    receipt = kept.add(1, "jay")
    delete = image_files.delete

    def give_another(paths):
        if paths := list(paths):
            kept.add(1, "owl")
        delete(paths)

    monkeypatch.setattr(review.image_files, "delete", give_another)
    kept.review.accept([receipt.image])
    monkeypatch.undo()
    kept.review.delete_old()
    assert sorted(row.given for row in reviewed_answers(kept)) == ["jay", "owl"]


def test_review_goes_in_batches_that_the_copy_gets(kept, monkeypatch):
    monkeypatch.setattr(review, "BATCH", 2)
    copy = FakeCopy()
    owner = Review(kept.collection, copy)
    first = kept.add(0, "jay")
    assert owner.accept([first.image]) == 1
    path = f"jay/{first.image}.jpg"
    assert copy.moves == [Move(first.image, "accepted", "jay", f"accepted/{path}", (f"unreviewed/{path}",))]
    ids = [kept.add(number, "jay").image for number in range(1, 6)]
    assert owner.reject(ids) == 5
    assert [move.decision for move in copy.moves[1:]] == ["rejected"] * 5
    assert len(reviewed_answers(kept)) == 6


def test_stats_are_corrections_by_backbone_and_class(kept):
    kept.add(1, "jay", "jay", "owl")
    kept.add(2, "wren", "jay", "owl")
    accepted = kept.add(3, "wren", "jay")
    rejected = kept.add(4, "nonsense", "jay")
    kept.review.accept([accepted.image])
    kept.review.reject([rejected.image])
    stats = kept.review.stats()
    assert (stats.n_pending, stats.n_disputed, stats.n_accepted, stats.n_rejected, stats.n_answers) == (2, 2, 1, 1, 3)
    rates = {(rate.backbone, rate.label): (rate.n, rate.n_corrected) for rate in stats.rates}
    assert rates == {("a", ""): (3, 2), ("a", "jay"): (3, 2), ("b", ""): (2, 2), ("b", "owl"): (2, 2)}


def test_last_decision_is_that_of_the_latest_time(kept):
    """Replicas append the lines of others to their own."""
    kept.root.mkdir()
    name = "0" * 16
    rows = [("rejected", "2030-01-02"), ("accepted", "2030-01-03"), ("rejected", "2030-01-01")]
    lines = [records.to_line({"id": name, "decision": each, "label": "", "time": time}) for each, time in rows]
    (kept.root / "reviews.jsonl").write_bytes(b"[]\n" + b"".join(lines))
    assert kept.review.stats().n_rejected == 0


def test_empty_collection_has_nothing_to_review(kept):
    assert kept.review.pending() == []
    assert kept.review.delete_old() == 0
    assert kept.review.accept([]) == 0
    assert kept.review.stats().n_answers == 0
    assert not kept.root.exists()


def test_folder_that_cannot_be_read_is_a_sentence(kept, monkeypatch):
    kept.add(1, "jay")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(LineupError, match="expected a folder that can be read; Permission denied"):
        kept.review.pending()


def test_pending_does_not_compare_each_answer_with_each_image(kept, monkeypatch):
    (kept.root / "unreviewed" / "jay").mkdir(parents=True)
    rows = [records.AnswerRow(f"{n:016x}", "jay", (said("jay"),), "2030-01-01T00:00:00", True) for n in range(3000)]
    (kept.root / "unreviewed" / "answers-1.jsonl").write_bytes(b"".join(row.to_line() for row in rows))
    parsed = []
    from_json = records.AnswerRow.from_json
    monkeypatch.setattr(records.AnswerRow, "from_json", lambda value: parsed.append(1) or from_json(value))
    for row in rows[:500]:
        Path(kept.root, "unreviewed", "jay", f"{row.image}.jpg").touch()
    assert len(kept.review.pending()) == 500
    assert len(parsed) == 3000


def test_stats_read_each_answer_once(kept, monkeypatch):
    for number in range(3):
        kept.add(number, "jay")
    parsed = []
    from_json = records.AnswerRow.from_json
    monkeypatch.setattr(records.AnswerRow, "from_json", lambda value: parsed.append(1) or from_json(value))
    assert kept.review.stats().n_answers == 3
    assert len(parsed) == 3
