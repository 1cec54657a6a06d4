"""What stands before Gradio, on a real server in this process, with backbones that do as a test wishes."""

import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from reference import EXAMPLES
from requesting import JSON, ask, file_data, join, outcome
from serving import ROOT, free_port, without_hub
from waiting import until

import app
from lineup.errors import ImageError
from lineup.server import admission, allowlist, uploads

TWO = "backbones: ['fake:a', 'fake:b']"


@pytest.fixture
def launch(make_service, fakes):
    """Return a function that serves a config in this process until the test is over."""
    served = []

    def serve(text=TWO, ready=True):
        service = make_service(text)
        demo, gate = app.launch(service, free_port())
        served.append(demo)
        if ready:
            assert service.probed.wait(30)
        return SimpleNamespace(service=service, gate=gate, demo=demo, host=f"127.0.0.1:{demo.server_port}")

    yield serve
    for held in fakes.holds.values():
        held.set()
    for demo in served:
        demo.close(verbose=False)


@pytest.fixture(scope="module")
def plain():
    """Serve one bundled backbone to all tests that only look at what is refused."""
    from lineup import config
    from lineup.config import yaml_source
    from lineup.service import Service

    lite0 = "{name: lite0, backbone: local-dir:bundled/efficientnet_lite0}"
    text = f"limits: {{max_upload_mb: 1}}\nengine: torch\nbackbones: [{lite0}]"
    service = Service(config.build(yaml_source.parse(text, "config.yaml"), ROOT))
    demo, gate = app.launch(service, free_port())
    assert service.probed.wait(30)
    yield SimpleNamespace(service=service, gate=gate, demo=demo, host=f"127.0.0.1:{demo.server_port}")
    demo.close(verbose=False)


def client_of(page):
    return Client(f"http://{page.host}", verbose=False, analytics_enabled=False)


def upload(page, image):
    boundary = "lineup"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'.encode()
    body = head + image.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    status, _, text = ask(page.host, "POST", "/gradio_api/upload", body, headers)
    assert status == 200, text
    return json.loads(text)[0]


# --- health ---


def test_the_process_answers_at_once_and_is_ready_when_the_default_is(launch, fakes):
    held = fakes.hold("build a")
    page = launch(ready=False)
    assert ask(page.host, "GET", "/healthz")[::2] == (200, '{"detail": "ok"}')
    assert ask(page.host, "GET", "/readyz")[::2] == (503, '{"detail": "fake:a is loading"}')
    held.set()
    assert page.service.probed.wait(30)
    assert ask(page.host, "GET", "/readyz")[0] == 200


def test_a_default_that_cannot_be_had_is_the_reason_why_it_is_not_ready(launch, fakes):
    fakes.errors["a"] = MemoryError("none left")
    status, _, text = ask(launch().host, "GET", "/readyz")
    assert status == 503
    assert "fake:a is unavailable" in text


# --- a backbone that goes wrong ---


def test_a_forward_pass_that_hangs_takes_only_its_backbone_away_and_two_are_too_many(launch, fakes, image):
    page = launch("limits: {forward_timeout_s: 0.3}\nbackbones: ['fake:c', 'fake:a', 'fake:b']")
    client, held = client_of(page), [fakes.hold("answer a"), fakes.hold("answer b")]
    for number, name in enumerate(("fake:a", "fake:b"), start=1):
        with pytest.raises(AppError, match=rf"{name}: expected an answer within 0.3 s; .*choose another backbone"):
            client.predict(handle_file(image), backbone=name, api_name="/classify")
        status = {each["name"]: each for each in client.predict(api_name="/backbones")}
        assert status[name]["status"] == "unavailable"
        assert "has finished" in status[name]["reason"]
        assert client.predict(handle_file(image), api_name="/classify")["backbone"] == "fake:c"
        assert ask(page.host, "GET", "/readyz")[0] == (503 if number == 2 else 200)
    began = len(fakes.built)
    with pytest.raises(AppError, match="has finished"):  # who asks for it again waits for nothing
        client.predict(handle_file(image), backbone="fake:a", api_name="/classify")
    for event in held:
        event.set()
    until(lambda: ask(page.host, "GET", "/readyz")[0] == 200)
    for name in ("fake:a", "fake:b"):
        assert client.predict(handle_file(image), backbone=name, api_name="/classify")["backbone"] == name
    assert len(fakes.built) == began


@pytest.mark.parametrize("error", [RuntimeError("it broke"), MemoryError("too much"), RecursionError("deep")])
def test_a_network_that_raises_fails_alone(launch, fakes, image, error):
    import torch

    class Broken(torch.nn.Module):
        def forward(self, batch):
            raise error

    fakes.more["b"] = {"make": lambda _: Broken()}
    client = client_of(launch())
    with pytest.raises(AppError, match=f"fake:b: expected an answer; {error}; see the log"):
        client.predict(handle_file(image), backbone="fake:b", api_name="/classify")
    found = client.predict(handle_file(image), backbones=["fake:b", "fake:a"], api_name="/compare")
    assert "error" in found["results"][0]
    assert found["results"][1]["predictions"][0]["label"] == "cat"


def test_many_at_once_get_the_numbers_that_each_gets_alone(launch, fakes, image):
    fakes.logits = {"a": [3.0, 2.0, 1.0], "b": [0.0, 1.0, 5.0]}
    page = launch()
    names, sent = ["fake:a", "fake:b"] * 25, file_data(upload(page, image))
    alone = {name: page.service.classify(image, name).to_json()["predictions"] for name in set(names)}

    def one(name):
        kind, data = outcome(page, join(page, {"image": sent, "backbone": name})[1])
        assert kind == "complete", data
        return data[0]["backbone"], data[0]["predictions"]

    with ThreadPoolExecutor(50) as threads:
        for asked, (name, predictions) in zip(names, threads.map(one, names), strict=True):
            assert name == asked
            for found, wanted in zip(predictions, alone[name], strict=True):
                assert found["label"] == wanted["label"]
                assert found["probability"] == pytest.approx(wanted["probability"], abs=1e-5)


# --- what may be asked ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/run/classify"),
        ("POST", "/gradio_api/api/classify"),
        ("GET", "/monitoring"),
        ("GET", "/monitoring/summary"),
        ("GET", "/pwa_icon/4000"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/vibe-edit"),
        ("GET", "/gradio_api/vibe-code"),
        ("GET", "/gradio_api/proxy=http://127.0.0.1:1/"),
        ("GET", "/gradio_api/file=http://127.0.0.1:1/"),
        ("GET", "/gradio_api/runs"),
        ("GET", "/gradio_api/dev/reload"),
        ("GET", "/docs"),
        ("PUT", "/"),
        ("DELETE", "/gradio_api/upload"),
    ],
)
def test_what_nobody_needs_is_not_there(plain, method, path):
    status, _, text = ask(plain.host, method, path, b"{}" if method == "POST" else None, JSON)
    assert status == 404
    assert "expected an address that is served here" in text


def test_every_address_of_gradios_is_either_needed_or_closed(plain):
    def sample(path):
        return path.replace("{path_or_url:path}", "x").replace("{path:path}", "x")

    def routes(router):
        for route in router.routes:
            if hasattr(route, "original_router"):  # FastAPI's, for a router that was included
                yield from routes(route.original_router)
            elif getattr(route, "methods", None):
                yield from ((method, route.path) for method in route.methods)

    found = {(method, path) for method, path in routes(plain.demo.app) if method != "HEAD"}
    served = {f"{method} {path.rstrip('/') or '/'}" for method, path in found if allowlist.exists(method, sample(path))}
    assert len(found) > 60  # it looks at Gradio's own routes
    assert served == SERVED


SERVED = {
    *(f"GET /{name}" for name in ("", "config", "favicon.ico", "manifest.json", "robots.txt", "theme.css")),
    *(f"GET /{name}/{{path:path}}" for name in ("assets", "static", "svelte")),
    *(
        f"GET /gradio_api/{name}"
        for name in ("app_id", "info", "openapi.json", "queue/data", "queue/status", "startup-events", "theme.css")
    ),
    *(f"GET /gradio_api/{name}" for name in ("login_check", "token", "user", "upload_progress")),
    "GET /gradio_api/call/v2/{api_name}/{event_id}",
    "GET /gradio_api/call/{api_name}/{event_id}",
    "GET /gradio_api/file={path_or_url:path}",
    "GET /gradio_api/heartbeat/{session_hash}",
    *(f"POST /gradio_api/{name}" for name in ("upload", "queue/join", "cancel", "reset")),
    *(f"POST /gradio_api/call/{name}" for name in ("{api_name}", "v2/{api_name}")),
}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "request: expected the fields of this endpoint"),
        ({"image": None, "more": 1}, "request: expected the fields of this endpoint"),
        ({"photo": None}, "request: expected the fields of this endpoint"),
    ],
)
def test_fields_that_an_endpoint_does_not_have_are_refused_with_where_to_look(plain, fields, told):
    status, text = join(plain, fields)
    assert status == 400
    assert text.startswith(told)
    assert text.endswith("see /gradio_api/info")


@pytest.mark.parametrize("path", ["call/v2/nothing", "call/nothing", "queue/join"])
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'{"data": 3}', b"\xff\xfe", b'{"data": [], "fn_index": 10000}']
)
def test_bodies_that_make_no_sense_are_the_senders_fault(plain, path, body):
    status, _, text = ask(plain.host, "POST", f"/gradio_api/{path}", body, JSON)
    assert 400 <= status < 500, text
    assert "Traceback" not in text


WRONG = [
    ({"backbone": 7}, "backbone: expected one name of the line-up; got 7"),
    ({"backbone": ["lite0"]}, "backbone: expected one name of the line-up; got ['lite0']"),
    ({"backbone": "lite0_" * 1000}, "backbone: expected a name of the line-up; got 'lite0_"),
    ({"top_k": 0}, "top_k: expected a whole number from 1 to 100000; got 0"),
    ({"top_k": 10**9}, "top_k: expected a whole number from 1 to 100000; got 1000000000"),
    ({"top_k": 2.5}, "top_k: expected a whole number from 1 to 100000; got 2.5"),
    ({"top_k": True}, "top_k: expected a whole number from 1 to 100000; got True"),
    ({"top_k": "3"}, "top_k: expected a whole number from 1 to 100000; got '3'"),
    ({"top_k": [3]}, "top_k: expected a whole number from 1 to 100000; got [3]"),
    ({"image": None}, "image: expected an uploaded file; got none"),
    ({"image": "/etc/hostname"}, "image: expected an uploaded file"),
    ({"image": {"path": "/etc/hostname"}}, "image: expected an uploaded file; got a path outside the upload folder"),
    ({"image": {"path": ["a"]}}, "image: expected an uploaded file; got none"),
    ({"image": 3}, "image: expected an uploaded file; got none"),
]


@pytest.mark.parametrize(("fields", "told"), WRONG, ids=[str(fields)[:40] for fields, _ in WRONG])
def test_a_field_that_is_wrong_is_named_with_what_was_expected(plain, image, fields, told):
    status, event = join(plain, {"image": file_data(upload(plain, image)), **fields})
    assert status == 200
    kind, data = outcome(plain, event)
    assert kind == "error"
    assert json.dumps(data).find(told) >= 0, data


@pytest.mark.parametrize("names", ["lite0", [], ["lite0", "lite0"], [1], {"a": 1}, ["lite0"] * 1000])
def test_a_list_of_names_that_is_none_is_refused(plain, image, names):
    _, event = join(plain, {"image": file_data(upload(plain, image)), "backbones": names}, "compare")
    kind, data = outcome(plain, event, "compare")
    assert kind == "error"
    assert "backbones: expected" in json.dumps(data) or "backbone: expected" in json.dumps(data)


# --- which files ---


def test_an_address_is_refused_before_anything_is_fetched(launch):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, args=(0.05,), daemon=True).start()
        address, page = f"http://127.0.0.1:{elsewhere.server_port}/image.jpg", launch()
        for image in (file_data(address), {"path": address}, {**file_data(address), "url": address}):
            _, event = join(page, {"image": image})
            kind, data = outcome(page, event)
            assert kind == "error"
            assert "upload" in json.dumps(data)
        elsewhere.shutdown()
    assert asked == []


def test_a_link_out_of_the_upload_folder_is_not_followed(launch, image, tmp_path):
    page = launch()
    there = upload(page, image)
    link = Path(there).with_name("link.jpg")
    link.unlink(missing_ok=True)
    link.symlink_to(image)
    for path in (str(link), there + "/../../../../../../etc/hostname", str(image)):
        _, event = join(page, {"image": file_data(path)})
        kind, data = outcome(page, event)
        assert kind == "error", path
        assert "got a path outside the upload folder" in json.dumps(data)


# --- how much ---


@pytest.mark.parametrize(
    "path", ["/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/mcp/", "/gradio_api/cancel"]
)
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain", "image/jpeg"])
def test_a_body_that_is_too_large_is_refused_whatever_it_is(plain, path, kind):
    piece = b"x" * 65536
    headers = {"Content-Type": kind, "Accept": "application/json, text/event-stream"}
    assert ask(plain.host, "POST", path, piece * 30, headers)[0] == 413
    status, _, text = ask(plain.host, "POST", path, iter([piece] * 30), headers)  # chunked: nobody says how much
    assert (status, "expected at most" in text) == (413, True) or (status == 400 and path.endswith("upload"))


def test_an_upload_in_pieces_is_refused_once_it_is_too_large(plain):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    status, _, text = ask(plain.host, "POST", "/gradio_api/upload", iter([head, *[b"x" * 65536] * 30]), headers)
    assert (status, "expected at most" in text) == (413, True)


def test_old_uploads_are_removed_and_the_examples_stay(launch, image, monkeypatch):
    page = launch(f"examples: {ROOT}/examples\n{TWO}")
    there = Path(upload(page, image))
    page.gate.sweep()
    assert there.is_file()
    monkeypatch.setattr(admission, "UPLOAD_KEPT_S", 0)
    page.gate.sweep()
    assert not there.exists()
    parts = json.loads(ask(page.host, "GET", "/config")[2])["components"]
    (shown,) = (part["props"]["value"] for part in parts if part["props"].get("elem_id") == "examples")
    assert len(shown) == len(EXAMPLES)
    for each in shown:
        assert ask(page.host, "GET", f"/gradio_api/file={each['image']['path']}")[0] == 200


def test_a_first_upload_finds_its_folder(launch, image, monkeypatch, tmp_path):
    page = launch()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "not yet"))
    assert uploads.free_bytes() > 0
    assert Path(upload(page, image)).is_file()


def test_whoever_names_his_session_is_known_as_a_listener_by_it(launch, fakes, image):
    page, held = launch(), fakes.hold("answer a")
    image = file_data(upload(page, image))
    body = json.dumps({"data": [image, None, None], "session_hash": "mine"})
    event = json.loads(ask(page.host, "POST", "/gradio_api/call/classify", body, JSON)[2])["event_id"]
    with ThreadPoolExecutor(1) as threads:
        listening = threads.submit(outcome, page, event)
        until(lambda: app.CONNECTIONS.is_open("mine"))
        held.set()
        assert listening.result()[0] == "complete"
    until(lambda: not page.gate._events())
    page.gate.sweep()
    assert "mine" not in page.demo._queue.pending_event_ids_session


def test_a_disk_that_is_nearly_full_takes_no_more_images_and_the_log_says_so(launch, image, monkeypatch, caplog):
    page = launch()
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    status, _, text = ask(page.host, "POST", "/gradio_api/upload", b"x", {"Content-Type": "multipart/form-data"})
    assert status == 503
    assert "busy: there is no room for images; try again in" in text
    assert "the disk with the uploads is full" in caplog.text


# --- overload ---


def test_who_finds_no_place_is_told_before_he_has_sent_anything(launch, fakes, image):
    page, held = launch("limits: {queue_size: 2}\n" + TWO), fakes.hold("answer a")
    image = file_data(upload(page, image))
    events = [join(page, {"image": image})[1] for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        listening = [threads.submit(outcome, page, event) for event in events]
        until(lambda: page.gate.pending() == 2)
        with socket.create_connection(page.host.split(":"), 10) as sender:
            sender.settimeout(10)
            sender.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
            answer = sender.recv(4096).decode()
        assert answer.startswith("HTTP/1.1 503")
        assert "retry-after: " in answer.lower()
        status, told = join(page, {"image": image})
        assert status == 503
        assert told.startswith("busy: 2 requests are waiting already; try again in ")
        assert ask(page.host, "GET", "/healthz")[0] == 200
        held.set()
        assert [each.result()[0] for each in listening] == ["complete", "complete"]
    until(lambda: page.gate.pending() == 0)
    assert outcome(page, join(page, {"image": image})[1])[0] == "complete"


def test_whoever_was_let_in_with_a_image_keeps_his_place_for_the_question(launch, fakes, image):
    page, held = launch("limits: {queue_size: 1}\n" + TWO), fakes.hold("answer a")
    image = file_data(upload(page, image))
    assert join(page, {"image": image})[0] == 200  # the upload's place
    assert join(page, {"image": image})[0] == 503
    held.set()


def test_who_joins_and_leaves_keeps_nobody_waiting_and_costs_no_answer(launch, fakes, image, caplog):
    page, held = launch("limits: {queue_size: 8}\n" + TWO), fakes.hold("answer a")
    image = file_data(upload(page, image))
    first = join(page, {"image": image})[1]
    with ThreadPoolExecutor(2) as threads:
        answering = threads.submit(outcome, page, first)
        until(lambda: page.gate.pending() == 1)
        for _ in range(6):  # they hang up: one at once, one after a moment
            _, event = join(page, {"image": image})
            with socket.create_connection(page.host.split(":"), 10) as gone:
                gone.sendall(f"GET /gradio_api/call/classify/{event} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until(lambda: len(page.service._execution._queue) == 1)  # all but the first were dropped
        later = threads.submit(outcome, page, join(page, {"image": image, "backbone": "fake:b"})[1])
        until(lambda: len(page.service._execution._queue) == 2)
        held.set()
        assert answering.result()[0] == later.result()[0] == "complete"
    counted = [json.loads(each.message) for each in caplog.records if each.name == "lineup.requests"]
    assert sum(each["outcome"] == "ok" for each in counted) <= 2


def test_each_answer_has_a_line_in_the_log_that_tells_nothing_of_the_image(launch, fakes, image, caplog, tmp_path):
    caplog.set_level(logging.INFO, "lineup.requests")
    page = launch()
    page.service.classify(image, "fake:b")
    (tmp_path / "secret.jpg").write_text("no image")
    with pytest.raises(ImageError):
        page.service.classify(tmp_path / "secret.jpg")
    good, bad = (json.loads(each.message) for each in caplog.records if each.name == "lineup.requests")
    assert good.pop("milliseconds") > 0
    assert good == {"backbone": "fake:b", "outcome": "ok"}
    assert bad["outcome"] == "ImageError"
    assert "secret" not in caplog.text


# --- the end ---


def test_those_inside_have_their_answers_before_the_end_and_nobody_else_comes_in(launch, fakes, image):
    page, held = launch(), fakes.hold("answer a")
    image = file_data(upload(page, image))
    with ThreadPoolExecutor(2) as threads:
        listening = threads.submit(outcome, page, join(page, {"image": image})[1])
        until(lambda: page.gate.pending() == 1)
        ending = threads.submit(page.gate.drain)
        until(lambda: page.gate.closing)
        assert join(page, {"image": image})[0] == 503
        assert not ending.done()
        held.set()
        assert listening.result()[0] == "complete"
        ending.result(10)


def test_sigterm_ends_the_process_in_peace(tmp_path):
    text = f"engine: torch\nbackbones: ['local-dir:{ROOT}/bundled/efficientnet_lite0']\n"
    (tmp_path / "config.yaml").write_text(text)
    port, env = free_port(), without_hub(tmp_path)
    command = [sys.executable, "app.py", "--config", str(tmp_path / "config.yaml"), "--port", str(port)]
    with (tmp_path / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            for _ in range(600):
                try:
                    if ask(f"127.0.0.1:{port}", "GET", "/readyz")[0] == 200:
                        break
                except OSError:
                    pass
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
        finally:
            process.kill()
    assert "stopping; running requests may finish" in (tmp_path / "log.txt").read_text()
