"""Pushes of a folder with the real Hub client against the fake Hub: what is sent, when, and what failures cost."""

import logging
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import until

from lineup.errors import LineupError
from lineup.hub import changed_files, scheduled_push, uploads
from lineup.hub.problems import HubRequestError, retry_after_s
from lineup.hub.scheduled_push import ScheduledPush

KEY = "datasets/me/birds"


@pytest.fixture
def spaces(hub, fresh_cache, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_me")
    monkeypatch.setattr(scheduled_push, "FIRST_RETRY_S", 0.01)
    return hub.spaces


@pytest.fixture
def make_push(spaces, tmp_path):
    """Return a factory of pushes of the folder `tmp_path/birds`, which are stopped before the Hub is reset."""
    made = []

    def make(folder=tmp_path / "birds", **settings):
        push = ScheduledPush("me/birds", folder, every_s=settings.pop("every_s", 300), **settings)
        made.append(push)
        return push

    yield make
    spaces.faults.clear()
    spaces.hub.resume.set()
    for push in made:
        push.stop(10)
        assert push._thread is None or not push._thread.is_alive()


def put(tmp_path, name, body=b"an image"):
    path = tmp_path / "birds" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return path


def added(spaces):
    """Return the added paths of each commit."""
    return [[each.partition(":")[2] for each in commit.split()] for commit in spaces.commits]


def test_first_wake_creates_a_private_dataset_and_pushes(make_push, spaces, tmp_path):
    push = make_push()
    put(tmp_path, "unreviewed/wren/0.jpg", b"\0wren")
    assert KEY not in spaces.all  # neither the constructor nor anything else is a request
    push.wake()
    until(lambda: not push.files.unsent())
    assert spaces.all[KEY].private
    assert spaces.files(KEY)["unreviewed/wren/0.jpg"] == b"\0wren"
    assert push.error == ""


def test_nothing_to_push_is_no_request(make_push, spaces, tmp_path):
    push = make_push()
    assert push.flush(10)
    assert spaces.hub.requests == []
    put(tmp_path, "a.txt")
    assert push.flush(10)
    n_requests = len(spaces.hub.requests)
    assert push.flush(10)
    assert len(spaces.hub.requests) == n_requests


def test_first_file_is_pushed_although_the_thread_ran_without_one(make_push, spaces, tmp_path):
    push = make_push()
    assert push.attempt(10)
    put(tmp_path, "0.jpg")
    push.wake()
    until(lambda: not push.files.unsent())
    assert "0.jpg" in spaces.files(KEY)


def test_only_changed_files_are_pushed_again_and_lines_are_complete(make_push, spaces, tmp_path):
    push = make_push()
    put(tmp_path, "wren/0.jpg")
    put(tmp_path, "answers.jsonl", b"{}\n")
    assert push.flush(10)
    put(tmp_path, "answers.jsonl", b'{}\n{"a": 1}\n{"written in par')
    assert push.flush(10)
    assert added(spaces) == [["wren/0.jpg", "answers.jsonl"], ["answers.jsonl"]]
    assert spaces.files(KEY)["answers.jsonl"] == b'{}\n{"a": 1}\n'


def test_pushes_repeat_without_being_asked_to(make_push, spaces, tmp_path):
    push = make_push(every_s=0.05)
    put(tmp_path, "0.jpg")
    push.wake()
    until(lambda: "0.jpg" in (spaces.files(KEY) if KEY in spaces.all else {}))
    put(tmp_path, "1.jpg")
    until(lambda: "1.jpg" in spaces.files(KEY))


def test_hidden_partial_linked_and_excluded_files_stay(make_push, spaces, tmp_path):
    push = make_push(includes=lambda name: name != "excluded.txt")
    for name in (".lock", ".cache/a.txt", "wren/.0.partial", "wren/1.partial", "excluded.txt", "wren/2.jpg"):
        put(tmp_path, name)
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    (tmp_path / "birds" / "linked.txt").symlink_to(secret)
    (tmp_path / "birds" / "linked").symlink_to(tmp_path, target_is_directory=True)
    assert push.flush(10)
    assert added(spaces) == [["wren/2.jpg"]]


def test_commits_are_bounded_in_files_and_bytes(make_push, spaces, tmp_path, monkeypatch):
    monkeypatch.setattr(changed_files, "MAX_FILES", 3)
    monkeypatch.setattr(changed_files, "MAX_BYTES", 100)
    push = make_push()
    for name, size in {"a": 1, "b": 1, "c": 1, "d": 60, "e": 60, "f": 500, "g": 1}.items():
        put(tmp_path, name, b"." * size)
    assert push.flush(10)
    assert added(spaces) == [["a", "b", "c"], ["d"], ["e"], ["f"], ["g"]]


@pytest.mark.parametrize("step", ["create", "commit"])
@pytest.mark.parametrize(
    ("fault", "got"),
    [
        ("401", "the token is not accepted (401)"),
        ("403", "the token has no permission for this (403)"),
        ("429", "too many requests (429)"),
        ("503", "the Hub failed (503)"),
        ("cut off", "the connection was interrupted"),
    ],
)
def test_failure_is_kept_as_a_sentence_and_ends_with_a_later_push(make_push, spaces, tmp_path, step, fault, got):
    push = make_push()
    put(tmp_path, "0.jpg")
    spaces.faults[step] = fault
    push.wake()
    until(lambda: push.error)
    assert push.error.startswith("me/birds: expected to ")
    assert got in push.error
    assert push.files.unsent() == ["0.jpg"]
    spaces.faults.clear()
    until(lambda: not push.error)
    assert "0.jpg" in spaces.files(KEY)


def test_outage_at_the_start_ends_with_a_later_push(make_push, spaces, tmp_path):
    push = make_push()
    put(tmp_path, "0.jpg")
    with spaces.hub.unreachable():
        push.wake()
        until(lambda: "the Hub cannot be reached" in push.error)
    until(lambda: not push.error)
    assert "0.jpg" in spaces.files(KEY)


def test_failure_is_logged_once_and_so_is_its_end(make_push, spaces, tmp_path, caplog):
    caplog.set_level(logging.INFO, "lineup")
    push = make_push()
    put(tmp_path, "0.jpg")
    spaces.faults["create"] = "503"
    for number in range(3):
        put(tmp_path, f"{number}.jpg")
        assert not push.attempt(10)
    spaces.faults["create"] = "403"
    assert not push.attempt(10)
    spaces.faults.clear()
    assert push.flush(10)
    messages = [each.getMessage() for each in caplog.records if each.name == "lineup.hub.scheduled_push"]
    assert [each.partition("; ")[2].partition(" (")[0] or each for each in messages] == [
        "the Hub failed",
        "the token has no permission for this",
        "me/birds: pushing works again",
    ]


def test_rate_limit_is_waited_for(make_push, spaces, tmp_path):
    push = make_push()
    put(tmp_path, "0.jpg")
    spaces.faults["commit"], spaces.retry_after = "429", "1000"
    push.wake()
    until(lambda: push.error)
    assert 990 < push._not_before - time.monotonic() <= 1000
    spaces.faults.clear()
    push.wake(now=True)
    assert "0.jpg" not in spaces.files(KEY)
    assert push.flush(10)  # as at SIGTERM: nothing is to be lost


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"api";r=10;t=55'}, 0),
        ({}, 0),
    ],
    ids=["seconds", "date", "none left", "some left", "nothing"],
)
def test_wait_that_a_response_asks_for(headers, seconds):
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    response = httpx2.Response(429, headers=headers, request=httpx2.Request("POST", "http://hub"))
    error = HubRequestError("me/birds", "to commit", "too many requests", "")
    error.__cause__ = HfHubHTTPError("too many", response=response)
    assert retry_after_s(error) == seconds
    assert retry_after_s(LineupError("", "", "", "")) == 0


def test_delays_grow_up_to_a_limit_and_start_again_after_a_success(make_push, spaces, tmp_path, monkeypatch):
    monkeypatch.setattr(scheduled_push, "FIRST_RETRY_S", 100)
    monkeypatch.setattr(scheduled_push, "MAX_RETRY_S", 400)
    push, delays = make_push(), []
    put(tmp_path, "0.jpg")
    spaces.faults["create"] = "503"
    for _ in range(4):
        push.attempt(10)
        delays.append(round(push._not_before - time.monotonic(), -1))
    assert delays == [100, 200, 400, 400]
    spaces.faults.clear()
    assert push.attempt(10)
    assert (push._retry_s, push._not_before) == (100, 0)


def test_dataset_that_exists_is_pushed_to(make_push, spaces, tmp_path):
    uploads.create_repo("me/birds", "dataset")
    uploads.commit("me/birds", "dataset", "Add", {"accepted/wren/0.jpg": b"earlier"})
    put(tmp_path, "unreviewed/wren/1.jpg")
    assert make_push().flush(10)
    assert {"accepted/wren/0.jpg", "unreviewed/wren/1.jpg"} <= spaces.files(KEY).keys()


def test_public_dataset_is_refused_unless_the_config_says_so(make_push, spaces, tmp_path):
    uploads.create_repo("me/birds", "dataset", private=False)
    put(tmp_path, "0.jpg")
    push = make_push()
    assert not push.attempt(10)
    assert "me/birds: expected a private data set; it is public; make it private" in push.error
    assert "0.jpg" not in spaces.files(KEY)
    assert make_push(private=False).flush(10)
    assert "0.jpg" in spaces.files(KEY)


def test_two_writers_at_once_lose_nothing(make_push, spaces, tmp_path, monkeypatch):
    monkeypatch.setattr(changed_files, "MAX_FILES", 4)
    pushes = []
    for writer in "ab":
        folder = tmp_path / writer
        folder.mkdir()
        for number in range(12):
            (folder / f"{writer}{number}.jpg").write_bytes(b"an image")
        pushes.append(make_push(folder=folder))
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda push: push.flush(20), pushes)) == [True, True]
    assert {f"{writer}{number}.jpg" for writer in "ab" for number in range(12)} <= spaces.files(KEY).keys()


def test_pushed_files_of_an_earlier_start_change_nothing(make_push, spaces, tmp_path):
    put(tmp_path, "0.jpg")
    assert make_push().flush(10)
    assert make_push().flush(10)  # the client compares hashes, and makes no empty commit
    assert added(spaces) == [["0.jpg"]]


def test_waking_and_its_effects_take_no_time_while_the_hub_hangs(make_push, spaces, tmp_path):
    push = make_push()
    put(tmp_path, "0.jpg")
    spaces.faults["create"] = "hung"
    push.wake()
    until(lambda: any("create" in path for _, path in spaces.hub.requests))
    before = time.monotonic()
    for _ in range(1000):
        push.wake(now=True)
    assert (push.error, push.files.unsent()) == ("", ["0.jpg"])
    assert not push.attempt(0.01)
    assert time.monotonic() - before < 5  # the Hub answers after a minute


def test_stop_pushes_what_is_left_and_ends_the_thread(make_push, spaces, tmp_path):
    push = make_push()
    put(tmp_path, "0.jpg")
    assert push.flush(10)
    put(tmp_path, "1.jpg")
    push.stop(10)
    assert "1.jpg" in spaces.files(KEY)
    assert not push._thread.is_alive()
    put(tmp_path, "2.jpg")
    push.wake(now=True)
    assert not push.flush(1)
    assert "2.jpg" not in spaces.files(KEY)


def test_stop_has_a_deadline_and_says_what_was_not_pushed(make_push, spaces, tmp_path, caplog):
    push = make_push()
    put(tmp_path, "0.jpg")
    spaces.faults["create"] = "hung"
    push.stop(0)  # without a thread there is nothing to wait for
    push = make_push()
    push.wake()
    until(lambda: any("create" in path for _, path in spaces.hub.requests))
    push.stop(0.05)
    assert "me/birds: 1 files were not pushed" in caplog.text
    spaces.hub.resume.set()
    until(lambda: not push._thread.is_alive())
    assert KEY not in spaces.all  # the thread goes on with nothing


def test_flush_repeats_a_push_that_fails(make_push, spaces, tmp_path):
    push = make_push()
    put(tmp_path, "0.jpg")
    spaces.faults["create"] = "503"
    timer = threading.Timer(0.1, spaces.faults.clear)
    timer.start()
    assert push.flush(10)
    timer.join()
    assert "0.jpg" in spaces.files(KEY)


@pytest.mark.parametrize("fault", ["401", "403"])
def test_flush_does_not_repeat_what_the_token_forbids(make_push, spaces, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(scheduled_push, "FIRST_RETRY_S", 100)
    push = make_push()
    put(tmp_path, "0.jpg")
    spaces.faults["create"] = fault
    assert not push.flush(3600)
    assert [path for method, path in spaces.hub.requests if method == "POST"] == ["/api/repos/create"]


def test_forked_worker_pushes_nothing(make_push, spaces, tmp_path):
    push = make_push()
    put(tmp_path, "0.jpg")
    assert push.flush(10)
    if (child := os.fork()) == 0:
        code = 1
        try:
            put(tmp_path, "1.jpg")
            push.wake(now=True)
            has_pushed = push.attempt(10) or push.flush(10)
            push.stop(10)
            code = int(has_pushed or push.files.unsent() != ["1.jpg"])
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_error_before_a_push_is_its_error(make_push, spaces, tmp_path, monkeypatch):
    monkeypatch.setattr(scheduled_push, "FIRST_RETRY_S", 100)
    failures = [LineupError("me/birds", "its answers", "they are gone", "look"), RuntimeError("a bug")]

    def before():
        if failures:
            raise failures.pop(0)

    push = make_push(before=before)
    put(tmp_path, "0.jpg")
    assert not push.attempt(10)
    assert push.error == "me/birds: expected its answers; they are gone; look"
    assert not push.attempt(10)
    assert push.error == "me/birds: expected to push to it; a bug; see the log"
    assert push.flush(10)
