"""Recovery after SIGKILL: a restart ignores partial downloads and conversions."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import serving
from gradio_client import Client, handle_file
from networks import seeded_timm
from safetensors.torch import save_file
from serving import ROOT, caches, free_port
from waiting import until

from lineup.hub import checksums

pytestmark = pytest.mark.long

BODY = os.urandom(2_000_000)
FETCH = """
import hashlib, sys
from pathlib import Path
from lineup.hub.downloads import HubFile, UrlFile, fetch
kind, url, folder, sha256 = sys.argv[1:]
name = "model.safetensors"
file = HubFile("me/pets", (name,)) if kind == "hub" else UrlFile(url, Path(folder, name), sha256)
print(hashlib.sha256(fetch(file, 20).read_bytes()).hexdigest())
"""
CONVERT = """
import sys, time
from pathlib import Path
from lineup import config, registry
from lineup.engines import openvino_cache, openvino_engine
from lineup.engines.torch_engine import TorchEngine
stop, weights = sys.argv[1], Path(sys.argv[2])
entry = config.Entry.model_validate({"backbone": "test_resnet", "checkpoint": weights.name, "input_size": 96})
plan = registry.plan(entry, registry.Context(weights.parent, lambda file: weights))
print("cached" if openvino_cache.cached(plan, weights, "float32") else "none", flush=True)

def wait(*_):
    print("waiting", flush=True)
    time.sleep(60)

def save_partially(model, path, save=openvino_engine.save):
    save(model, path)
    body = path.with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(body[: len(body) // 2])
    wait()

if stop == "during a write":
    openvino_engine.save = save_partially
if stop == "before the rename":
    Path.rename = wait
openvino_cache.convert(TorchEngine(registry.build(plan, weights), "cpu"), plan, weights, "float32")
print("cached" if openvino_cache.cached(plan, weights, "float32") else "none", flush=True)
"""


@contextmanager
def python(code, *arguments, env):
    """Run code in a subprocess, and kill it at the end of the block."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("kind", ["hub", "url"])
def test_killed_download_restarts(hub, env, tmp_path, kind):
    hub.put("me/pets", {"model.safetensors": BODY})
    digest = hashlib.sha256(BODY).hexdigest()
    arguments = (kind, f"{hub.url}/me/pets/resolve/main/model.safetensors", tmp_path / "env", digest[:8])

    def partial_files():
        return [path for end in ("incomplete", "partial") for path in (tmp_path / "env").rglob(f"*.{end}")]

    hub.faults["me/pets"] = "slow"
    with python(FETCH, *arguments, env=env):
        until(lambda: any(0 < path.stat().st_size < len(BODY) for path in partial_files()), timeout_s=60)
    assert partial_files()  # SIGKILL allows no cleanup
    hub.faults.clear()
    with python(FETCH, *arguments, env=env) as process:
        assert process.communicate(timeout=30)[0].strip() == digest


@pytest.mark.openvino
@pytest.mark.parametrize("stop", ["during a write", "before the rename"])
def test_killed_conversion_is_discarded_and_repeated(env, tmp_path, stop):
    file, cache = tmp_path / "weights.safetensors", Path(env["LINEUP_CACHE"], "openvino")
    save_file(seeded_timm("test_resnet").state_dict(), file)
    with python(CONVERT, stop, file, env=env) as process:
        assert [process.stdout.readline().strip() for _ in range(2)] == ["none", "waiting"]
    (partial,) = cache.iterdir()
    assert partial.suffix == ".partial"
    os.utime(partial, (time.time() - 7200,) * 2)
    with python(CONVERT, "", file, env=env) as process:
        assert process.communicate(timeout=60)[0].split() == ["none", "cached"]
    (complete,) = cache.iterdir()  # the partial conversion was deleted
    hashes = json.loads((complete / "sha256.json").read_text())
    assert hashes == {name: checksums.sha256(complete / name) for name in ("model.xml", "model.bin")}


@contextmanager
def app(folder, name):
    """Run app.py, and kill it at the end of the block."""
    port, log = free_port(), folder / f"{name}.txt"
    command = [sys.executable, "app.py", "--config", str(folder / "config.yaml"), "--port", str(port)]
    env = {**os.environ, **caches(folder), "GRADIO_TEMP_DIR": str(folder / "uploads")}
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            served = serving.Served(f"http://127.0.0.1:{port}/", log)
            serving._wait(served, process, time.monotonic() + 90)
            yield served, process
        finally:
            process.kill()
            process.wait()


def test_app_killed_during_requests_serves_again_after_restart(tmp_path, image):
    text = f"engine: torch\nbackbones: ['local-dir:{ROOT}/bundled/efficientnet_lite0']\n"
    (tmp_path / "config.yaml").write_text(text)
    answers, errors = [], []

    def request_repeatedly(url):
        try:
            client = Client(url, verbose=False)
            while True:
                answers.append(client.predict(handle_file(str(image)), api_name="/classify"))
        except Exception as error:  # its type depends on the step that was interrupted
            errors.append(error)

    with app(tmp_path, "first") as (served, process):
        threads = [threading.Thread(target=request_repeatedly, args=(served.url,), daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: len(answers) >= 3, timeout_s=60)
        process.kill()  # during three concurrent requests
        until(lambda: len(errors) == 3, timeout_s=60)
    with app(tmp_path, "second") as (served, _):
        answer = Client(served.url, verbose=False).predict(handle_file(str(image)), api_name="/classify")
    assert answer["predictions"] == answers[0]["predictions"]
