"""The cache of converted networks: its keys, integrity checks, eviction and concurrent use."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import seeded_timm
from opening import opened_files
from safetensors.torch import save_file

from lineup import config, registry
from lineup.engines import openvino_cache, openvino_engine, versions
from lineup.engines.torch_engine import TorchEngine
from lineup.errors import BackboneError

pytestmark = pytest.mark.openvino
ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "lineup"))
    return tmp_path / "lineup" / "openvino"


@pytest.fixture
def planned(tmp_path):
    """Return a plan with a checkpoint, the checkpoint's path, and the network with its weights."""
    path = tmp_path / "weights.safetensors"
    save_file(seeded_timm("test_resnet").state_dict(), path)
    entry = config.Entry.model_validate({"backbone": "test_resnet", "checkpoint": path.name, "input_size": 96})
    plan = registry.plan(entry, registry.Context(tmp_path, lambda file: path))
    return plan, path, registry.build(plan, path)


def convert(planned):
    plan, path, network = planned
    return openvino_cache.convert(TorchEngine(network, "cpu"), plan, path, "float32")


def cached(planned, **changes):
    plan, path, _ = planned
    return openvino_cache.cached(replace(plan, **changes), path, "float32")


def answers_like_torch(engine, planned):
    batch = np.random.default_rng(2).standard_normal((1, 3, 96, 96), np.float32)
    np.testing.assert_allclose(engine(batch), TorchEngine(planned[2], "cpu")(batch), atol=1e-4)
    return True


def test_converted_network_is_cached(cache, planned):
    assert cached(planned) is None
    assert answers_like_torch(convert(planned), planned)
    (folder,) = cache.iterdir()
    assert {file.name for file in folder.iterdir()} == {"model.xml", "model.bin", "sha256.json"}
    assert answers_like_torch(cached(planned), planned)


def test_weights_and_entry_are_not_read_again(cache, planned):
    convert(planned)
    with opened_files() as opened:
        assert cached(planned)
    assert [path.name for path in opened if path.suffix in (".safetensors", ".xml", ".bin")] == []
    assert "sha256.json" in [path.name for path in opened]


def test_cache_key_has_weights_input_size_precision_fingerprint_and_versions(cache, planned, monkeypatch):
    convert(planned)
    plan, path, network = planned
    assert cached(planned, fingerprint="another network") is None
    assert cached(planned, transform=replace(plan.transform, input_size=(96, 128))) is None
    with monkeypatch.context() as patch:
        patch.setattr(openvino_engine, "precision_hint", lambda precision: "f16")
        assert cached(planned) is None
    with monkeypatch.context() as patch:
        patch.setattr(versions, "version", lambda package: "0.0.1")
        assert cached(planned) is None
    assert cached(planned)
    save_file({**network.state_dict(), "fc.bias": network.fc.bias + 1}, path)
    assert cached(planned) is None


def test_entry_that_another_process_has_renamed_first_is_used(cache, planned, monkeypatch, caplog):
    def rename(draft, target, rename=Path.rename):
        shutil.copytree(draft, target)
        return rename(draft, target)

    monkeypatch.setattr(Path, "rename", rename)
    convert(planned)
    assert len(list(cache.iterdir())) == 1
    assert cached(planned)
    assert caplog.messages == []


def test_random_weights_and_networks_without_fingerprint_are_not_cached(cache, planned):
    plan, path, network = planned
    openvino_cache.convert(TorchEngine(network, "cpu"), replace(plan, fingerprint=""), path, "float32")
    openvino_cache.convert(TorchEngine(network, "cpu"), plan, None, "float32")
    assert not cache.exists()


def corrupt_weights(folder):
    file = folder / "model.bin"
    body = bytearray(file.read_bytes())
    body[1000] ^= 1
    file.write_bytes(body)


def truncate_weights(folder):
    file = folder / "model.bin"
    file.write_bytes(file.read_bytes()[:5000])


def delete_file(folder):
    (folder / "model.xml").unlink()


def corrupt_hashes(folder):
    (folder / "sha256.json").write_text("{not JSON")


def replace_model_and_hashes(folder):
    (folder / "model.xml").write_text("<net/>")
    (folder / "sha256.json").write_text(json.dumps(openvino_cache._hashes(folder)))


@pytest.mark.parametrize(
    "damage", [corrupt_weights, truncate_weights, delete_file, corrupt_hashes, replace_model_and_hashes]
)
def test_damaged_entry_is_removed_and_converted_again(cache, planned, caplog, damage):
    convert(planned)
    (folder,) = cache.iterdir()
    damage(folder)
    with caplog.at_level(logging.WARNING):
        assert cached(planned) is None
    assert "is converted again" in caplog.text
    assert not folder.exists()
    convert(planned)
    assert answers_like_torch(cached(planned), planned)


def test_full_disk_is_logged_and_the_network_still_runs(cache, planned, caplog, monkeypatch):
    def save(model, file):
        file.write_bytes(b"half of it")
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(openvino_engine, "save", save)
    assert answers_like_torch(convert(planned), planned)
    assert "a converted network cannot be cached: basic_ios" in caplog.text
    assert list(cache.iterdir()) == []


def test_failure_to_create_the_cache_folder_is_logged(cache, planned, caplog):
    cache.parent.mkdir(exist_ok=True)
    cache.write_text("a file at the folder's path")
    assert answers_like_torch(convert(planned), planned)
    assert "cannot be cached" in caplog.text


def test_rejected_conversion_is_not_cached(cache, planned, monkeypatch):
    def refuse(*args, **settings):
        raise BackboneError("", "", "OpenVINO's numbers are not torch's")

    monkeypatch.setattr(openvino_engine, "compile_checked", refuse)
    with pytest.raises(BackboneError, match="not torch's"):
        convert(planned)
    assert list(cache.iterdir()) == []


def test_old_entries_and_abandoned_partial_folders_are_removed(cache, planned):
    names = ("0" * 32, "1" * 32, f"{'2' * 32}.x.partial", f"{'3' * 32}.y.partial", "huggingface")
    old, recent, abandoned, in_progress, foreign = (cache / name for name in names)
    for folder, age_days in ((old, 31), (recent, 29), (abandoned, 0.1), (in_progress, 0), (foreign, 31)):
        folder.mkdir(parents=True)
        (folder / "model.xml").touch()
        os.utime(folder, (time.time() - age_days * 24 * 3600,) * 2)
    convert(planned)
    assert foreign.exists()
    assert not old.exists()
    assert not abandoned.exists()
    assert recent.exists()
    assert in_progress.exists()
    assert cached(planned)


PROCESS = """
import sys
from pathlib import Path
from lineup import config, registry
from lineup.engines import openvino_cache
from lineup.engines.torch_engine import TorchEngine
path = Path(sys.argv[1])
entry = config.Entry.model_validate({"backbone": "test_resnet", "checkpoint": path.name, "input_size": 96})
plan = registry.plan(entry, registry.Context(path.parent, lambda file: path))
network = TorchEngine(registry.build(plan, path), "cpu")
print("ready", flush=True)
sys.stdin.readline()  # both begin at the same time
for _ in range(5):
    openvino_cache.convert(network, plan, path, "float32")
    assert openvino_cache.cached(plan, path, "float32"), "incomplete"
"""


@pytest.mark.long
def test_concurrent_processes_leave_a_valid_cache(cache, planned):
    command, pipe = [sys.executable, "-c", PROCESS, str(planned[1])], subprocess.PIPE
    processes = [subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        stderr = process.communicate(timeout=120)[1]
        assert process.returncode == 0, stderr
        assert "damaged" not in stderr
    assert len(list(cache.iterdir())) == 1
    assert answers_like_torch(cached(planned), planned)


def test_missing_openvino_disables_the_cache_with_a_reason(cache, planned, monkeypatch):
    convert(planned)
    monkeypatch.setattr(openvino_engine, "unavailable", lambda *_: "OpenVINO is not installed")
    assert cached(planned) is None
    with pytest.raises(BackboneError, match="OpenVINO is not installed"):
        convert(planned)


def test_unsupported_bfloat16_keeps_the_cached_network(cache, planned, monkeypatch):
    convert(planned)
    monkeypatch.setattr(openvino_engine, "_computes_in_bfloat16", lambda core: False)
    plan, path, network = planned
    assert openvino_cache.cached(plan, path, "bfloat16") is None
    with pytest.raises(BackboneError, match=r"^this CPU does not support bfloat16$"):
        openvino_cache.convert(TorchEngine(network, "cpu", "bfloat16"), plan, path, "bfloat16")
    assert answers_like_torch(openvino_cache.cached(plan, path, "auto"), planned)
