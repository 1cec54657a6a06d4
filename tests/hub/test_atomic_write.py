"""Files that are replaced in one step."""

import threading
from pathlib import Path

import pytest

from lineup.hub import atomic_write


def test_file_has_the_new_content_and_nothing_lies_beside_it(tmp_path):
    for body in (b"old", b"new"):
        atomic_write.write_bytes(tmp_path / "a.jpg", body)
    atomic_write.write_text(tmp_path / "b.csv", "ü\r\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.jpg": b"new", "b.csv": "ü\r\n".encode()}


def test_write_that_fails_keeps_the_old_content_and_no_draft(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"old")

    def full(self, body):
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write.write_text(tmp_path / "a.jpg", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
    assert (tmp_path / "a.jpg").read_bytes() == b"old"


def test_drafts_are_hidden_and_differ_between_threads(tmp_path):
    names = []
    thread = threading.Thread(target=lambda: names.append(atomic_write.draft_of(tmp_path / "a.jpg").name))
    thread.start()
    thread.join()
    names.append(atomic_write.draft_of(tmp_path / "a.jpg").name)
    assert len(set(names)) == 2
    assert all(name.startswith(".a.jpg.") and name.endswith(".partial") for name in names)
