"""The middleware in front of Gradio, on a real server in this process, with fake backbones."""

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

import gradio as gr
import pytest
from gradio.route_utils import delete_files_created_by_app
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from launching import pages
from reference import EXAMPLES
from requesting import JSON, ask, file_data, join, outcome, upload
from serving import ROOT, free_port, without_hub
from starlette.responses import JSONResponse
from starlette.routing import Route
from waiting import until

import app
from lineup.errors import ImageError
from lineup.features import FEATURES, Feature
from lineup.page.connections import Connections
from lineup.page.image_field import resolve_upload
from lineup.server import allowlist, bodies, sessions, uploads
from lineup.server.sessions import Sessions

TWO = "backbones: ['fake:a', 'fake:b']"


@pytest.fixture(scope="module")
def plain():
    """Serve one bundled backbone for all tests of rejected requests."""
    from lineup import config
    from lineup.config import yaml_source
    from lineup.service import Service

    lite0 = "{name: lite0, backbone: local-dir:bundled/efficientnet_lite0}"
    text = f"limits: {{max_upload_mb: 1}}\nengine: torch\nbackbones: [{lite0}]"
    service = Service(config.build(yaml_source.parse(text, "config.yaml"), ROOT))
    with pages() as serve:
        yield serve(service)


def get_json(page, path):
    status, _, text = ask(page.host, "GET", path)
    return status, json.loads(text)


def connect(page):
    return Client(f"http://{page.host}", verbose=False, analytics_enabled=False)


# --- health ---


def test_readyz_waits_for_the_default_backbone_and_healthz_does_not(launch, fakes):
    held = fakes.hold("build a")
    page = launch(ready=False)
    assert get_json(page, "/healthz") == (200, {"detail": "ok"})
    assert get_json(page, "/readyz") == (503, {"detail": "fake:a is loading"})
    held.set()
    assert page.service.probed.wait(30)
    assert ask(page.host, "GET", "/readyz")[0] == 200


def test_readyz_reports_why_the_default_backbone_is_unavailable(launch, fakes):
    fakes.errors["a"] = MemoryError("none left")
    status, _, text = ask(launch().host, "GET", "/readyz")
    assert status == 503
    assert "fake:a is unavailable" in text


# --- failing backbones ---


def test_hanging_forward_pass_disables_its_backbone_and_two_end_readiness(launch, fakes, image):
    page = launch("limits: {forward_timeout_s: 1}\nbackbones: ['fake:c', 'fake:a', 'fake:b']")
    client, held = connect(page), [fakes.hold("answer a"), fakes.hold("answer b")]
    for number, name in enumerate(("fake:a", "fake:b"), start=1):
        with pytest.raises(AppError, match=rf"{name}: expected an answer within 1 s; .*choose another backbone"):
            client.predict(handle_file(image), backbone=name, api_name="/classify")
        statuses = {status["name"]: status for status in client.predict(api_name="/backbones")}
        assert statuses[name]["status"] == "unavailable"
        assert "has finished" in statuses[name]["reason"]
        assert client.predict(handle_file(image), api_name="/classify")["backbone"] == "fake:c"
        assert ask(page.host, "GET", "/readyz")[0] == (503 if number == 2 else 200)
    builds = len(fakes.built)
    with pytest.raises(AppError, match="has finished"):  # a further request fails at once
        client.predict(handle_file(image), backbone="fake:a", api_name="/classify")
    for event in held:
        event.set()
    until(lambda: ask(page.host, "GET", "/readyz")[0] == 200)
    for name in ("fake:a", "fake:b"):
        assert client.predict(handle_file(image), backbone=name, api_name="/classify")["backbone"] == name
    assert len(fakes.built) == builds


@pytest.mark.parametrize("error", [RuntimeError("it broke"), MemoryError("too much"), RecursionError("deep")])
def test_network_error_does_not_affect_other_backbones(launch, fakes, image, error):
    import torch

    class Broken(torch.nn.Module):
        def forward(self, batch):
            raise error

    fakes.more["b"] = {"make": lambda _: Broken()}
    client = connect(launch())
    with pytest.raises(AppError, match=f"fake:b: expected an answer; {error}; see the log"):
        client.predict(handle_file(image), backbone="fake:b", api_name="/classify")
    comparison = client.predict(handle_file(image), backbones=["fake:b", "fake:a"], api_name="/compare")
    assert "error" in comparison["results"][0]
    assert comparison["results"][1]["predictions"][0]["label"] == "cat"


def test_concurrent_requests_get_the_same_predictions_as_sequential_ones(launch, fakes, image):
    fakes.logits = {"a": [3.0, 2.0, 1.0], "b": [0.0, 1.0, 5.0]}
    page = launch()
    names, sent = ["fake:a", "fake:b"] * 25, file_data(upload(page, image))
    sequential = {name: page.service.classify(image, name).to_json()["predictions"] for name in set(names)}

    def predict(name):
        kind, data = outcome(page, join(page, {"image": sent, "backbone": name})[1])
        assert kind == "complete", data
        return data[0]["backbone"], data[0]["predictions"]

    with ThreadPoolExecutor(50) as threads:
        for requested, (name, predictions) in zip(names, threads.map(predict, names), strict=True):
            assert name == requested
            for actual, expected in zip(predictions, sequential[name], strict=True):
                assert actual["label"] == expected["label"]
                assert actual["probability"] == pytest.approx(expected["probability"], abs=1e-5)


# --- routes and fields ---


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
        ("PUT", "/docs"),
        ("POST", "/gradio_api/mcp/other"),
        ("POST", "/gradio_api/call/"),
    ],
)
def test_routes_outside_the_allowlist_return_404(plain, method, path):
    status, _, text = ask(plain.host, method, path, b"{}" if method == "POST" else None, JSON)
    assert status == 404
    assert "expected a path that is served" in text


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/", "GET, HEAD"),
        ("POST", "/config", "GET"),
        ("DELETE", "/assets/index.js", "GET"),
        ("DELETE", "/gradio_api/upload", "POST"),
        ("GET", "/gradio_api/queue/join", "POST"),
        ("POST", "/gradio_api/queue/data", "GET"),
        ("GET", "/gradio_api/call/classify", "POST"),
        ("GET", "/gradio_api/call/v2/classify", "POST"),
        ("POST", "/gradio_api/call/classify/0123", "GET"),
        ("PATCH", "/gradio_api/heartbeat/a", "GET"),
        ("PUT", "/gradio_api/file=a.jpg", "GET, HEAD"),
        ("PUT", "/gradio_api/mcp/", "GET, POST"),
        ("DELETE", "/gradio_api/mcp", "GET, POST"),
        ("POST", "/gradio_api/mcp/schema", "GET"),
        ("GET", "/gradio_api/mcp/messages/", "POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("PROPFIND", "/readyz/", "GET, HEAD"),
    ],
)
def test_known_path_with_another_method_returns_405(plain, method, path, allow):
    status, headers, text = ask(plain.host, method, path, b"{}" if method == "POST" else None, JSON)
    assert (status, headers["allow"]) == (405, allow)
    assert f"{path[:40].rstrip('/')}" in text
    assert f": expected {allow.replace(', ', ' or ')}; got {method}; see /gradio_api/info" in json.loads(text)["detail"]


def test_allowlist_matches_exactly_the_expected_gradio_routes(plain):
    def sample(path):
        return path.replace("{path_or_url:path}", "x").replace("{path:path}", "x")

    def routes(router):
        for route in router.routes:
            if hasattr(route, "original_router"):  # FastAPI's, for a router that was included
                yield from routes(route.original_router)
            elif getattr(route, "methods", None):
                yield from ((method, route.path) for method in route.methods)

    existing = {(method, path) for method, path in routes(plain.demo.app) if method != "HEAD"}
    served = {
        f"{method} {path.rstrip('/') or '/'}" for method, path in existing if allowlist.is_allowed(method, sample(path))
    }
    assert len(existing) > 60  # Gradio's own routes are included
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


def labels(service):
    async def answer(_):
        return JSONResponse(service.names)

    return [Route("/labels", answer)]


def add_page(demo, service, connections, images):
    assert (connections, images) == (app.CONNECTIONS, app.IMAGES)
    with demo.route("Second", "/second"):
        gr.Markdown(f"the second page of {service.config.title}")


def test_added_pages_and_routes_of_features_are_served_and_others_are_not(launch, monkeypatch):
    added = Feature("labels", pages=f"{__name__}:add_page", routes=f"{__name__}:labels")
    monkeypatch.setitem(FEATURES, "labels", added)
    page = launch()
    assert get_json(page, "/labels") == (200, ["fake:a", "fake:b"])
    assert ask(page.host, "GET", "/second")[0] == ask(page.host, "GET", "/")[0] == 200
    status, config = get_json(page, "/config?page=second")
    assert (status, config["current_page"]) == (200, "second")
    assert "the second page of Lineup" in json.dumps(config)
    for method, path in [("GET", "/label"), ("POST", "/label"), ("GET", "/labels/x"), ("GET", "/evaluate/x")]:
        assert ask(page.host, method, path)[0] == 404, path
    assert ask(page.host, "POST", "/labels")[0] == ask(page.host, "POST", "/evaluate")[0] == 405
    assert ask(page.host, "GET", "/monitoring")[0] == 404


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "request: expected the fields of this endpoint"),
        ({"image": None, "more": 1}, "request: expected the fields of this endpoint"),
        ({"photo": None}, "request: expected the fields of this endpoint"),
    ],
)
def test_unknown_fields_are_rejected_with_a_link_to_the_api_info(plain, fields, message):
    status, text = join(plain, fields)
    assert status == 400
    assert text.startswith(message)
    assert text.endswith("see /gradio_api/info")


@pytest.mark.parametrize("path", ["call/v2/nothing", "call/nothing", "queue/join"])
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'{"data": 3}', b"\xff\xfe", b'{"data": [], "fn_index": 10000}']
)
def test_malformed_bodies_return_a_client_error(plain, path, body):
    status, _, text = ask(plain.host, "POST", f"/gradio_api/{path}", body, JSON)
    assert 400 <= status < 500, text
    assert "Traceback" not in text


def test_upload_of_a_client_that_disconnects_is_no_failure(plain, caplog):
    caplog.set_level(logging.INFO)
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    with socket.create_connection(plain.host.split(":"), 10) as sender:
        sender.sendall(f"{head}Content-Length: 9000\r\n\r\n--b\r\n".encode())
        until(lambda: plain.slots.n_reading == 1)
    until(lambda: plain.slots.n_reading == 0)
    assert "disconnected: /gradio_api/upload before its body was complete" in caplog.text
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


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


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=[str(fields)[:40] for fields, _ in WRONG])
def test_error_names_the_invalid_field_and_the_expected_value(plain, image, fields, message):
    status, event = join(plain, {"image": file_data(upload(plain, image)), **fields})
    assert status == 200
    kind, data = outcome(plain, event)
    assert kind == "error"
    assert json.dumps(data).find(message) >= 0, data


@pytest.mark.parametrize("names", ["lite0", [], ["lite0", "lite0"], [1], {"a": 1}, ["lite0"] * 1000])
def test_invalid_list_of_backbones_is_rejected(plain, image, names):
    _, event = join(plain, {"image": file_data(upload(plain, image)), "backbones": names}, "compare")
    kind, data = outcome(plain, event, "compare")
    assert kind == "error"
    assert "backbones: expected" in json.dumps(data) or "backbone: expected" in json.dumps(data)


# --- file paths and URLs ---


def test_image_url_is_rejected_and_not_fetched(launch):
    requested = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requested.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other_server:
        threading.Thread(target=other_server.serve_forever, args=(0.05,), daemon=True).start()
        url, page = f"http://127.0.0.1:{other_server.server_port}/image.jpg", launch()
        for image in (file_data(url), {"path": url}, {**file_data(url), "url": url}):
            _, event = join(page, {"image": image})
            kind, data = outcome(page, event)
            assert kind == "error"
            assert "upload" in json.dumps(data)
        other_server.shutdown()
    assert requested == []


def test_symbolic_link_out_of_the_upload_folder_is_rejected(launch, image, tmp_path):
    page = launch()
    uploaded = upload(page, image)
    link = Path(uploaded).with_name("link.jpg")
    link.unlink(missing_ok=True)
    link.symlink_to(image)
    for path in (str(link), uploaded + "/../../../../../../etc/hostname", str(image)):
        _, event = join(page, {"image": file_data(path)})
        kind, data = outcome(page, event)
        assert kind == "error", path
        assert "got a path outside the upload folder" in json.dumps(data)


# --- body size and disk space ---


@pytest.mark.parametrize(
    "path", ["/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/mcp/", "/gradio_api/cancel"]
)
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=x", "text/plain", "image/jpeg"])
def test_oversized_body_is_rejected_for_every_content_type(plain, path, kind):
    chunk = b"x" * 65536
    headers = {"Content-Type": kind, "Accept": "application/json, text/event-stream"}
    assert ask(plain.host, "POST", path, chunk * 30, headers)[0] == 413
    status, _, text = ask(plain.host, "POST", path, iter([chunk] * 30), headers)  # chunked: without Content-Length
    assert (status, "expected at most" in text) == (413, True) or (status == 400 and path.endswith("upload"))


def test_chunked_upload_is_rejected_once_it_is_too_large(plain):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    status, _, text = ask(plain.host, "POST", "/gradio_api/upload", iter([head, *[b"x" * 65536] * 30]), headers)
    assert (status, "expected at most" in text) == (413, True)


def test_file_of_exactly_the_limit_is_accepted_and_one_byte_more_is_not(plain):
    assert json.loads(ask(plain.host, "GET", "/config")[2])["max_file_size"] == 10**6
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for n_bytes, expected in [(10**6, 200), (10**6 + 1, 413), (2 * 10**6, 413)]:
        body = head + b"x" * n_bytes + b"\r\n--x--\r\n"
        status, _, text = ask(plain.host, "POST", "/gradio_api/upload", body, headers)
        assert status == expected
        if status == 413:
            sentence = "image: expected at most 1 MB; got more; send a smaller image"
            assert json.loads(text) == {"detail": sentence}


def test_sweep_removes_old_uploads_but_no_examples(launch, image, monkeypatch):
    page = launch(f"examples: {ROOT}/examples\n{TWO}")
    path = Path(upload(page, image))
    uploads.sweep(page.demo)
    assert path.is_file()
    monkeypatch.setattr(uploads, "UPLOAD_MAX_AGE_S", 0)
    uploads.sweep(page.demo)
    assert not path.exists()
    parts = json.loads(ask(page.host, "GET", "/config")[2])["components"]
    (examples,) = (part["props"]["value"] for part in parts if part["props"].get("elem_id") == "examples")
    assert len(examples) == len(EXAMPLES)
    for example in examples:
        assert ask(page.host, "GET", f"/gradio_api/file={example['image']['path']}")[0] == 200


@pytest.fixture
def uploaded(monkeypatch, tmp_path):
    """Return an upload, in a folder of its own, and let all ages be as if it was uploaded five hours ago."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    path = tmp_path / "0123" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(b"x")
    before, real = path.stat().st_ctime + 0.05, time.time
    monkeypatch.setattr(uploads, "_is_old", lambda path: path.lstat().st_ctime < before)
    until(lambda: real() > before + 0.05)
    return path


def test_an_upload_that_is_used_is_not_swept(uploaded):
    assert resolve_upload(str(uploaded)) == uploaded.resolve()
    uploads.sweep(gr.Blocks())
    assert uploaded.is_file()


def test_an_upload_that_is_used_during_the_sweep_is_kept(uploaded):
    """The sweep has seen that it is old, and a request names it before it is removed."""

    class Loop:
        def call_soon_threadsafe(self, call, *arguments):
            resolve_upload(str(uploaded))
            call(*arguments)

    uploads.sweep(gr.Blocks(), Loop())
    assert uploaded.is_file()


def test_a_new_folder_is_not_swept_before_its_upload_is_in_it(uploaded):
    empty = uploaded.parents[1] / "4567"
    empty.mkdir()
    uploads.sweep(gr.Blocks())
    assert empty.is_dir()
    assert not uploaded.exists()
    assert uploaded.parent.is_dir()  # younger, since it has become empty now


def test_gradio_stops_removing_uploads_at_an_error(tmp_path):
    """The reason for a sweep of our own; if this fails, `gr.Blocks(delete_cache=…)` may do."""
    demo = gr.Blocks()
    demo.upload_file_set.add(str(tmp_path))
    with pytest.raises(OSError, match=r"directory|permitted"):
        delete_files_created_by_app(demo, age=0)


def test_first_upload_creates_the_upload_folder(launch, image, monkeypatch, tmp_path):
    page = launch()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "not yet"))
    assert uploads.free_bytes() > 0
    assert Path(upload(page, image)).is_file()


def test_named_session_is_open_while_its_client_is_connected(launch, fakes, image):
    page, held = launch(), fakes.hold("answer a")
    image = file_data(upload(page, image))
    body = json.dumps({"data": [image, None, None], "session_hash": "mine"})
    event = json.loads(ask(page.host, "POST", "/gradio_api/call/classify", body, JSON)[2])["event_id"]
    with ThreadPoolExecutor(1) as threads:
        responses = threads.submit(outcome, page, event)
        until(lambda: app.CONNECTIONS.is_open("mine"))
        held.set()
        assert responses.result()[0] == "complete"
    until(lambda: "mine" not in app.CONNECTIONS.sessions())
    assert "mine" in page.demo._queue.pending_event_ids_session


def test_sweep_at_the_worst_instant_takes_no_event_away(launch, image, monkeypatch):
    page = launch()
    image = file_data(upload(page, image))
    swept = Sessions(page.demo, app.CONNECTIONS)
    for _ in range(3):  # the session is idle, is swept, and asks again
        swept.remove_idle()
        body = json.dumps({"data": [image, None, None], "session_hash": "idle"})
        event = json.loads(ask(page.host, "POST", "/gradio_api/call/classify", body, JSON)[2])["event_id"]
        until(lambda: page.slots.pending == 0)  # it was answered, and its client is not connected yet
        swept.remove_idle()
        swept.remove_idle()
        assert outcome(page, event)[0] == "complete"


def test_sessions_are_removed_by_the_time_since_their_last_use(monkeypatch):
    now, connections, pending = SimpleNamespace(now=0.0), Connections(), {"a": set(), "b": {"undelivered"}}
    monkeypatch.setattr(sessions.time, "monotonic", lambda: now.now)
    swept = Sessions(SimpleNamespace(_queue=SimpleNamespace(pending_event_ids_session=pending)), connections)
    swept.remove_idle()
    now.now = sessions.SESSION_MAX_AGE_S - 1
    swept.use("a")
    pending["b"].add("accepted")  # by Gradio; its response is on the way
    now.now += 2
    swept.remove_idle()
    assert pending.keys() == {"a", "b"}
    connections.opened("a")
    now.now += 2 * sessions.SESSION_MAX_AGE_S
    swept.remove_idle()
    assert pending.keys() == {"a"}  # it is connected
    connections.closed("a")
    now.now += sessions.SESSION_MAX_AGE_S - 1
    pending["c"] = {"joined"}
    swept.remove_idle()
    assert pending.keys() == {"a", "c"}
    now.now += 2
    swept.remove_idle()
    assert pending.keys() == {"c"}


def test_upload_is_rejected_and_logged_when_the_disk_is_nearly_full(launch, image, monkeypatch, caplog):
    page = launch()
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    status, _, text = ask(page.host, "POST", "/gradio_api/upload", b"x", {"Content-Type": "multipart/form-data"})
    assert status == 503
    assert "busy: there is no disk space for images; try again in" in text
    assert "the disk with the uploads is full" in caplog.text


# --- overload ---


def test_full_queue_rejects_requests_before_reading_their_bodies(launch, fakes, image):
    page, held = launch("limits: {queue_size: 2}\n" + TWO), fakes.hold("answer a")
    image = file_data(upload(page, image))
    events = [join(page, {"image": image})[1] for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        responses = [threads.submit(outcome, page, event) for event in events]
        until(lambda: page.slots.pending == 2)
        with socket.create_connection(page.host.split(":"), 10) as sender:
            sender.settimeout(10)
            sender.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n")
            answer = sender.recv(4096).decode()
        assert answer.startswith("HTTP/1.1 503")
        assert "retry-after: " in answer.lower()
        status, message = join(page, {"image": image})
        assert status == 503
        assert message.startswith("busy: 2 requests are waiting already; try again in ")
        assert ask(page.host, "GET", "/healthz")[0] == 200
        held.set()
        assert [response.result()[0] for response in responses] == ["complete", "complete"]
    until(lambda: page.slots.pending == 0)
    assert outcome(page, join(page, {"image": image})[1])[0] == "complete"


def stalled_upload(page, n_bytes=0):
    """Begin an upload, and return its socket once its bytes were received."""
    part = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + b"x" * n_bytes
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    sender = socket.create_connection(page.host.split(":"), 10)
    sender.settimeout(10)
    sender.sendall(f"{head}Content-Length: 900000\r\n\r\n".encode() + part)
    until(lambda: any(body._n_bytes == len(part) for body in page.slots._bodies))
    return sender


def test_slow_uploads_do_not_keep_others_from_the_queue(launch, image, monkeypatch):
    page = launch("limits: {queue_size: 2}\n" + TWO)
    uploaded = file_data(upload(page, image))
    monkeypatch.setattr(bodies, "SLOW_AFTER_S", 0.0)
    senders = [stalled_upload(page, n_bytes) for n_bytes in (60_000, 1, 50_000)]
    answer = senders[1].recv(4096).decode()  # the slowest of three was stopped
    assert answer.startswith("HTTP/1.1 503")
    assert "images are being received more slowly than most; try again in" in answer
    for _ in range(5):
        assert outcome(page, join(page, {"image": uploaded})[1])[0] == "complete"
    assert Path(upload(page, image)).is_file()
    for sender in senders:
        sender.close()
    until(lambda: not page.slots._bodies)


def test_stalled_upload_is_answered_with_408(launch, monkeypatch):
    page = launch()
    monkeypatch.setattr(bodies, "PAUSE_S", 0.5)
    with stalled_upload(page) as sender:
        answer = sender.recv(4096).decode()
        answer += "" if "detail" in answer else sender.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 408")
    assert "request: expected at least 8 kB/s, without pauses of 0.5 s; got 0.0 MB, and then too little" in answer


@pytest.mark.long
def test_photograph_of_7_mb_arrives_over_a_slow_line(launch, image):
    page = launch()
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    body += image.read_bytes() + bytes(7 * 10**6) + b"\r\n--b--\r\n"
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    with socket.create_connection(page.host.split(":"), 10) as sender:
        sender.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
        for start in range(0, len(body), 20_000):
            sender.sendall(body[start : start + 20_000])
            time.sleep(0.2)  # 100 kB/s: 70 s, longer than what was once the limit
        answer = sender.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 200"), answer
    path = json.loads(answer.partition("\r\n\r\n")[2])[0]
    assert outcome(page, join(page, {"image": file_data(path)})[1])[0] == "complete"


def test_upload_reserves_a_queue_slot_for_its_request(launch, fakes, image):
    page, held = launch("limits: {queue_size: 1}\n" + TWO), fakes.hold("answer a")
    image = file_data(upload(page, image))
    assert join(page, {"image": image})[0] == 200  # takes the upload's reserved slot
    assert join(page, {"image": image})[0] == 503
    held.set()


def test_disconnected_clients_take_no_slot_and_no_forward_pass(launch, fakes, image, caplog):
    page, held = launch("limits: {queue_size: 8}\n" + TWO), fakes.hold("answer a")
    image = file_data(upload(page, image))
    first = join(page, {"image": image})[1]
    with ThreadPoolExecutor(2) as threads:
        answering = threads.submit(outcome, page, first)
        until(lambda: page.slots.pending == 1)
        for _ in range(6):  # each disconnects at once
            _, event = join(page, {"image": image})
            with socket.create_connection(page.host.split(":"), 10) as connection:
                connection.sendall(f"GET /gradio_api/call/classify/{event} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until(lambda: len(page.service._execution._queue) == 1)  # all but the first were dropped
        later = threads.submit(outcome, page, join(page, {"image": image, "backbone": "fake:b"})[1])
        until(lambda: len(page.service._execution._queue) == 2)
        held.set()
        assert answering.result()[0] == later.result()[0] == "complete"
    requests = [json.loads(record.message) for record in caplog.records if record.name == "lineup.requests"]
    assert sum(request["outcome"] == "ok" for request in requests) <= 2


def test_request_log_has_one_line_per_answer_and_nothing_of_the_image(launch, fakes, image, caplog, tmp_path):
    caplog.set_level(logging.INFO, "lineup.requests")
    page = launch()
    page.service.classify(image, "fake:b")
    (tmp_path / "secret.jpg").write_text("no image")
    with pytest.raises(ImageError):
        page.service.classify(tmp_path / "secret.jpg")
    good, bad = (json.loads(record.message) for record in caplog.records if record.name == "lineup.requests")
    assert good.pop("milliseconds") > 0
    assert good == {"backbone": "fake:b", "outcome": "ok"}
    assert bad["outcome"] == "ImageError"
    assert "secret" not in caplog.text


# --- graceful shutdown ---


def test_drain_answers_pending_requests_and_rejects_new_ones(launch, fakes, image):
    page, held = launch(), fakes.hold("answer a")
    image = file_data(upload(page, image))
    with ThreadPoolExecutor(2) as threads:
        responses = threads.submit(outcome, page, join(page, {"image": image})[1])
        until(lambda: page.slots.pending == 1)
        drain = threads.submit(page.slots.drain)
        until(lambda: page.slots.draining)
        assert join(page, {"image": image})[0] == 503
        assert not drain.done()
        held.set()
        assert responses.result()[0] == "complete"
        drain.result(10)


def test_sigterm_stops_the_process_with_exit_status_0(tmp_path):
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
