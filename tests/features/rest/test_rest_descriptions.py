"""The fuller description of a backbone, and what other Lineups send with their requests."""

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lineup.errors import BackboneError, HubError
from lineup.features.rest.guard import middleware
from lineup.features.rest.routes import routes
from lineup.hub import via

DETAILS = {"Accept": "application/vnd.lineup+json"}
TWO = "backbones: ['fake:a', {name: org/b, backbone: 'fake:b'}]\ntop_k: 2"


@pytest.fixture
def service(make_service, fakes):
    return make_service(TWO)


@pytest.fixture
def client(service):
    app = Starlette(routes=routes(service), middleware=middleware(service))
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("name", ["fake:a", "org%2Fb"])
def test_description_has_the_plan(client, fakes, name):
    fakes.more = {"a": {"license": "mit", "notes": ("a caveat",)}, "b": {"activation": "sigmoid"}}
    answer = client.get(f"/v1/models/{name}", headers=DETAILS)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.lineup+json")
    described, is_first = answer.json(), name == "fake:a"
    assert (described["source"], described["status"], described["problem"]) == ("fake", "idle", None)
    assert described["plan"] == {
        "architecture": "a" if is_first else "b",
        "labels": [{"id": None, "name": name, "description": ""} for name in ("cat", "dog", "owl")],
        "label_set": "fakes",
        "named": True,
        "activation": "softmax" if is_first else "sigmoid",
        "num_outputs": None,
        "transform": {"input_size": [8, 8], "mean": [0, 0, 0], "std": [1, 1, 1], "resizing": ""},
        "license": "mit" if is_first else "",
        "notes": ["a caveat"] if is_first else [],
        "figures": {},
        "embedding_dim": None,
        "is_normalized": False,
    }


def test_description_is_asked_for_by_a_parameter_too(client):
    assert "plan" in client.get("/v1/models/fake:a?details=1").json()
    assert "plan" not in client.get("/v1/models/fake:a").json()
    assert client.get("/v1/models/fake:a?details=yes").status_code == 400


@pytest.mark.parametrize(("error", "status"), [(BackboneError, 500), (HubError, 503)])
def test_backbone_that_cannot_be_planned_is_described_by_its_problem(client, service, monkeypatch, error, status):
    def fail(entry, context):
        raise error("weights", "a file", "there is none", "fix it")

    monkeypatch.setitem(__import__("lineup.registry").registry.SOURCES, "fake", fail)
    described = client.get("/v1/models/fake:a", headers=DETAILS).json()
    assert described["plan"] is None
    problem = described["problem"]
    assert (problem["status"], problem["where"], problem["got"]) == (status, "fake:a: weights", "there is none")


def test_answer_is_refused_once_the_backbone_is_another_one(client, service, fakes, image):
    etag = client.get("/v1/models/fake:a", headers=DETAILS).headers["etag"]
    content = image.read_bytes()
    for known in (etag, "*"):
        assert client.post("/v1/models/fake:a", content=content, headers={"If-Match": known}).status_code == 200
    fakes.names = ("cat", "dog", "eel")
    service.remove("org/b"), service.add(service.config.backbones[1])
    answer = client.post("/v1/models/org/b", content=content, headers={"If-Match": etag})
    assert (answer.status_code, answer.json()["where"]) == (412, "If-Match")


def test_fingerprint_is_sent_to_other_lineups(client, service, image, monkeypatch):
    monkeypatch.setattr(service, "fingerprint", lambda answer: "f" * 64)
    content = image.read_bytes()
    assert "lineup-fingerprint" not in client.post("/v1/models/fake:a", content=content).headers
    headers = client.post("/v1/models/fake:a", content=content, headers={via.HEADER: "other"}).headers
    assert headers["lineup-fingerprint"] == "f" * 64


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_request_that_has_passed_through_here_is_refused(client, fakes, method):
    answer = client.request(method, "/v1/models/fake:a", headers={via.HEADER: f"other, {via.ID}"})
    assert answer.status_code == 508
    assert answer.json()["detail"].startswith("expected a Lineup that does not ask itself; this one has passed through")
    assert fakes.built == []
