"""Malicious clients: thousands of payloads at every endpoint, the files and hosts they reach, and the responses."""

import asyncio
import json
from pathlib import Path

import pytest
from attack import NAMES, Page, in_process, over_http, page, send_request, watching
from hostile import API, JSON, REMOTE_URLS, Request
from requesting import ask, file_data, join, outcome


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with page(tmp_path_factory.mktemp("hostile")) as attacked:
        yield attacked


@pytest.fixture
def unharmed(served: Page):
    """Check that the service is healthy afterwards, with the same answers as before."""
    before = served.service.classify(served.targets.image).predictions
    yield
    assert served.service.classify(served.targets.image).predictions == before
    assert ask(served.host, "GET", "/healthz")[0] == ask(served.host, "GET", "/readyz")[0] == 200
    for name in NAMES:
        kind, data = outcome(served, join(served, {"image": file_data(served.targets.image), "backbone": name})[1])
        assert (kind, data[0]["backbone"]) == ("complete", name)


def test_watching_records_opened_files_and_leaked_paths(served, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "ab").write_text("")
    with watching(tmp_path / "a") as violations, served.watching() as more:
        (tmp_path / "a" / "b").write_text("")
        Path(served.targets.image).read_bytes()
        Path(served.targets.link).read_bytes()
        (tmp_path / "ab").read_text()
        served.service.classify(served.targets.secret)
    assert str(tmp_path / "a" / "b") not in violations.files
    assert violations.files[str(tmp_path / "ab")] == 1
    assert more.files[served.targets.secret] == 2
    assert list(more.invalid_arguments) == [f"path {served.targets.secret}"]


def test_open_page_rejects_paths_outside_the_uploads_and_urls(served):
    """Gradio copies a component for a session whose event changes it."""
    functions, targets, session = {function.name: function._id for function in served.functions}, served.targets, "open"

    def send(name, values):
        body = json.dumps({"data": values, "fn_index": functions[name], "session_hash": session}).encode()
        return send_request(
            served.host, Request("POST", f"{API}/queue/join", body, JSON, f"{API}/queue/data?session_hash={session}")
        )

    good = {"path": targets.image, "meta": {"_type": "gradio.FileData"}}
    assert send("open_page", [None, ""])[0] == "answered"
    assert send("answer", [good, NAMES[0], [], 1, None])[0] == "answered"
    urls = [{"path": path, "meta": good["meta"]} for path in REMOTE_URLS[:2]]
    with served.watching() as violations:
        for bad in ({"path": targets.secret}, {"path": targets.link}, {"path": targets.secret, "meta": {}}, *urls):
            for values in ([bad, NAMES[0], [], 1, None], [good, bad, [], 1, None], [good, NAMES[0], [bad], 1, None]):
                kind, message = send("answer", values)
                assert kind == "refused", message
    assert violations.to_json() == {"files": {}, "hosts": {}, "invalid_arguments": {}}


@pytest.mark.long
@pytest.mark.usefixtures("unharmed")
def test_2000_payloads_get_an_answer_or_an_error_and_reach_nothing(served):
    with served.watching() as violations:
        outcomes = asyncio.run(in_process(served, 2000, seed=1))
    assert violations.to_json() == {"files": {}, "hosts": {}, "invalid_arguments": {}}
    assert (outcomes.without_message, outcomes.wrong) == ({}, {})
    assert outcomes.answered > 200  # some are valid enough to reach the network
    assert outcomes.refused > 1000


@pytest.mark.usefixtures("unharmed")
def test_100_payloads_over_http_get_an_answer_or_an_error(served):
    with served.watching() as violations:
        outcomes = over_http(served, 100, seed=1)
    assert violations.to_json() == {"files": {}, "hosts": {}, "invalid_arguments": {}}
    assert (outcomes.without_message, outcomes.wrong) == ({}, {})
    assert outcomes.answered >= 10
    assert outcomes.refused >= 40
