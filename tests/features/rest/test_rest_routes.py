"""The routes below /v1: images in, Hugging Face's schema or the fuller answer out, and problem details."""

import base64
import json

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from lineup.features.rest.routes import routes

TWO = "backbones: ['fake:a', {name: org/b, backbone: 'fake:b'}]\ntop_k: 2"
SCORED = [
    {"label": "cat", "score": pytest.approx(0.665241, abs=1e-6), "id": None},
    {"label": "dog", "score": pytest.approx(0.244728, abs=1e-6), "id": None},
]


@pytest.fixture
def client(make_service, fakes):
    return TestClient(Starlette(routes=routes(make_service(TWO))), raise_server_exceptions=False)


def as_json(content, **parameters):
    return {"inputs": base64.b64encode(content).decode(), "parameters": parameters}


@pytest.mark.parametrize(
    "kind", [None, "image/jpeg", "IMAGE/PNG; x=y", "application/octet-stream", "application/x-www-form-urlencoded"]
)
def test_bytes_are_answered_in_the_schema_of_hugging_face(client, image, kind):
    headers = {"content-type": kind} if kind else {}
    answer = client.post("/v1/models/fake:a", content=image.read_bytes(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == SCORED
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", ["org/b", "org%2Fb"])
def test_names_may_have_slashes(client, image, name):
    assert client.post(f"/v1/models/{name}", content=image.read_bytes()).json() == SCORED


def test_json_of_clients_of_hugging_face_is_answered(client, image):
    body = as_json(image.read_bytes(), top_k=3, function_to_apply="none")
    scores = [each["score"] for each in client.post("/v1/models/fake:a", json=body).json()]
    assert scores == [3, 2, 1]


def test_several_images_of_a_form_are_answered_in_their_order(client, image):
    files = [("images", ("a.jpg", image.read_bytes())), ("images", ("b.jpg", image.read_bytes()))]
    answer = client.post("/v1/models/fake:a", files=files, data={"top_k": "1"})
    assert answer.json() == [SCORED[:1], SCORED[:1]]
    assert client.post("/v1/models/fake:a", files=files[:1]).json() == SCORED
