"""The copy of a collection on the Hub, by replicas that share nothing else, with the real client and the fake Hub."""

import json
import os
import threading
import time

import pytest
from PIL import Image

from lineup.config import Feedback
from lineup.features.feedback import exchanged_lines, hub_download, records
from lineup.features.feedback.collection import Collection
from lineup.features.feedback.hub_copy import HubCopy
from lineup.features.feedback.records import Said
from lineup.features.feedback.review import Review
from lineup.hub import changed_files, scheduled_push, uploads

KEY = "datasets/me/birds"
LONG = "a very long label " * 20  # its folder has a shortened name
SETTINGS = Feedback(to="hf://datasets/me/birds")


@pytest.fixture
def spaces(hub, fresh_cache, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_me")
    monkeypatch.setattr(scheduled_push, "FIRST_RETRY_S", 0.01)
    return hub.spaces


class Replica:
    """A process with a collection and its copy.

    Its clock starts at a time of its own: the files of answers of two processes on one machine differ by their times.
    """

    def __init__(self, root, start_s=0):
        self.root, self.now_s = root, 1_800_000_000.0 + start_s
        self.collection = Collection(root, SETTINGS, self.clock)
        self.copy = HubCopy(root, SETTINGS, self.clock)
        self.review = Review(self.collection, self.copy)
        self.collection.on_added = self.copy.wake

    def clock(self):
        self.now_s += 1
        return self.now_s

    def add(self, shade, given="wren"):
        said = [Said("lite0", "", "owl", 0.9)]
        self.collection.is_class = lambda label: label == LONG.strip()
        name = self.collection.add(Image.new("RGB", (8, 8), (shade, 0, 0)), given, said, "127.0.0.1").image
        for path in self.root.rglob(f"{name}.jpg"):
            os.utime(path, (self.now_s, self.now_s))
        return name

    def files(self, *kinds):
        """Return the paths of images below the folder."""
        paths = (path.relative_to(self.root) for path in self.root.rglob("*.jpg"))
        return sorted(path.as_posix() for path in paths if not kinds or path.parts[0] in kinds)

    def lines(self, name):
        return sorted((self.root / name).read_bytes().splitlines()) if (self.root / name).exists() else []


@pytest.fixture
def replica(spaces, tmp_path):
    """Return a factory of replicas, each with a folder of its own; their threads end before the Hub is reset."""
    made = []

    def make(name="a"):
        made.append(Replica(tmp_path / name, 1000 * len(made)))
        return made[-1]

    yield make
    spaces.faults.clear()
    spaces.hub.resume.set()
    for each in made:
        each.copy.stop(10)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("push ")]


def images(spaces, kind=""):
    return sorted(path for path in spaces.files(KEY) if path.startswith(kind) and path.endswith(".jpg"))


def metadata(spaces):
    lines = spaces.files(KEY)["accepted/metadata.jsonl"].splitlines()
    return {row["file_name"]: row["label"] for row in map(json.loads, lines)}


def test_images_and_answers_are_pushed_to_a_private_dataset(replica, spaces):
    a = replica()
    name = a.add(1)
    assert a.copy.flush(10)
    assert spaces.all[KEY].private
    assert images(spaces) == [f"unreviewed/wren/{name}.jpg"]
    [answers] = [path for path in spaces.files(KEY) if path.endswith(".jsonl")]
    assert json.loads(spaces.files(KEY)[answers])["given"] == "wren"
    assert (a.copy.n_unsent, a.copy.problem) == (0, "")


def test_nothing_is_created_before_the_first_answer(replica, spaces):
    a = replica()
    with a.copy.running():
        assert a.copy.pull(10)
    assert KEY not in spaces.all
    assert a.copy.problem == ""


def test_review_is_one_commit_that_adds_and_deletes(replica, spaces):
    a = replica()
    kept, changed, rejected = a.add(1), a.add(2, "cat"), a.add(3, "<script>")
    assert a.copy.flush(10)
    n_commits = len(spaces.commits)
    a.review.accept([kept])
    a.review.accept([changed], "dog")
    a.review.reject([rejected])
    assert a.copy.flush(10)
    assert images(spaces) == sorted([f"accepted/wren/{kept}.jpg", f"accepted/dog/{changed}.jpg"])
    assert metadata(spaces) == {f"wren/{kept}.jpg": "wren", f"dog/{changed}.jpg": "dog"}
    assert spaces.files(KEY)["reviews.jsonl"] == (a.root / "reviews.jsonl").read_bytes()
    assert spaces.files(KEY)["answers.jsonl"] == (a.root / "answers.jsonl").read_bytes()
    assert len(spaces.commits) - n_commits <= 3
    assert a.copy.n_unsent == 0


def test_two_replicas_have_the_same_images_for_review(replica, spaces):
    a, b = replica("a"), replica("b")
    names = {a.add(1), b.add(2), b.add(3, LONG)}
    assert a.copy.flush(10)
    assert b.copy.flush(10)
    a.now_s = b.now_s  # the times of answers are not after the clock
    assert a.copy.pull(10)
    assert b.copy.pull(10)
    for each in (a, b):
        pending = {image.id: (image.label, len(image.answers)) for image in each.review.pending()}
        assert pending.keys() == names
        assert sorted(pending.values()) == [(LONG.strip(), 1), ("wren", 1), ("wren", 1)]
        assert each.copy.n_unsent == 0
        for image in each.review.pending():  # by the answer's time, not by that of the download
            assert image.path.stat().st_mtime == pytest.approx(exchanged_lines.seconds(image.answers[0].time), abs=2)


def test_images_reviewed_by_one_replica_leave_the_other(replica, spaces):
    a, b = replica("a"), replica("b")
    accepted, rejected, remaining = a.add(1), a.add(2), a.add(3)
    assert a.copy.flush(10)
    assert b.copy.pull(10)
    b.now_s = a.now_s + 100
    b.review.accept([accepted], "finch")
    b.review.reject([rejected])
    assert b.copy.flush(10)
    assert a.copy.pull(10)
    assert a.files() == [f"accepted/finch/{accepted}.jpg", f"unreviewed/wren/{remaining}.jpg"]
    assert a.lines("reviews.jsonl") == b.lines("reviews.jsonl")
    assert a.lines("accepted/metadata.jsonl") == b.lines("accepted/metadata.jsonl")
    assert a.copy.flush(10)
    assert images(spaces) == a.files()  # nothing comes back


def test_decisions_of_two_replicas_at_once_are_merged(replica, spaces, monkeypatch):
    monkeypatch.setattr(scheduled_push, "FIRST_RETRY_S", 100)  # a conflict is no failure
    a, b = replica("a"), replica("b")
    first, second = a.add(1), a.add(2, "cat")
    assert a.copy.flush(10)
    assert b.copy.pull(10)

    def decide_in_between():
        b.review.accept([second])
        assert b.copy.flush(20)

    spaces.before_commit.append(decide_in_between)
    a.review.accept([first])
    assert a.copy.flush(20)
    assert images(spaces) == sorted([f"accepted/wren/{first}.jpg", f"accepted/cat/{second}.jpg"])
    assert metadata(spaces) == {f"wren/{first}.jpg": "wren", f"cat/{second}.jpg": "cat"}
    assert len(spaces.files(KEY)["reviews.jsonl"].splitlines()) == 2
    assert len(spaces.files(KEY)["answers.jsonl"].splitlines()) == 2


@pytest.mark.parametrize("pushes_first", [True, False], ids=["pushed first", "pushed last"])
def test_later_of_two_decisions_on_an_image_counts(replica, spaces, pushes_first):
    a, b = replica("a"), replica("b")
    name = a.add(1)
    assert a.copy.flush(10)
    assert b.copy.pull(10)
    b.now_s = a.now_s + 100
    decisions = [(b, "finch"), (a, "robin")]  # b's is the later one
    for each, label in decisions if pushes_first else reversed(decisions):
        each.review.accept([name], label)
        assert each.copy.flush(10)
    assert images(spaces) == [f"accepted/finch/{name}.jpg"]
    assert metadata(spaces) == {f"finch/{name}.jpg": "finch"}
    assert a.copy.pull(10)
    assert a.files() == [f"accepted/finch/{name}.jpg"]


def test_same_image_uploaded_again_after_its_review_is_pending_again(replica, spaces):
    a, b = replica("a"), replica("b")
    name = a.add(1)
    assert a.copy.flush(10)
    a.review.reject([name])
    assert a.copy.flush(10)
    assert images(spaces) == []
    b.now_s = a.now_s + 100
    assert b.add(1, "cat") == name
    assert b.copy.flush(10)
    assert a.copy.pull(10)
    assert a.files() == b.files() == images(spaces) == [f"unreviewed/cat/{name}.jpg"]


def test_decisions_of_a_killed_process_are_carried_out_by_the_next(replica, spaces):
    a = replica()
    accepted, rejected = a.add(1), a.add(2)
    assert a.copy.flush(10)
    killed = Review(a.collection, None)  # its copy hears nothing
    killed.accept([accepted])
    killed.reject([rejected])
    a.copy.stop(10)
    restarted = Replica(a.root, 50_000)
    try:
        with restarted.copy.running():
            assert restarted.copy.flush(10)
    finally:
        restarted.copy.stop(10)
    assert images(spaces) == [f"accepted/wren/{accepted}.jpg"]
    assert len(spaces.files(KEY)["reviews.jsonl"].splitlines()) == 2


def test_images_that_another_replica_reviewed_do_not_come_back_with_a_restart(replica, spaces):
    a, b = replica("a"), replica("b")
    name = a.add(1)
    assert a.copy.flush(10)
    a.copy.stop(10)
    assert b.copy.pull(10)
    b.now_s = a.now_s + 100
    b.review.accept([name])
    assert b.copy.flush(10)
    restarted = Replica(a.root, 50_000)
    try:
        assert restarted.copy.flush(10)
    finally:
        restarted.copy.stop(10)
    assert images(spaces) == [f"accepted/wren/{name}.jpg"]
    assert restarted.files("unreviewed") == []


def test_answers_of_another_process_are_not_replaced_by_an_older_copy(replica, spaces):
    a, b = replica("a"), replica("b")
    a.add(1)
    assert a.copy.flush(10)
    assert b.copy.pull(10)
    b.copy.stop(10)
    a.add(2)
    assert a.copy.flush(10)
    restarted = Replica(b.root, 50_000)
    try:
        restarted.collection.add(Image.new("RGB", (8, 8), (9, 0, 0)), "cat", [], "127.0.0.1")
        assert restarted.copy.flush(10)
    finally:
        restarted.copy.stop(10)
    rows = [line for path, body in spaces.files(KEY).items() if "answers-" in path for line in body.splitlines()]
    assert len(rows) == 3


def test_old_images_and_answers_are_deleted_in_the_dataset_too(replica, spaces, monkeypatch):
    a = replica()
    monkeypatch.setattr(a.copy, "server_time", lambda: a.now_s)
    a.add(1, LONG)
    [answers] = a.root.glob("unreviewed/answers-*")
    os.utime(answers, (a.now_s, a.now_s))
    assert a.copy.flush(10)
    for _ in range(100):
        a.now_s += 86_400
        a.review.delete_old()
    assert a.files() == []
    assert a.copy.flush(10)
    assert [path for path in spaces.files(KEY) if path.startswith("unreviewed/")] == []


def test_old_images_are_deleted_after_a_restart_that_lost_the_disk(replica, spaces, monkeypatch):
    a = replica()
    a.add(1)
    assert a.copy.flush(10)
    a.copy.stop(10)
    restarted = replica("empty")
    restarted.now_s = a.now_s + 91 * 86_400
    monkeypatch.setattr(restarted.copy, "server_time", lambda: restarted.now_s)
    assert restarted.copy.pull(10)
    assert restarted.review.delete_old() == 1
    assert restarted.copy.pull(10)
    assert restarted.copy.flush(10)
    assert [path for path in spaces.files(KEY) if path.startswith("unreviewed/")] == []
    assert list(restarted.root.glob("unreviewed/answers-*")) == []


def test_answer_of_a_replica_whose_clock_was_ahead_keeps_no_image_for_ever(replica, spaces, monkeypatch):
    ahead = replica()
    ahead.now_s += 5000 * 86_400
    ahead.add(1)
    assert ahead.copy.flush(10)
    b = replica("b")
    monkeypatch.setattr(b.copy, "server_time", lambda: b.now_s)
    assert b.copy.pull(10)
    b.now_s += 91 * 86_400
    assert b.review.delete_old() == 1


def test_clock_that_is_not_the_hubs_deletes_nothing(replica, spaces):
    a = replica()
    a.add(1)
    for _ in range(100):  # steadily, but far from the time that the Hub tells
        a.now_s += 86_400
        assert a.review.delete_old() == 0
    assert abs(a.copy.server_time() - time.time()) < 1000


@pytest.mark.parametrize("fault", ["401", "403", "429", "503", "cut off"])
def test_failure_is_the_problem_until_the_push_succeeds(replica, spaces, fault):
    a = replica()
    name = a.add(1)
    assert a.copy.flush(10)
    spaces.faults["commit"] = fault
    a.review.accept([name])  # the owner does not wait for the Hub, and gets no error
    assert not a.copy.pull(10)
    assert a.copy.problem.startswith("feedback is kept on this machine only until it can be pushed")
    assert "me/birds: expected to commit" in a.copy.problem
    assert a.copy.n_unsent == 1
    spaces.faults.clear()
    assert a.copy.flush(10)
    assert (a.copy.problem, a.copy.n_unsent) == ("", 0)
    assert images(spaces) == [f"accepted/wren/{name}.jpg"]


def test_large_reviews_are_several_commits_that_add_before_they_delete(replica, spaces, monkeypatch):
    monkeypatch.setattr(changed_files, "MAX_FILES", 4)
    a = replica()
    names = [a.add(shade) for shade in range(0, 60, 6)]
    assert a.copy.flush(10)
    n_commits = len(spaces.commits)
    a.review.accept(names)
    assert a.copy.flush(10)
    assert len(images(spaces, "accepted/")) == len(metadata(spaces)) == len(names) == 10
    assert images(spaces, "unreviewed/") == []
    commits = [commit.split() for commit in spaces.commits[n_commits:]]
    assert max(sum(path.endswith(".jpg") for path in commit) for commit in commits) == 4
    with_lines = [any("reviews.jsonl" in path for path in commit) for commit in commits]
    assert with_lines == [False] * (len(commits) - 1) + [True]


def test_downloads_continue_in_the_background(replica, spaces, monkeypatch):
    monkeypatch.setattr(hub_download, "MAX_DOWNLOADS", 2)
    a, b = replica("a"), replica("b")
    for shade in range(0, 30, 6):
        a.add(shade)
    assert a.copy.flush(10)
    b.copy.pull(10)
    while not b.copy.pull(10):
        pass
    assert b.files() == a.files()


def test_files_of_others_that_are_not_what_they_seem_are_left_out(replica, spaces, caplog):
    uploads.create_repo("me/birds", "dataset")
    name = "0" * 16
    files = {
        f"unreviewed/wren/{name}.jpg": b"not this hash",
        f"unreviewed/../{name}.jpg": b"a path",
        f"unreviewed/.hidden/{name}.jpg": b"hidden",
        "unreviewed/wren/evil.py": b"code",
        "accepted/wren/readme.html": b"<script>",
        "reviews.jsonl": b'[]\nno json\n{"id": "../../etc", "decision": "rejected"}\n{"id": 3}\n',
        "answers.jsonl": b"\xff\xfe\n\n",
        "unreviewed/answers-x.jsonl": b"{" * 100_000 + b"\n",
    }
    spaces.put(KEY, {**spaces.files(KEY), **files})
    a = replica()
    assert a.copy.pull(10)
    assert a.copy.pull(10)
    assert a.files() == []
    assert not [path for path in a.root.rglob("*") if path.suffix in (".py", ".html")]
    assert caplog.text.count("it is not what its name says") == 1
    assert a.review.pending() == []


def test_image_reviewed_during_a_download_does_not_come_back(replica, spaces, monkeypatch):
    a, b = replica("a"), replica("b")
    name = a.add(1)
    assert a.copy.flush(10)
    read = hub_download.Remote.read

    def decide_meanwhile(remote, path):
        if path.endswith(".jpg"):
            row = {"id": name, "decision": "rejected", "label": "", "time": records.timestamp(b.clock())}
            records.append(b.root / records.REVIEWS, [records.to_line(row)])
        return read(remote, path)

    monkeypatch.setattr(hub_download.Remote, "read", decide_meanwhile)
    assert b.copy.pull(10)
    assert len(b.lines("reviews.jsonl")) == 1
    assert b.files() == []


def test_unwritable_folder_is_a_problem_and_not_an_exception(replica, spaces, tmp_path):
    a = replica("a")
    a.add(1)
    assert a.copy.flush(10)
    (tmp_path / "b").write_text("a file")
    b = replica("b")
    assert not b.copy.pull(10)
    assert "expected" in b.copy.problem
    assert b.copy.n_unsent == 0
    (tmp_path / "b").unlink()
