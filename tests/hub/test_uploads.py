"""Uploads with the real Hub client against the fake Hub; `push` tests those of Spaces in detail."""

import pytest
from huggingface_hub import get_session

from lineup.hub import uploads
from lineup.hub.problems import HubRequestError


@pytest.fixture
def spaces(hub, fresh_cache, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_me")
    return hub.spaces


@pytest.mark.parametrize("repo_type", ["model", "dataset"])
def test_files_of_a_folder_are_committed_to_a_new_private_repository(spaces, tmp_path, repo_type):
    (tmp_path / "config.json").write_text("{}")
    uploads.create_repo("me/birds", repo_type)
    commit = uploads.commit(
        "me/birds", repo_type, "Add birds", {"config.json": tmp_path / "config.json", "a/b.txt": b"b"}
    )
    key = f"{repo_type}s/me/birds"
    assert spaces.all[key].private
    assert (spaces.files(key)["config.json"], spaces.files(key)["a/b.txt"]) == (b"{}", b"b")
    assert len(commit) == 40


def test_repository_that_exists_is_kept_and_a_commit_deletes_files(spaces):
    for _ in range(2):
        uploads.create_repo("me/birds", "dataset", private=False)
    uploads.commit("me/birds", "dataset", "Add", {"a.txt": b"a", "b.txt": b"b"})
    uploads.commit("me/birds", "dataset", "Replace", {"a.txt": b"c"}, deleted=["b.txt"])
    files = spaces.files("datasets/me/birds")
    assert (files["a.txt"], "b.txt" in files, spaces.all["datasets/me/birds"].private) == (b"c", False, False)


def test_commit_does_not_follow_another_parent(spaces):
    uploads.create_repo("me/birds", "dataset")
    first = uploads.commit("me/birds", "dataset", "Add", {"a.txt": b"a"})
    uploads.commit("me/birds", "dataset", "Add", {"b.txt": b"b"})
    with pytest.raises(HubRequestError, match=r"the repository was changed in the meantime \(412\)"):
        uploads.commit("me/birds", "dataset", "Add", {"c.txt": b"c"}, parent=first)
    assert "c.txt" not in spaces.files("datasets/me/birds")


@pytest.mark.parametrize(
    ("fault", "got"),
    [
        ("401", "the token is not accepted (401)"),
        ("403", "the token has no permission for this (403)"),
        ("429", "too many requests (429)"),
        ("cut off", "the connection was interrupted"),
    ],
)
def test_failed_creation_and_commit_are_one_error_each(spaces, fault, got):
    spaces.faults["create"] = fault
    with pytest.raises(HubRequestError) as creation:
        uploads.create_repo("me/birds", "model")
    spaces.faults.clear()
    uploads.create_repo("me/birds", "model")
    spaces.faults["commit"] = fault
    with pytest.raises(HubRequestError) as commit:
        uploads.commit("me/birds", "model", "Add", {"a.txt": b"a"})
    assert (creation.value.expected, creation.value.got) == ("to create the model repository", got)
    assert (commit.value.expected, commit.value.got) == ("to commit 1 files", got)


def test_missing_token_is_an_error_with_its_remedy(spaces, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubRequestError, match=r"there is no token \(401\); create one with write access"):
        uploads.create_repo("me/birds", "model")


def test_request_without_an_answer_times_out(spaces, monkeypatch):
    monkeypatch.setattr(uploads, "ANSWER_TIMEOUT_S", 0.2)
    spaces.faults["create"] = "hung"
    with pytest.raises(HubRequestError, match="the request timed out; push again"):
        uploads.create_repo("me/birds", "model")
    monkeypatch.undo()
    uploads._api()
    assert get_session().timeout.read == uploads.ANSWER_TIMEOUT_S
