"""Files are hashed once, and again after a change."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from opening import opened_files

from lineup.hub import checksums
from lineup.hub.cache_folder import cache_folder

ROOT = Path(__file__).parents[2]
BODY = os.urandom(100_000)
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "lineup"))
    return tmp_path / "lineup" / "sha256"


@pytest.fixture
def file(tmp_path, cache) -> Path:
    (tmp_path / "weights.bin").write_bytes(BODY)
    return tmp_path / "weights.bin"


def is_read(file: Path, **options) -> bool:
    """Hash a file, and return whether that opened it."""
    with opened_files() as opened:
        assert checksums.sha256(file, **options) == hashlib.sha256(file.read_bytes()).hexdigest()
    return opened.count(file) > 1  # once here


def record_of(cache: Path) -> Path:
    [record] = cache.iterdir()
    return record


def test_file_is_read_once(file):
    assert [is_read(file), is_read(file), is_read(file, reread=True), is_read(file)] == [True, False, True, False]


def test_record_is_shared_by_links_and_kept_by_a_rename(file):
    checksums.sha256(file)
    link = file.with_name("link")
    link.symlink_to(file)
    with opened_files() as opened:
        assert checksums.sha256(link) == DIGEST
        renamed = file.rename(file.with_name("renamed"))
        assert checksums.sha256(renamed) == DIGEST
    assert renamed not in opened
    assert file not in opened


def test_change_of_the_same_size_is_noticed_at_once(file):
    for byte in range(3):
        file.write_bytes(bytes([byte]) * len(BODY))
        assert checksums.sha256(file) == hashlib.sha256(bytes([byte]) * len(BODY)).hexdigest()


def test_fresh_file_is_hashed_when_a_change_would_have_another_time(file, monkeypatch):
    waited_s = []
    monkeypatch.setattr(checksums.time, "sleep", waited_s.append)
    os.utime(file)
    checksums.sha256(file, reread=True)
    assert waited_s == [0.012]
    os.utime(file, (0, 0))
    checksums.sha256(file)
    assert len(waited_s) == 1


def test_another_size_or_modification_time_is_noticed(file):
    checksums.sha256(file)
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert is_read(file)
    with file.open("ab") as end:
        end.write(b"x")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert is_read(file)


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: b"",
        lambda record: record[:-3],
        lambda record: b"\xff" + record,
        lambda record: b"7",
        lambda record: b"{}",
        lambda record: json.dumps([*json.loads(record)[:2], None]).encode(),
        lambda record: json.dumps([*json.loads(record)[:2], "z" * 64]).encode(),
    ],
)
def test_damaged_record_is_ignored_and_replaced(file, cache, damage):
    checksums.sha256(file)
    record = record_of(cache)
    record.write_bytes(damage(record.read_bytes()))
    assert is_read(file)
    assert not is_read(file)


def test_record_that_contradicts_the_expected_hash_is_not_trusted(file, cache):
    checksums.sha256(file)
    record = record_of(cache)
    record.write_text(json.dumps([*json.loads(record.read_text())[:2], "0" * 64]))
    assert checksums.sha256(file) == "0" * 64
    assert checksums.matches_sha256(file, DIGEST[:8])
    assert checksums.sha256(file) == DIGEST
    assert not checksums.matches_sha256(file, "0" * 64)


def test_expired_records_are_read_again_and_deleted(file, cache):
    checksums.sha256(file)
    month_ago = time.time() - (checksums.RECORD_DAYS + 1) * 24 * 3600
    for path in (cache / "1-2.json", cache / "1-2.json.7-7", cache / "not-ours", record_of(cache)):
        path.touch()
        os.utime(path, (month_ago, month_ago))
    assert is_read(file)
    assert not is_read(file)
    assert len(list(cache.iterdir())) == 2


def test_without_a_writable_cache_the_file_is_read_each_time(file, cache):
    cache.parent.write_text("a file at the folder's path")
    assert [is_read(file), is_read(file)] == [True, True]


PROCESS = """
import hashlib, sys, time
from pathlib import Path
from lineup.hub.checksums import sha256
files = [(path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in Path(sys.argv[1]).iterdir()]
time.sleep(max(0, float(sys.argv[2]) - time.time()))
for number in range(200):
    for path, digest in files:
        assert sha256(path, reread=number % 2 == 0) == digest
"""


def test_concurrent_processes_share_records(tmp_path, cache):
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(3):
        (folder / str(number)).write_bytes(bytes([number]))
    command = [sys.executable, "-c", PROCESS, str(folder), str(time.time() + 1)]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(list(cache.iterdir())) == 3
    assert not any(is_read(path) for path in folder.iterdir())


def test_cache_folder_is_in_the_hubs_folder_for_assets(monkeypatch, tmp_path):
    from huggingface_hub import constants
    from huggingface_hub.utils import _cache_assets

    monkeypatch.delenv("LINEUP_CACHE")
    for module in (constants, _cache_assets):
        monkeypatch.setattr(module, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    assert cache_folder("openvino").is_relative_to(tmp_path / "assets" / "lineup" / "openvino")
    assert not list((tmp_path / "assets" / "lineup" / "openvino").rglob("*.json"))
    (tmp_path / "file").write_text("in the way")
    for module in (constants, _cache_assets):
        monkeypatch.setattr(module, "HF_ASSETS_CACHE", str(tmp_path / "file"))
    assert cache_folder("openvino").parents[1] == tmp_path / "file"  # writing there fails
