"""Malicious clients: thousands of payloads at every endpoint, the files and hosts they reach, and the responses."""

import asyncio
import json
from pathlib import Path

import pytest
from attack import NAMES, Page, end, inside, over_http, page, watching
from hostile import API, ELSEWHERE, JSON, Request
from requesting import ask, file_data, join, outcome


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with page(tmp_path_factory.mktemp("hostile")) as attacked:
        yield attacked


@pytest.fixture
def unharmed(served: Page):
    """Check that the service is healthy afterwards, with the same answers as before."""
    before = served.service.classify(served.aims.image).predictions
    yield
    assert served.service.classify(served.aims.image).predictions == before
    assert ask(served.host, "GET", "/healthz")[0] == ask(served.host, "GET", "/readyz")[0] == 200
    for name in NAMES:
        kind, data = outcome(served, join(served, {"image": file_data(served.aims.image), "backbone": name})[1])
        assert (kind, data[0]["backbone"]) == ("complete", name)


def test_watching_records_opened_files_and_leaked_paths(served, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "ab").write_text("")
    with watching(tmp_path / "a") as seen, served.watching() as also:
        (tmp_path / "a" / "b").write_text("")
        Path(served.aims.image).read_bytes()
        Path(served.aims.link).read_bytes()
        (tmp_path / "ab").read_text()
        served.service.classify(served.aims.secret)
    assert str(tmp_path / "a" / "b") not in seen.opened
    assert seen.opened[str(tmp_path / "ab")] == 1
    assert also.opened[served.aims.secret] == 2
    assert list(also.leaked) == [f"path {served.aims.secret}"]


def test_open_page_rejects_paths_outside_the_uploads_and_urls(served):
    """Gradio copies a component for a session whose event changes it."""
    functions, aims, session = {function.name: function._id for function in served.functions}, served.aims, "open"

    def send(name, values):
        body = json.dumps({"data": values, "fn_index": functions[name], "session_hash": session}).encode()
        return end(
            served.host, Request("POST", f"{API}/queue/join", body, JSON, f"{API}/queue/data?session_hash={session}")
        )

    good = {"path": aims.image, "meta": {"_type": "gradio.FileData"}}
    assert send("open_page", [None])[0] == "answered"
    assert send("answer", [good, NAMES[0], [], 1, None])[0] == "answered"
    urls = [{"path": path, "meta": good["meta"]} for path in ELSEWHERE[:2]]
    with served.watching() as seen:
        for bad in ({"path": aims.secret}, {"path": aims.link}, {"path": aims.secret, "meta": {}}, *urls):
            for values in ([bad, NAMES[0], [], 1, None], [good, bad, [], 1, None], [good, NAMES[0], [bad], 1, None]):
                kind, message = send("answer", values)
                assert kind == "refused", message
    assert seen.to_json() == {"opened": {}, "asked": {}, "leaked": {}}


@pytest.mark.usefixtures("unharmed")
def test_2000_payloads_get_an_answer_or_an_error_and_reach_nothing(served):
    with served.watching() as seen:
        ends = asyncio.run(inside(served, 2000, seed=1))
    assert seen.to_json() == {"opened": {}, "asked": {}, "leaked": {}}
    assert (ends.wordless, ends.wrong) == ({}, {})
    assert ends.answered > 200  # some are valid enough to reach the network
    assert ends.refused > 1000


@pytest.mark.usefixtures("unharmed")
def test_100_payloads_over_http_get_an_answer_or_an_error(served):
    with served.watching() as seen:
        ends = over_http(served, 100, seed=1)
    assert seen.to_json() == {"opened": {}, "asked": {}, "leaked": {}}
    assert (ends.wordless, ends.wrong) == ({}, {})
    assert ends.answered >= 10
    assert ends.refused >= 40
