import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineup.inference import answer_store
from lineup.inference.answer_store import AnswerStore, fingerprint
from lineup.registry.labels import from_names
from lineup.registry.plan import Plan, Transform

ROOT = Path(__file__).parents[2]
MAX_BYTES = 10**7
WRITER = """
import sys
import numpy as np
from pathlib import Path
from lineup.inference.answer_store import AnswerStore
path, name, batches = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store = AnswerStore(path, 10**8)
for batch in range(batches):
    store.put_many({f"{name} {batch} {i}": np.full(1000, batch, np.float32) for i in range(8)}, "x", "logits")
    print(batch, flush=True)
"""


@pytest.fixture
def store(tmp_path):
    return AnswerStore(tmp_path / "cache" / "answers.sqlite", MAX_BYTES)


def arrays(*names, outputs=10):
    return {name: np.arange(outputs, dtype=np.float32) + len(name) for name in names}


def write_in_a_process(path, name, batches):
    command = [sys.executable, "-c", WRITER, str(path), name, str(batches)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_arrays_come_back_by_image_fingerprint_and_kind(store):
    store.put_many(arrays("a", "bb"), "x", "logits")
    found = store.get_many(["a", "bb", "missing"], "x", "logits")
    assert found.keys() == {"a", "bb"}
    assert found["bb"].dtype == np.float32
    assert np.array_equal(found["bb"], arrays("bb")["bb"])
    assert store.get_many(["a"], "y", "logits") == {}
    assert store.get_many(["a"], "x", "features") == {}


def test_another_process_finds_what_was_stored_and_may_replace_it(store):
    store.put_many(arrays("a"), "x", "features")
    again = AnswerStore(store._path, MAX_BYTES)
    again.put_many({"a": np.zeros(3)}, "x", "features")
    assert np.array_equal(store.get_many(["a"], "x", "features")["a"], np.zeros(3))


def test_an_empty_fingerprint_stores_and_finds_nothing(store):
    store.put_many(arrays("a"), "", "logits")
    assert store.get_many(["a"], "", "logits") == {}
    assert not store._path.exists()


def test_the_least_recently_used_are_evicted_first(tmp_path):
    store = AnswerStore(tmp_path / "answers.sqlite", 3 * 10**6)
    names = [str(number) for number in range(240)]
    for begin in range(0, 240, 80):
        store.put_many(arrays(*names[begin : begin + 80], outputs=2000), "x", "logits")
    store.get_many(names[:80], "x", "logits")  # used again: now the second 80 are the oldest
    store.put_many(arrays(*(f"new {number}" for number in range(160)), outputs=2000), "x", "logits")
    kept = store.get_many(names, "x", "logits").keys()
    assert kept >= set(names[:80])
    assert not kept & set(names[80:144])
    assert len(store.get_many([f"new {number}" for number in range(160)], "x", "logits")) == 160


@pytest.mark.parametrize("outputs", [1, 1000, 50_000])
def test_the_file_stays_within_its_bound(tmp_path, outputs):
    store = AnswerStore(tmp_path / "answers.sqlite", MAX_BYTES // 4)
    for batch in range(10):
        store.put_many(arrays(*(f"{batch} {i}" for i in range(200)), outputs=outputs), "x", "logits")
        assert store._path.stat().st_size <= MAX_BYTES // 4
    assert store.get_many(["9 199"], "x", "logits")
    assert store._path.stat().st_size > MAX_BYTES // 10 or outputs == 1


def test_an_array_larger_than_the_bound_is_not_stored(tmp_path):
    store = AnswerStore(tmp_path / "answers.sqlite", 2 * 10**5)
    store.put_many({"a": np.zeros(10**6, np.float32)}, "x", "logits")
    store.put_many(arrays("b"), "x", "logits")
    assert store.get_many(["a", "b"], "x", "logits").keys() == {"b"}


@pytest.mark.parametrize(
    "content",
    [b"not a database", b"", b"SQLite format 3\0" + bytes(5000), "truncated", "overwritten", "another table"],
    ids=str,
)
def test_a_damaged_store_is_set_aside_and_begun_anew(store, caplog, content):
    store.put_many(arrays(*map(str, range(300)), outputs=1000), "x", "logits")
    body = store._path.read_bytes()
    if content == "truncated":
        content = body[: len(body) // 2]
    if content == "overwritten":
        content = body[:4096] + os.urandom(len(body) - 4096)
    store._path.write_bytes(body if content == "another table" else content)
    if content == "another table":
        with sqlite3.connect(store._path) as connection:
            connection.execute("ALTER TABLE answers RENAME COLUMN crc TO other")
        connection.close()
    for name in ("1", "299"):
        assert len(store.get_many([name], "x", "logits")) <= 1
    store.put_many(arrays("new", outputs=1000), "x", "logits")
    store.put_many(arrays("new", outputs=1000), "x", "logits")
    assert np.array_equal(store.get_many(["new"], "x", "logits")["new"], arrays("new", outputs=1000)["new"])
    damaged = store._path.with_name("answers.sqlite.damaged")
    assert damaged.exists() == ("is damaged" in caplog.text) == (content != b"")


def test_a_changed_byte_is_a_miss_and_not_a_wrong_answer(store):
    store.put_many(arrays("a", "b"), "x", "logits")
    with sqlite3.connect(store._path) as connection:
        connection.execute("UPDATE answers SET data = zeroblob(40) WHERE rowid = 1")
    connection.close()
    assert store.get_many(["a", "b"], "x", "logits").keys() == {"b"}
    store.put_many(arrays("a"), "x", "logits")
    assert store.get_many(["a", "b"], "x", "logits").keys() == {"a", "b"}


def test_a_folder_that_cannot_be_written_is_logged_once(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    store = AnswerStore(tmp_path / "file" / "answers.sqlite", MAX_BYTES)
    for _ in range(3):
        store.put_many(arrays("a"), "x", "logits")
        assert store.get_many(["a"], "x", "logits") == {}
    assert caplog.text.count("answers cannot be stored") == 1


def test_a_locked_store_misses_writes_but_still_reads(store, monkeypatch, caplog):
    store.put_many(arrays("a"), "x", "logits")
    monkeypatch.setattr(answer_store, "TIMEOUT_S", 0.01)
    other = sqlite3.connect(store._path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.get_many(["a"], "x", "logits").keys() == {"a"}
    store.put_many(arrays("b"), "x", "logits")
    other.close()
    assert "answers cannot be stored: database is locked" in caplog.text
    assert store.get_many(["a", "b"], "x", "logits").keys() == {"a"}


def test_two_processes_that_write_at_once_lose_nothing(store):
    with write_in_a_process(store._path, "one", 40) as one, write_in_a_process(store._path, "two", 40) as two:
        for process in (one, two):
            _, errors = process.communicate(timeout=60)
            assert (process.returncode, errors) == (0, "")
    names = [f"{name} {batch} {i}" for name in ("one", "two") for batch in range(40) for i in range(8)]
    assert store.get_many(names, "x", "logits").keys() == set(names)


def test_a_killed_process_leaves_whole_batches_and_a_whole_store(store, caplog):
    for name in ("one", "two"):
        with write_in_a_process(store._path, name, 10**6) as process:
            for _ in range(5):
                written = int(process.stdout.readline())
            process.kill()  # most likely during a write
            written = int([written, *process.stdout.read().split()][-1])
        names = [f"{name} {batch} {i}" for batch in range(written + 2) for i in range(8)]
        found = store.get_many(names, "x", "logits")
        batches = [int(image.split()[1]) for image in found]
        assert set(batches) >= set(range(written + 1))
        assert len(batches) % 8 == 0
        assert all(array[0] == int(image.split()[1]) for image, array in found.items())
    assert caplog.text == ""


class Engine:
    name, hint = "torch", "f32"


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "weights").write_bytes(b"weights")
    transform = Transform(lambda image: None, (8, 8), (0, 0, 0), (1, 1, 1), "resize")
    return Plan("a", "fake", "net", 0, from_names(["cat"], "x"), transform, None, lambda path: None, fingerprint="net")


def test_fingerprint_covers_all_that_decides_a_result(plan, tmp_path, monkeypatch):
    path, other = tmp_path / "weights", tmp_path / "other"
    other.write_bytes(b"others")
    bf16, openvino = Engine(), Engine()
    bf16.hint, openvino.name = "bf16", "openvino"
    transform = plan.transform
    of = [
        fingerprint(plan, path, Engine(), "cpu"),
        fingerprint(plan, other, Engine(), "cpu"),
        fingerprint(replace(plan, architecture="other"), path, Engine(), "cpu"),
        fingerprint(replace(plan, fingerprint="other"), path, Engine(), "cpu"),
        fingerprint(replace(plan, transform=replace(transform, fingerprint="crop")), path, Engine(), "cpu"),
        fingerprint(replace(plan, transform=replace(transform, input_size=(9, 8))), path, Engine(), "cpu"),
        fingerprint(plan, path, bf16, "cpu"),
        fingerprint(plan, path, openvino, "cpu"),
        fingerprint(plan, path, Engine(), "cuda"),
        fingerprint(plan, path, Engine(), "cpu", min_side_px=256),
    ]
    monkeypatch.setattr(answer_store, "FORMAT", answer_store.FORMAT + 1)
    of.append(fingerprint(plan, path, Engine(), "cpu"))
    monkeypatch.setattr(answer_store, "_versions", lambda: {"timm": "9"})
    of.append(fingerprint(plan, path, Engine(), "cpu"))
    assert len(set(of)) == len(of)
    assert all(len(each) == 64 for each in of)


def test_fingerprint_ignores_name_and_labels(plan, tmp_path):
    path, renamed = tmp_path / "weights", replace(plan, name="b", labels=from_names(["dog"], "y"), license="mit")
    assert fingerprint(plan, path, Engine(), "cpu") == fingerprint(renamed, path, Engine(), "cpu")


def test_fingerprint_is_empty_for_what_cannot_be_identified(plan, tmp_path):
    path = tmp_path / "weights"
    assert fingerprint(plan, None, Engine(), "cpu") == ""
    assert fingerprint(replace(plan, fingerprint=""), path, Engine(), "cpu") == ""
    assert fingerprint(replace(plan, transform=replace(plan.transform, fingerprint="")), path, Engine(), "cpu") == ""


def test_versions_name_the_libraries_that_compute():
    assert answer_store._versions().keys() == {"torch", "torchvision", "timm", "openvino", "pillow", "numpy"}


def test_the_engines_tell_their_precision(make_service, tmp_path):
    import torch

    from lineup.engines.torch_engine import TorchEngine

    network = torch.nn.Identity()
    assert TorchEngine(network, "cpu", "auto").hint == "f32"
    assert TorchEngine(network, "cpu", "bfloat16").hint == "bf16"
