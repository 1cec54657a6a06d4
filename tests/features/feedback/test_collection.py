"""What is kept of an answer, by threads and processes at once, and what happens where it cannot be."""

import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from feedback import START_S, Feedbacks, numbered_image, said
from PIL import Image

from lineup.errors import BusyError, LineupError
from lineup.features.feedback import collection, image_files, records
from lineup.features.feedback.records import AnswerRow
from lineup.images import labelled_folder

ROOT = Path(__file__).parents[3]


@pytest.fixture
def kept(tmp_path):
    return Feedbacks(tmp_path / "feedback")


def rows(kept):
    return records.read_answers(records.answers_files(kept.root / "unreviewed"))


def test_image_is_kept_by_its_label_without_metadata_and_answer_beside_it(kept, tmp_path):
    assert not kept.root.exists()
    source = tmp_path / "gps.jpg"
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    numbered_image(1).save(source, exif=exif, comment=b"me")
    with Image.open(source) as image:
        receipt = kept.collection.add(image, " blue  jay ", [said("jay", probability=0.25)], "10.0.0.1")
    assert (receipt.given, receipt.is_new) == ("blue jay", True)
    assert kept.files == [f"unreviewed/blue jay/{receipt.image}.jpg"]
    body = (kept.root / kept.files[0]).read_bytes()
    assert b"camera" not in body
    assert b"me" not in body[:200]
    [row] = rows(kept)
    assert row == AnswerRow(
        receipt.image, "blue jay", (said("jay", probability=0.25),), "2030-03-17T17:46:40.000000+00:00", False, row.key
    )
    [path] = records.answers_files(kept.root / "unreviewed")
    assert path.name.startswith("answers-20300317T174640.000000Z-")
    assert re.fullmatch(rf".*-{os.getpid()}-[0-9a-f]{{8}}\.jsonl", path.name)
    assert b"10.0.0.1" not in path.read_bytes()


def test_processes_with_equal_names_have_files_of_their_own(kept, tmp_path):
    kept.add(1, "wren")
    Feedbacks(tmp_path / "feedback").add(2, "owl")  # as another container, with the same host, pid and time
    assert len(records.answers_files(kept.root / "unreviewed")) == 2


def test_same_image_is_one_file_with_two_answers(kept):
    first = kept.add(1, "wren")
    kept.clock.time_s += 1
    second = kept.add(1, "owl")
    assert first.image == second.image
    assert (first.is_new, second.is_new) == (True, False)
    assert kept.files == [f"unreviewed/wren/{first.image}.jpg"]
    assert [row.given for row in rows(kept)] == ["wren", "owl"]


@pytest.mark.parametrize("given", ["blue jay", " blue   jay", "blue\u200b jay", "blue\u00a0jay"], ids=ascii)
def test_right_is_no_correction_however_it_is_spaced(kept, given):
    kept.add(1, given, "blue  jay")
    [row] = rows(kept)
    assert (row.given, row.said[0].label, row.is_right) == ("blue jay", "blue jay", True)


def test_right_is_no_correction_whatever_the_unicode_form(kept):
    kept.add(1, "Ba\u0308r", "Bär")
    kept.add(2, "Bär", "Ba\u0308r")
    assert [row.is_right for row in rows(kept)] == [True, True]


def test_class_of_a_backbone_may_be_longer_than_free_text(kept):
    long = "a very long name of a class " * 12
    assert kept.add(1, long, long).given == long.strip()
    kept.collection.is_class = lambda label: label == "b" * 300
    assert kept.add(2, "b" * 300).given == "b" * 300
    with pytest.raises(LineupError, match="at most 100 characters; got 300"):
        kept.add(3, "c" * 300)
    assert len(kept.review.pending()) == 2
    assert {image.label for image in kept.review.pending()} == {long.strip(), "b" * 300}


def test_comparison_is_right_if_all_backbones_are(kept):
    kept.add(1, "jay", "jay", "owl")
    kept.add(2, "jay", "jay", "jay")
    assert sorted(row.is_right for row in rows(kept)) == [False, True]


@pytest.mark.parametrize(
    "label",
    ["../../../escape", "/etc/passwd", "..", "a\\b", "<script>alert(1)</script>", "answers-x.jsonl", "CON", ".hidden"],
)
def test_label_of_an_attack_is_text(kept, tmp_path, label):
    receipt = kept.add(1, label)
    assert receipt.given == label
    [path] = list(tmp_path.rglob("*.jpg"))
    assert path.parent.parent == kept.root / "unreviewed"
    assert kept.review.pending()[0].label == label


def test_refused_label_keeps_nothing_and_counts_nothing(tmp_path):
    kept = Feedbacks(tmp_path / "feedback", per_visitor=1)
    for label in ("", "a\0b", "\ud800", "x" * 101):
        with pytest.raises(LineupError):
            kept.add(1, label)
    assert not kept.root.exists()
    kept.add(1, "jay")


def test_two_hundred_answers_at_once_lose_none(kept):
    with ThreadPoolExecutor(32) as pool:
        receipts = list(pool.map(lambda number: kept.add(number, f"class {number % 7}"), range(200)))
    assert all(receipt.is_new for receipt in receipts)
    assert len({receipt.image for receipt in receipts}) == 200
    pending = kept.review.pending()
    assert {image.id: image.label for image in pending} == {receipt.image: receipt.given for receipt in receipts}
    assert [len(image.answers) for image in pending] == [1] * 200


def test_same_image_at_once_is_new_once(kept, monkeypatch):
    encode, barrier = labelled_folder.encode, threading.Barrier(8)

    def encode_together(image):
        barrier.wait()
        return encode(image)

    monkeypatch.setattr(labelled_folder, "encode", encode_together)
    write = image_files.write

    def write_slowly(*arguments):
        time.sleep(0.05)
        return write(*arguments)

    monkeypatch.setattr(image_files, "write", write_slowly)
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda number: kept.add(1, f"class {number}"), range(8)))
    assert sum(receipt.is_new for receipt in receipts) == 1
    assert len(kept.files) == 1
    assert len(rows(kept)) == 8


def test_image_that_is_reviewed_during_an_answer_is_kept_again(kept, monkeypatch):
    receipt = kept.add(1, "jay")
    append = records.append

    def review_first(path, lines):
        monkeypatch.undo()
        Feedbacks(kept.root).review.reject([receipt.image])
        append(path, lines)

    monkeypatch.setattr(records, "append", review_first)
    kept.add(1, "owl")
    assert [image.labels for image in kept.review.pending()] == [(("owl", 1),)]


WRITER = """
import sys
from pathlib import Path
from feedback import Feedbacks
kept = Feedbacks(Path(sys.argv[1]))
for number in range(40):
    kept.add(number, "wren" if number % 2 else sys.argv[2])
"""


def test_processes_write_at_once(kept, env):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    command = [sys.executable, "-c", WRITER, str(kept.root)]
    writers = [subprocess.Popen([*command, f"owl {number}"], env={**env, "PYTHONPATH": path}) for number in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    pending = kept.review.pending()
    assert len(pending) == 40
    assert [len(image.answers) for image in pending] == [3] * 40
    assert len(records.answers_files(kept.root / "unreviewed")) == 3
    assert kept.review.accept([image.id for image in pending]) == 40
    assert kept.review.pending() == []


def test_killed_process_loses_no_answer(kept, env):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    code = WRITER.replace("sys.argv[2])", "sys.argv[2])\n    print(number, flush=True)").replace("40", "10**6")
    command = [sys.executable, "-c", code, str(kept.root), "owl"]
    with subprocess.Popen(command, env={**env, "PYTHONPATH": path}, stdout=subprocess.PIPE) as writer:
        for line in writer.stdout:
            if int(line) >= 30:
                writer.kill()
                break
        rest = writer.stdout.read().split()
    last = int(rest[-1]) if rest else 30
    assert sum(len(image.answers) for image in kept.review.pending()) >= last + 1


@pytest.fixture
def full_disk(monkeypatch):
    """Let writes to answers fail after some bytes, as on a full disk."""
    write, left = os.write, [20]

    def limited(descriptor, body):
        taken = body[: left[0]]
        left[0] -= len(taken)
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, taken)

    return lambda: monkeypatch.setattr(os, "write", limited)


def test_full_disk_keeps_nothing_of_an_answer(tmp_path, full_disk, monkeypatch):
    kept = Feedbacks(tmp_path / "feedback", per_visitor=2)
    kept.add(1, "jay")
    [path] = records.answers_files(kept.root / "unreviewed")
    before, body = (kept.files, rows(kept)), path.read_bytes()
    full_disk()
    with pytest.raises(LineupError) as caught:
        kept.add(2, "wren")
    expected = "feedback: expected a folder for images; writing failed (No space left on device); try again later: "
    assert str(caught.value) == f"{expected}nothing was kept"
    assert (kept.files, rows(kept)) == before
    with pytest.raises(LineupError):  # of the image that was kept before
        kept.add(1, "owl")
    assert (kept.files, rows(kept), path.read_bytes()) == (*before, body)
    monkeypatch.undo()
    kept.add(2, "wren")  # those that failed do not count
    assert len(rows(kept)) == 2


def test_nearly_full_disk_is_left_to_the_server(kept, monkeypatch):
    usage = type("Usage", (), {"free": collection.MIN_FREE_BYTES - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(LineupError, match="expected free space on the disk; it is full"):
        kept.add(1, "jay")
    assert kept.files == []


def test_message_of_a_failure_does_not_name_the_folder(kept, tmp_path):
    kept.root.write_text("a file where the folder should be")
    with pytest.raises(LineupError) as caught:
        kept.add(1, "jay")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_read_only_folder_is_a_sentence(kept):
    kept.root.mkdir()
    kept.root.chmod(0o555)
    with pytest.raises(LineupError, match="writing failed"):
        kept.add(1, "jay")
    assert kept.review.pending() == []


def test_unwritable_folder_is_a_sentence_and_can_be_listed(kept, monkeypatch):
    receipt = kept.add(1, "jay")

    def refuse(*arguments, **named):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LineupError, match=r"writing failed \(Read-only file system\)"):
        kept.add(2, "jay")
    assert [image.id for image in kept.review.pending()] == [receipt.image]
    assert kept.review.stats().n_pending == 1
    with pytest.raises(LineupError, match="Read-only file system"):
        kept.review.accept([receipt.image])


def test_line_that_was_cut_off_costs_no_other(kept):
    kept.add(1, "jay")
    [path] = records.answers_files(kept.root / "unreviewed")
    path.write_bytes(path.read_bytes() + b'{"image": "0123')
    kept.add(2, "wren")
    assert len(rows(kept)) == 2


def test_file_that_was_cut_off_by_a_power_failure_is_written_again(kept):
    receipt = kept.add(1, "jay")
    path = kept.root / kept.files[0]
    whole = path.read_bytes()
    path.write_bytes(b"")
    assert kept.add(1, "jay").is_new
    assert path.read_bytes() == whole
    assert kept.review.image(receipt.image) == path


def test_link_in_the_folder_is_not_followed(kept, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (kept.root / "unreviewed").mkdir(parents=True)
    (kept.root / "unreviewed" / "jay").symlink_to(elsewhere)
    with pytest.raises(LineupError, match="a folder in it is a link"):
        kept.add(1, "jay")
    assert list(elsewhere.iterdir()) == []
    receipt = kept.add(1, "owl")
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    path = kept.root / "unreviewed" / "owl" / f"{receipt.image}.jpg"
    path.unlink()
    path.symlink_to(secret)
    assert kept.review.pending() == []
    with pytest.raises(LineupError, match="expected the id of an image"):
        kept.review.image(receipt.image)
    assert kept.add(1, "owl").is_new
    assert not path.is_symlink()
    assert secret.read_bytes() == b"secret"


def test_limits_are_of_a_day_and_of_an_address(tmp_path):
    kept = Feedbacks(tmp_path / "feedback", per_visitor=2, per_day=3)
    kept.add(1, "jay")
    kept.add(2, "jay")
    with pytest.raises(BusyError, match="at most 2 answers a day from one network address; today's are given"):
        kept.add(3, "jay")
    kept.add(3, "jay", visitor="10.0.0.2")
    with pytest.raises(BusyError, match="at most 3 answers a day; today's are given; try again tomorrow"):
        kept.add(4, "jay", visitor="10.0.0.3")
    kept.clock.time_s += 86_400
    kept.add(4, "jay")
    assert len(kept.review.pending()) == 4
    assert len(records.answers_files(kept.root / "unreviewed")) == 2  # one for each day


def test_clock_that_jumps_to_and_fro_does_not_reset_the_limits(tmp_path):
    kept = Feedbacks(tmp_path / "feedback", per_visitor=1)
    for number, time_s in enumerate((START_S, START_S - 86_400)):
        kept.clock.time_s = time_s
        kept.add(number, "jay")
    kept.clock.time_s = START_S
    with pytest.raises(BusyError):
        kept.add(3, "jay")
    for number, time_s in enumerate((-1e12, 0, 1e15), start=2):
        kept.clock.time_s = time_s
        kept.add(number, "jay", visitor=str(time_s))
    assert len(kept.review.pending()) == 5
    assert kept.review.pending()[0].answers[0].time.startswith("1970-01-01T00:00:00")


def test_limit_of_a_day_survives_a_restart(tmp_path):
    kept = Feedbacks(tmp_path / "feedback", per_day=2)
    kept.add(1, "jay")
    again = Feedbacks(tmp_path / "feedback", per_day=2)
    again.add(2, "jay")
    with pytest.raises(BusyError):
        again.add(3, "jay")


def test_listener_is_called_after_an_answer_is_kept(kept):
    seen = []
    kept.collection.on_added = lambda: seen.append(len(rows(kept)))
    kept.add(1, "jay")
    with pytest.raises(LineupError):
        kept.add(2, "")
    assert seen == [1]


FOREIGN = [
    "no json",
    "[]",
    "null",
    '{"image": "../../x"}',
    "[" * 100_000,
    json.dumps(
        {"image": "0" * 16, "given": "a\0b", "said": [], "time": "2030-01-01", "is_right": True, "key": "0" * 16}
    ),
    json.dumps({"image": "0" * 16, "given": "a", "said": 3, "time": "2030-01-01", "is_right": True, "key": "0" * 16}),
    json.dumps({"image": "0" * 16, "given": "a", "said": [], "time": "soon", "is_right": True, "key": "0" * 16}),
    json.dumps({"image": ["0"], "given": {}, "said": [], "time": 3, "is_right": 1, "key": None}),
    '{"image": "0000000000000000", "given": "a", "said": [{"backbone": "a", "fingerprint": "", "label": "b", '
    f'"probability": 1{"0" * 400}}}], "time": "2030-01-01", "is_right": true, "key": "0000000000000000"}}',
    '{"probability": ' + "9" * 5000 + "}",
    "x" * (1 << 17),
]


@pytest.mark.parametrize("line", FOREIGN, ids=[line[:20] for line in FOREIGN[:5]] + [str(n) for n in range(7)])
def test_line_of_others_is_skipped(kept, line):
    receipt = kept.add(1, "jay")
    path = kept.root / "unreviewed" / "answers-of-others.jsonl"
    copy = next(iter(rows(kept))).to_line().decode()
    path.write_text(f"{line}\n{copy}", encoding="utf-8")
    [row] = rows(kept)
    assert row.image == receipt.image
