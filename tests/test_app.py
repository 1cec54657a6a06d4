"""End-to-end tests of the HTTP API with Gradio's client: every source, and every client error."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
import torch_hub
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from hub import timm_repo
from networks import seeded_timm
from serving import ROOT, caches, free_port, serving, without_hub
from waiting import until
from zerogpu import serve_device_api

CONFIG = """
title: Birds & <b>others</b>
default: resnet18
backbones:
  - resnet18
  - torchvision/squeezenet1_1
  - hf-hub:me/pets
  - local-dir:folder
  - {name: own, backbone: resnet18, checkpoint: own.safetensors, labels: own.txt}
  - {name: untrained, backbone: resnet18, pretrained: false}
  - hf-hub:me/gated
  - hf-hub:me/nowhere
  - resnet5O
  - vit_base_patch16_clip_224.openai
examples:
  - {image: shapes.jpg, caption: shapes}
  - gone.jpg
"""
GOOD = {
    "resnet18": "timm",
    "torchvision/squeezenet1_1": "torchvision",
    "hf-hub:me/pets": "hf-hub",
    "local-dir:folder": "local-dir",
    "own": "checkpoint",
    "untrained": "untrained",
}
PETS = ["n02123045", "n02099601", "my hamster"]
SQUEEZENET = "squeezenet1_1-b8a52dc0.pth"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="module")
def served(home, publish, image, standing_hub):
    """Serve one page with backbones of every source, valid and invalid."""
    import torch
    import torchvision
    from networks import scale_head
    from safetensors.torch import save_file

    hub = standing_hub
    publish("resnet18.a1_in1k")
    pets = timm_repo(seeded_timm("resnet18", num_classes=3), label_names=PETS)
    hub.put("me/pets", pets)
    hub.put("me/gated", pets)
    hub.faults["me/gated"] = "gated"
    (home / "folder").mkdir()
    for name, body in pets.items():
        (home / "folder" / name).write_bytes(body)
    save_file(seeded_timm("resnet18", num_classes=2).state_dict(), home / "own.safetensors")
    (home / "own.txt").write_text("mine\nyours\n")
    (home / "shapes.jpg").write_bytes(image.read_bytes())
    checkpoints = home / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(scale_head(torchvision.models.squeezenet1_1(weights=None)).state_dict(), checkpoints / SQUEEZENET)
    (home / "config.yaml").write_text(CONFIG)
    path = f"{torch_hub.agree_in_subprocesses(home / 'site', checkpoints / SQUEEZENET)}{os.pathsep}{ROOT}"
    env = {**os.environ, **caches(home), "PYTHONPATH": path, "GRADIO_TEMP_DIR": str(home / "uploads")}
    with serving(home / "config.yaml", env, home / "log.txt") as app:
        yield app
    hub.faults.clear()


@pytest.fixture(scope="module")
def client(served):
    return Client(served.url, verbose=False)


@pytest.mark.parametrize("name", GOOD)
def test_every_source_classifies(client, image, name):
    answer = client.predict(handle_file(str(image)), backbone=name, top_k=2, api_name="/classify")
    assert answer["backbone"] == name
    assert answer["input_size"] == [224, 224]
    assert answer["engine"] == "torch"
    keys = ["backbone", "predictions", "activation", "above_half", "input_size", "engine", "milliseconds", "notes"]
    assert list(answer) == keys
    probabilities = [prediction["probability"] for prediction in answer["predictions"]]
    assert len(probabilities) == 2
    assert 1 >= probabilities[0] >= probabilities[1] > 0


def test_labels_come_from_the_weights(client, image):
    def labels(name):
        answer = client.predict(handle_file(str(image)), backbone=name, top_k=3, api_name="/classify")
        return {(item["class_index"], item["id"], item["label"]) for item in answer["predictions"]}, answer["notes"]

    assert labels("hf-hub:me/pets")[0] == {
        (0, "n02123045", "tabby"),
        (1, "n02099601", "golden retriever"),
        (2, None, "my hamster"),
    }
    own, notes = labels("own")
    assert own == {(0, None, "mine"), (1, None, "yours")}
    assert notes == [
        "preprocessing assumed from resnet18.a1_in1k: input_size, mean, std, crop_mode, crop_pct, interpolation",
        "top_k 3 is more than there are classes: all 2 are listed",
    ]
    assert "untrained: the weights are random, so the predictions are meaningless" in labels("untrained")[1]
    assert all(key and not label.startswith("class ") for _, key, label in labels("torchvision/squeezenet1_1")[0])


def test_classify_uses_the_default_backbone(client, image):
    answer = client.predict(handle_file(str(image)), api_name="/classify")
    assert (answer["backbone"], len(answer["predictions"])) == ("resnet18", 3)


def test_backbones_lists_source_status_and_facts(client):
    rows = {row["name"]: row for row in client.predict(api_name="/backbones")}
    assert {name: rows[name]["source"] for name in GOOD} == GOOD
    assert rows["resnet18"]["num_classes"] == 1000
    assert {name for name, row in rows.items() if row["status"] == "unavailable"} == {
        "hf-hub:me/gated",
        "hf-hub:me/nowhere",
        "resnet5O",
        "vit_base_patch16_clip_224.openai",
    }
    assert rows["resnet5O"]["reason"].endswith("did you mean 'resnet50'?")
    accuracies = {name: row["figures"]["imagenet_top1"] for name, row in rows.items() if row["figures"]}
    assert accuracies == {"resnet18": 71.504, "torchvision/squeezenet1_1": 58.178}


def test_compare_returns_results_errors_and_agreement(client, image):
    names = ["own", "hf-hub:me/gated", "resnet18"]
    comparison = client.predict(handle_file(str(image)), backbones=names, top_k=1, api_name="/compare")
    assert list(comparison) == ["results", "agreement", "left_out"]
    own, gated, resnet18 = comparison["results"]
    for name, answer in {"own": own, "resnet18": resnet18}.items():
        alone = client.predict(handle_file(str(image)), backbone=name, top_k=1, api_name="/classify")
        assert list(answer) == list(alone)
        assert answer["backbone"] == name
        [compared], [single] = answer["predictions"], alone["predictions"]
        # OpenVINO may have replaced torch between the two
        assert compared == {**single, "probability": pytest.approx(single["probability"], abs=1e-4)}
    assert list(gated) == ["backbone", "error", "where", "expected", "got", "remedy"]
    assert gated["backbone"] == "hf-hub:me/gated"
    assert "the repository is gated" in gated["error"]
    assert comparison["agreement"]["not_comparable"] == ["own", "resnet18"]
    assert comparison["agreement"]["sentence"].startswith("Nothing can be compared: ")
    assert comparison["agreement"]["sentence"].endswith("hf-hub:me/gated did not answer.")


def test_compare_uses_all_available_backbones_by_default(client, image):
    rows = client.predict(api_name="/backbones")
    comparison = client.predict(handle_file(str(image)), api_name="/compare")
    unavailable = [row["name"] for row in rows if row["status"] == "unavailable"]
    available = [row["name"] for row in rows if row["name"] not in unavailable]
    assert [answer["backbone"] for answer in comparison["results"]] == available[:6]
    assert [item["backbone"] for item in comparison["left_out"]] == unavailable
    assert "resnet18" in available


def error(client, *arguments, api_name="/classify", **named) -> str:
    with pytest.raises(AppError) as caught:
        client.predict(*arguments, **named, api_name=api_name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "backbones: expected a list of one name or more; got []"),
        ("resnet18", "backbones: expected a list of one name or more; got 'resnet18'"),
        (["resnet18", "resnet81"], "got 'resnet81'; did you mean 'resnet18'?"),
        (["resnet18", "own", "resnet18"], "expected each name once; got 'resnet18' again; leave one out"),
        (["resnet18", 3], "expected one name of the line-up; got 3"),
        ([*GOOD, "resnet5O"], "expected at most 6 at once; got 7; leave some out"),
    ],
)
def test_invalid_comparison_is_an_error(client, image, names, message):
    assert message in error(client, handle_file(str(image)), backbones=names, api_name="/compare")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"backbone": "resnet81"}, "got 'resnet81'; did you mean 'resnet18'?"),
        ({"backbone": "hf-hub:me/gated"}, "the repository is gated; accept the terms"),
        ({"backbone": "hf-hub:me/nowhere"}, "no such public repository; check the name"),
        ({"backbone": "resnet5O"}, "did you mean 'resnet50'?"),
        ({"backbone": "vit_base_patch16_clip_224.openai"}, "its output is an embedding of 512 numbers, not classes"),
        ({"top_k": 0}, "top_k: expected a whole number from 1 to 100000; got 0"),
        ({"top_k": 2.5}, "top_k: expected a whole number from 1 to 100000; got 2.5"),
        ({"top_k": "3"}, "top_k: expected a whole number from 1 to 100000; got '3'"),
        ({"backbone": ["resnet18"]}, "backbone: expected one name of the line-up; got ['resnet18']"),
    ],
)
def test_invalid_request_is_an_error_without_fallback(client, image, named, message):
    assert message in error(client, handle_file(str(image)), **named)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "expected an uploaded file; got none"),
        ("a text", "expected an uploaded file; got none"),
        ({"path": "/etc/hostname"}, "got a path outside the upload folder; upload the image first"),
        ({"path": "../../etc/hostname"}, "got a path outside the upload folder; upload the image first"),
    ],
)
def test_only_uploaded_files_are_opened(client, value, message):
    assert message in error(client, value, backbone="untrained")


def test_undecodable_files_are_errors(client, tmp_path, image):
    (tmp_path / "notes.jpg").write_text("no image")
    (tmp_path / "cut.jpg").write_bytes(image.read_bytes()[:3000])
    message = error(client, handle_file(str(tmp_path / "notes.jpg")), backbone="untrained")
    assert "notes.jpg: expected an image; this file is not one that can be read" in message
    message = error(client, handle_file(str(tmp_path / "cut.jpg")), backbone="untrained")
    assert "cut.jpg: expected a whole image; it is damaged or cut off" in message


def test_plain_http_call_uses_the_defaults(served, image):
    boundary = "lineup"
    body = (
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        ).encode()
        + image.read_bytes()
        + f"\r\n--{boundary}--\r\n".encode()
    )
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    [path] = _post(f"{served.url}gradio_api/upload", body, kind)
    fields = {"image": {"path": path, "meta": {"_type": "gradio.FileData"}}}
    call = f"{served.url}gradio_api/call/v2/classify"
    event = _post(call, json.dumps(fields).encode(), {"Content-Type": "application/json"})["event_id"]
    with urllib.request.urlopen(f"{served.url}gradio_api/call/classify/{event}", timeout=60) as stream:
        events = stream.read().decode()
    answer = json.loads(events.split("data: ", 1)[1].splitlines()[0])[0]
    assert (answer["backbone"], len(answer["predictions"])) == ("resnet18", 3)


def _post(url, body, headers):
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as response:
        return json.load(response)


def test_mcp_schema_lists_the_tools(served):
    with urllib.request.urlopen(f"{served.url}gradio_api/mcp/schema", timeout=30) as response:
        tools = {tool["name"]: tool for tool in json.load(response)}
    assert {name.rpartition("_")[2] for name in tools} == {"classify", "compare", "backbones", "evaluate", "evaluation"}


def test_title_is_escaped_and_missing_example_is_logged(served):
    with urllib.request.urlopen(served.url + "config", timeout=30) as response:
        page = response.read().decode()
    assert "Birds &amp; &lt;b&gt;others" in page
    assert "config.yaml:17:5: examples[1]: expected a path" in served.log.read_text()


def test_page_is_served_before_torch_is_imported(env, tmp_path, hub):
    (tmp_path / "config.yaml").write_text("backbones: [resnet18]")
    env |= {"PYTHONPROFILEIMPORTTIME": "1", "PYTHONUNBUFFERED": "1"}
    with serving(tmp_path / "config.yaml", env, tmp_path / "log.txt") as app:
        until = time.monotonic() + 60
        while "lineup.inference.pool: resnet18" not in app.log.read_text() and time.monotonic() < until:
            time.sleep(0.1)
    lines = app.log.read_text().splitlines()
    page = next(number for number, line in enumerate(lines) if "Running on local URL" in line)
    first = {
        module: next(
            n for n, line in enumerate(lines) if line.startswith("import time:") and line.endswith(f" {module}")
        )
        for module in ("gradio.blocks", "torch", "timm.models", "torchvision")
    }
    assert first["gradio.blocks"] < page < min(first["torch"], first["timm.models"], first["torchvision"])


BUILD = """
import ast, gc, inspect, sys, threading
from pathlib import Path

def stub(*_):
    raise AssertionError("gradio reads source files to write stubs")

ast.get_source_segment, known = stub, ast.get_source_segment
import app
ast.get_source_segment = known
import gradio
assert Path(inspect.getfile(gradio.Image)).is_file()
assert gc.isenabled()
assert isinstance(app.demo, gradio.Blocks)
assert app.SERVICE.config.backbones[0].name == "resnet18"
assert [each.name for each in threading.enumerate() if each.name in ("start", "sweep")] == []
print(*sorted({"torch", "torchvision", "timm", "openvino", "altair"} & set(sys.modules)))
"""


def test_building_the_page_imports_no_inference_libraries(env, tmp_path):
    (tmp_path / "config.yaml").write_text("backbones: [resnet18]")
    result = run({**env, "LINEUP_CONFIG": str(tmp_path / "config.yaml")}, "-c", BUILD, "--port", "not", "ours")
    assert (result.returncode, result.stdout.strip()) == (0, ""), result.stderr


def test_help_imports_no_heavy_libraries(env):
    result = run(env, "-X", "importtime", "app.py", "--help")
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert result.returncode == 0
    assert "--port" in result.stdout
    assert "lineup.engines.devices" in imported
    assert imported.isdisjoint({"torch", "timm", "gradio", "altair", "pydantic", "numpy"})


def test_invalid_config_exits_with_status_2_and_position(env, tmp_path):
    (tmp_path / "config.yaml").write_text("backbones: [resnet18]\ntopk: 3\n")
    result = run({**env, "LINEUP_CONFIG": str(tmp_path / "config.yaml")}, "app.py")
    assert result.returncode == 2
    assert result.stderr == "error: config.yaml:2:1: topk: expected a known key; got 'topk'; did you mean 'top_k'?\n"


def test_port_in_use_is_an_error(env, tmp_path):
    (tmp_path / "config.yaml").write_text("backbones: [resnet18]")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = run(env, "app.py", "--config", str(tmp_path / "config.yaml"), "--port", str(port))
    assert result.returncode == 2
    assert result.stderr.endswith(f"error: --port: expected a free port; {port} is in use; choose another one\n")


def run(env, *arguments):
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


def test_zerogpu_packs_backbones_before_the_page_is_served(env, tmp_path, image):
    (tmp_path / "config.yaml").write_text("backbones: [resnet5O, {name: raw, backbone: resnet18, pretrained: false}]")
    with (
        serve_device_api() as api,
        serving(tmp_path / "config.yaml", env | api.env(tmp_path), tmp_path / "log.txt") as app,
    ):
        client = Client(app.url, verbose=False)
        rows = {row["name"]: row for row in client.predict(api_name="/backbones")}
        assert api.paths == ["/startup-report"]
        with pytest.raises(
            AppError, match=r"raw: expected a ZeroGPU worker; .*; try again later"
        ):  # the fake API has no GPU
            client.predict(handle_file(image), backbone="raw", api_name="/classify")
        assert api.paths[1] == "/schedule"
        assert 10 < float(api.requests[1][1]["durationSeconds"]) < 60  # 12 million parameters transfer fast
        with pytest.raises(AppError, match="did you mean 'resnet50'"):
            client.predict(handle_file(image), backbone="resnet5O", api_name="/classify")
        assert api.paths.count("/schedule") == 1
        token = "header.e30.signature"  # the Hub's proxies add one to every request of a user
        answer = httpx2.post(f"{app.url}v1/models/raw", content=image.read_bytes(), headers={"X-IP-Token": token})
        assert (answer.status_code, answer.json()["expected"]) == (503, "a ZeroGPU worker")
        assert [query.get("token") for path, query in api.requests if path == "/schedule"] == [None, token]
    log = app.log.read_text()
    assert log.index("raw is ready on cuda") < log.index("tensors packing") < log.index("Running on local URL")
    assert rows["raw"]["status"] == "ready"
    assert rows["resnet5O"]["status"] == "unavailable"


@pytest.mark.long
def test_gradios_reload_mode_shows_an_edit_and_keeps_the_loaded_backbone(tmp_path, image):
    folder, port = tmp_path / "edited", free_port()
    folder.mkdir()
    app_file = Path(shutil.copy(ROOT / "app.py", folder))
    (folder / "config.yaml").write_text(
        f"engine: torch\nbackbones: [{{name: lite0, backbone: 'local-dir:{ROOT}/bundled/efficientnet_lite0'}}]"
    )
    log, host = tmp_path / "log.txt", f"http://127.0.0.1:{port}"
    env = {**without_hub(tmp_path), "PYTHONPATH": str(ROOT), "GRADIO_ANALYTICS_ENABLED": "False"}
    command = [str(Path(sys.executable).with_name("gradio")), "app.py", "--", "--port", str(port)]

    def title():
        with suppress(OSError), urllib.request.urlopen(f"{host}/config", timeout=5) as response:
            return json.load(response)["title"]

    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        until(lambda: title() and "lite0 is ready" in log.read_text(), 60)
        app_file.write_text(app_file.read_text() + '\ndemo.title = "Edited"\n')
        until(lambda: title() == "Edited", 30)
        client = Client(host, verbose=False)
        answer = client.predict(handle_file(str(image)), api_name="/classify")
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the page is served by a child process
        process.wait(20)
    assert answer["backbone"] == "lite0"
    assert log.read_text().count("lite0 is ready") == 1
    assert "Traceback" not in log.read_text()
