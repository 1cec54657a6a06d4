"""What was converted is kept, found again when it is the same, and never trusted when it is not."""

import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import seeded_timm
from safetensors.torch import save_file

from lineup import config, registry
from lineup.engines import openvino_cache, openvino_engine
from lineup.engines.torch_engine import TorchEngine
from lineup.errors import BackboneError

pytestmark = pytest.mark.openvino
ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "kept"
    monkeypatch.setenv("LINEUP_CACHE", str(folder))
    return folder


@pytest.fixture
def planned(tmp_path):
    """Return a plan with weights of its own, their file, and the network that they make."""
    path = tmp_path / "weights.safetensors"
    save_file(seeded_timm("test_resnet").state_dict(), path)
    entry = config.Entry.model_validate({"backbone": "test_resnet", "checkpoint": path.name, "input_size": 96})
    plan = registry.plan(entry, registry.Context(tmp_path, lambda file: path))
    return plan, path, registry.build(plan, path)


def convert(planned):
    plan, path, network = planned
    return openvino_cache.convert(TorchEngine(network, "cpu"), plan, path, "float32")


def kept(planned, **changes):
    plan, path, _ = planned
    return openvino_cache.cached(replace(plan, **changes), path, "float32")


def answers_like_torch(found, planned):
    batch = np.random.default_rng(2).standard_normal((1, 3, 96, 96), np.float32)
    np.testing.assert_allclose(found(batch), TorchEngine(planned[2], "cpu")(batch), atol=1e-4)
    return True


def test_the_next_start_finds_what_this_one_converted(cache, planned):
    assert kept(planned) is None
    assert answers_like_torch(convert(planned), planned)
    (folder,) = cache.iterdir()
    assert {each.name for each in folder.iterdir()} == {"model.xml", "model.bin", "sha256.json"}
    assert answers_like_torch(kept(planned), planned)


def test_other_weights_sizes_networks_or_versions_are_not_the_same(cache, planned, monkeypatch):
    convert(planned)
    plan, path, network = planned
    assert kept(planned, fingerprint="another network") is None
    assert kept(planned, transform=replace(plan.transform, input_size=(96, 128))) is None
    with monkeypatch.context() as patch:
        patch.setattr(openvino_cache, "version", lambda package: "0.0.1")
        assert kept(planned) is None
    assert kept(planned)
    save_file({**network.state_dict(), "fc.bias": network.fc.bias + 1}, path)
    assert kept(planned) is None


def test_random_weights_and_networks_that_nobody_can_name_are_not_kept(cache, planned):
    plan, path, network = planned
    openvino_cache.convert(TorchEngine(network, "cpu"), replace(plan, fingerprint=""), path, "float32")
    openvino_cache.convert(TorchEngine(network, "cpu"), plan, None, "float32")
    assert not cache.exists()


def spoil_weights(folder):
    file = folder / "model.bin"
    body = bytearray(file.read_bytes())
    body[1000] ^= 1
    file.write_bytes(body)


def cut_off(folder):
    file = folder / "model.bin"
    file.write_bytes(file.read_bytes()[:5000])


def lose_a_file(folder):
    (folder / "model.xml").unlink()


def spoil_hashes(folder):
    (folder / "sha256.json").write_text("{not JSON")


def lie_about_hashes(folder):
    (folder / "model.xml").write_text("<net/>")
    (folder / "sha256.json").write_text(json.dumps(openvino_cache._hashes(folder)))


@pytest.mark.parametrize("spoil", [spoil_weights, cut_off, lose_a_file, spoil_hashes, lie_about_hashes])
def test_a_damaged_one_is_removed_and_made_anew(cache, planned, caplog, spoil):
    convert(planned)
    (folder,) = cache.iterdir()
    spoil(folder)
    with caplog.at_level(logging.WARNING):
        assert kept(planned) is None
    assert "is converted again" in caplog.text
    assert not folder.exists()
    convert(planned)
    assert answers_like_torch(kept(planned), planned)


def test_without_room_it_runs_all_the_same_and_the_log_says_why(cache, planned, caplog, monkeypatch):
    def save(model, file):
        file.write_bytes(b"half of it")
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(openvino_engine, "save", save)
    assert answers_like_torch(convert(planned), planned)
    assert "a converted network cannot be cached: basic_ios" in caplog.text
    assert list(cache.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_no_reason_to_stop(cache, planned, caplog):
    cache.write_text("a file stands in its way")
    assert answers_like_torch(convert(planned), planned)
    assert "cannot be cached" in caplog.text


def test_what_is_refused_is_not_kept(cache, planned, monkeypatch):
    def refuse(*args, **settings):
        raise BackboneError("", "", "OpenVINO's numbers are not torch's")

    monkeypatch.setattr(openvino_engine, "compile_checked", refuse)
    with pytest.raises(BackboneError, match="not torch's"):
        convert(planned)
    assert list(cache.iterdir()) == []


def test_what_nobody_used_for_long_goes_and_so_does_what_a_killed_process_left(cache, planned):
    old, recent, left, written = (cache / name for name in ("old", "recent", "a.x.partial", "b.y.partial"))
    for folder, age_days in ((old, 31), (recent, 29), (left, 0.1), (written, 0)):
        folder.mkdir(parents=True)
        (folder / "model.xml").touch()
        os.utime(folder, (time.time() - age_days * 24 * 3600,) * 2)
    convert(planned)
    assert not old.exists()
    assert not left.exists()
    assert recent.exists()
    assert written.exists()
    assert kept(planned)


PROCESS = """
import sys, time
from pathlib import Path
from lineup import config, registry
from lineup.engines import openvino_cache
from lineup.engines.torch_engine import TorchEngine
path, start = Path(sys.argv[1]), float(sys.argv[2])
entry = config.Entry.model_validate({"backbone": "test_resnet", "checkpoint": path.name, "input_size": 96})
plan = registry.plan(entry, registry.Context(path.parent, lambda file: path))
network = TorchEngine(registry.build(plan, path), "cpu")
time.sleep(max(0, start - time.time()))
for _ in range(5):
    openvino_cache.convert(network, plan, path, "float32")
    assert openvino_cache.cached(plan, path, "float32"), "it is not whole"
"""


def test_two_processes_that_share_the_folder_leave_it_whole(cache, planned):
    command = [sys.executable, "-c", PROCESS, str(planned[1]), str(time.time() + 12)]
    both = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for each in both:
        said = each.communicate(timeout=120)[1]
        assert each.returncode == 0, said
        assert "damaged" not in said
    assert len(list(cache.iterdir())) == 1
    assert answers_like_torch(kept(planned), planned)


def test_without_openvino_there_is_nothing_to_find_and_a_reason(cache, planned, monkeypatch):
    convert(planned)
    monkeypatch.setattr(openvino_engine, "unavailable", lambda *_: "OpenVINO is not installed")
    assert kept(planned) is None
    with pytest.raises(BackboneError, match="OpenVINO is not installed"):
        convert(planned)


def test_bfloat16_on_a_processor_without_it_leaves_what_was_kept(cache, planned, monkeypatch):
    convert(planned)
    monkeypatch.setattr(openvino_engine, "_computes_in_bfloat16", lambda core: False)
    plan, path, network = planned
    assert openvino_cache.cached(plan, path, "bfloat16") is None
    with pytest.raises(BackboneError, match=r"^this CPU does not support bfloat16$"):
        openvino_cache.convert(TorchEngine(network, "cpu", "bfloat16"), plan, path, "bfloat16")
    assert answers_like_torch(openvino_cache.cached(plan, path, "auto"), planned)
