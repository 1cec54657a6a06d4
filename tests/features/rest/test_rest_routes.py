"""The routes below /v1: images in, Hugging Face's schema or the fuller answer out, and problem details."""

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from waiting import until

from lineup.errors import INTERNAL_ERROR, BackboneError, BusyError, FeaturesOnlyError, ForwardTimeout, HubError
from lineup.features.rest import bodies
from lineup.features.rest.parameters import NAMES
from lineup.features.rest.routes import routes

TWO = "backbones: ['fake:a', {name: org/b, backbone: 'fake:b'}]\ntop_k: 2"
SCORED = [
    {"label": "cat", "score": pytest.approx(0.665241, abs=1e-6), "id": None},
    {"label": "dog", "score": pytest.approx(0.244728, abs=1e-6), "id": None},
]


@pytest.fixture
def service(make_service, fakes):
    return make_service(TWO)


@pytest.fixture
def client(service):
    return TestClient(Starlette(routes=routes(service)), raise_server_exceptions=False)


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


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("image/png", "application/json"),
        ("application/json", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("application/*", "application/json"),
        ("application/vnd.lineup+json", "application/vnd.lineup+json"),
        ("application/json;q=0.5, application/vnd.lineup+json", "application/vnd.lineup+json"),
        ("application/vnd.lineup+json;q=0.1, application/json;q=x", "application/json"),
        ("application/vnd.lineup+json, application/json;q=0", "application/vnd.lineup+json"),
    ],
)
def test_accept_header_decides_the_schema(client, image, accept, kind):
    answer = client.post("/v1/models/fake:a", content=image.read_bytes(), headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert (answer.json() == SCORED) is (kind == "application/json")
    assert answer.headers["vary"] == "Accept"


def test_details_are_the_answer_of_the_other_interfaces(client, image):
    answer = client.post("/v1/models/fake:a?details=1&top_k=1", content=image.read_bytes())
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["predictions"] == [
        {"class_index": 0, "id": None, "label": "cat", "probability": SCORED[0]["score"]}
    ]
    assert (answer.json()["backbone"], answer.json()["activation"]) == ("fake:a", "softmax")


def test_models_are_listed_and_described(client):
    listed = client.get("/v1/models").json()
    assert (listed["default"], [model["name"] for model in listed["models"]]) == ("fake:a", ["fake:a", "org/b"])
    assert client.get("/v1/models/org/b").json()["name"] == "org/b"
    assert client.head("/v1/models").status_code == 200


def test_comparison_has_the_named_backbones_or_all(client, image, fakes):
    fakes.logits["b"] = [0.0, 1.0, 0.0]
    found = client.post("/v1/compare?backbones=org/b&top_k=1", content=image.read_bytes()).json()
    assert [result["backbone"] for result in found["results"]] == ["org/b"]
    found = client.post("/v1/compare", json=as_json(image.read_bytes(), backbones=["org/b", "fake:a"])).json()
    assert [result["predictions"][0]["label"] for result in found["results"]] == ["dog", "cat"]
    assert found["agreement"]["sentence"]
    assert len(client.post("/v1/compare", content=image.read_bytes()).json()["results"]) == 2


def test_list_of_images_in_json_is_answered_by_a_list(client, image):
    body = {"inputs": [as_json(image.read_bytes())["inputs"]], "options": {"wait_for_model": True}}
    assert client.post("/v1/models/fake:a", json=body).json() == [SCORED]
    data = "data:image/jpeg;base64," + body["inputs"][0]
    assert client.post("/v1/models/fake:a", json={"inputs": data, "parameters": None}).json() == SCORED


def test_input_of_the_network_is_not_encoded(client, image, monkeypatch):
    from lineup.inference import classifier

    monkeypatch.setattr(classifier, "jpeg", lambda image: pytest.fail("encoded"))
    assert client.post("/v1/models/fake:a", content=image.read_bytes()).json() == SCORED
    assert client.post("/v1/compare", content=image.read_bytes()).json()["results"][0]["backbone"] == "fake:a"


# --- errors ---

MODEL = "/v1/models/fake:a"


def refused(answer):
    """Return an error's status and message; it must be problem details."""
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert list(problem) == ["type", "title", "status", "detail", "error", "where", "expected", "got", "remedy"]
    assert (problem["status"], problem["error"]) == (answer.status_code, problem["detail"])
    return answer.status_code, problem["detail"]


@pytest.mark.parametrize(
    ("path", "sent", "status", "message"),
    [
        (
            "/v1/models/fake:c",
            {"content": b"x"},
            404,
            "expected a name of the line-up; got 'fake:c'; did",
        ),
        ("/v1/models/fake:c/embedding", {"content": b"x"}, 404, "got 'fake:c'"),
        (MODEL, {"content": b""}, 422, "image: expected an image; the body is empty; send the bytes of the file"),
        (MODEL, {"content": b"no image"}, 422, "image: expected an image; this file is not one that can be read"),
        (f"{MODEL}?top_k=0", {"content": b"x"}, 400, "top_k: expected a whole number from 1 to 100000; got 0"),
        (f"{MODEL}?top_k=two", {"content": b"x"}, 400, "top_k: expected a whole number from 1 to 100000; got 'two'"),
        (f"{MODEL}?top_k=1&top_k=2", {"content": b"x"}, 400, "top_k: expected one value; got several; send it once"),
        (f"{MODEL}?topk=1", {"content": b"x"}, 400, "got 'topk'; did you mean 'top_k'?"),
        (f"{MODEL}?details=maybe", {"content": b"x"}, 400, "details: expected true or false; got 'maybe'"),
        (
            f"{MODEL}?function_to_apply=relu",
            {"content": b"x"},
            400,
            "one of softmax, sigmoid, none; got 'relu'",
        ),
        (
            f"{MODEL}?backbones=a",
            {"content": b"x"},
            400,
            "expected one of top_k, function_to_apply, details",
        ),
        ("/v1/compare?backbones=fake:c", {"content": b"x"}, 404, "got 'fake:c'; did you mean"),
        ("/v1/compare?backbones=fake:a&backbones=fake:a", {"content": b"x"}, 400, "expected each name once"),
        (MODEL, {"json": []}, 400, 'request: expected {"inputs": …, "parameters": {…}}; got JSON without inputs'),
        (MODEL, {"json": {"inputs": "http://a/b.jpg"}}, 400, "inputs: expected an image as base64; got an address"),
        (MODEL, {"json": {"inputs": "####"}}, 400, "got a text that is none; encode the bytes of the file"),
        (MODEL, {"json": {"inputs": 3}}, 400, "inputs: expected an image as base64; got 3"),
        (MODEL, {"json": {"inputs": ""}}, 422, "inputs: expected an image as base64; got an empty one"),
        (MODEL, {"json": {"inputs": []}}, 400, "inputs: expected 1 to 16 images; got 0"),
        (MODEL, {"json": {"inputs": ["eA=="] * 17}}, 400, "inputs: expected 1 to 16 images; got 17"),
        (MODEL, {"json": {"inputs": "eA==", "parameters": [1]}}, 400, "parameters: expected an object; got [1]"),
        (MODEL, {"json": {"inputs": "eA==", "parameters": {"top_k": True}}}, 400, "got True"),
        (MODEL, {"json": {"inputs": "eA==", "parameters": {"details": "1"}}}, 400, "details: expected true or false"),
        (
            f"{MODEL}?top_k=1",
            {"json": {"inputs": "eA==", "parameters": {"top_k": 1}}},
            400,
            "top_k: expected one value",
        ),
        (MODEL, {"json": {"inputs": "eA==", "wait": 1}}, 400, "got the key 'wait'; put it into parameters"),
        (MODEL, {"data": {"a": "b"}, "files": {}}, 422, "image: expected an image"),
        (MODEL, {"files": [("image", ("a.jpg", b"x"))] * 17}, 400, "Too many files"),
        (MODEL, {"files": [("image", ("../a.jpg", b"x"))]}, 422, "a.jpg: expected an image"),
        (MODEL, {"files": [("top_k", (None, "1"))]}, 400, "request: expected a file in the form; got none"),
    ],
)
def test_wrong_request_is_a_problem(client, path, sent, status, message):
    found_status, found = refused(client.post(path, **sent))
    assert (found_status, message in found) == (status, True), found


@pytest.mark.parametrize(
    ("headers", "content", "status", "message"),
    [
        ({"content-type": "text/plain"}, b"x", 415, "Content-Type: expected image/*, application/octet-stream, mult"),
        ({"content-encoding": "gzip"}, b"x", 415, "request: expected a body that is not compressed; got Content-Enc"),
        ({"accept": "text/html"}, b"x", 406, "Accept: expected application/json or application/vnd.lineup+json; got"),
        ({"accept": "*/*;q=0"}, b"x", 406, "got Accept: */*;q=0"),
        ({"content-type": "application/json"}, b'{"inputs": ', 400, "got a body that is no JSON"),
        ({"content-type": "application/json"}, b"[" * 100_000, 400, "got a body that is no JSON"),
        ({"content-type": "application/json"}, b'{"inputs": "eA==", "parameters": {"top_k": NaN}}', 400, "got nan"),
        ({"content-type": "application/json"}, b'{"inputs": "\xff"}', 400, "got a body that is no JSON"),
        ({"content-type": "application/json"}, b'{"inputs": ' + b"9" * 5000 + b"}", 400, "got a body that is no JSON"),
        ({"content-type": "multipart/form-data"}, b"x", 400, "got one that cannot be read (Missing boundary"),
        ({"content-type": "multipart/form-data; boundary=a"}, b"--b--", 400, "expected multipart/form-data; got one"),
    ],
)
def test_wrong_headers_and_malformed_bodies_are_problems(client, headers, content, status, message):
    found_status, found = refused(client.post(MODEL, content=content, headers=headers))
    assert (found_status, message in found) == (status, True), found


def test_accept_of_an_unsupported_type_is_refused_before_the_body(client):
    assert refused(client.get("/v1/models", headers={"accept": "text/html"}))[0] == 406


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BackboneError("fake:a", "a network", "got none", "fix it"), 500),
        (HubError("fake:a", "a file", "the server failed", "try again"), 503),
        (BusyError("fake:a", "a GPU", "there is none", "try again"), 503),
        (ForwardTimeout("fake:a", "an answer", "it took too long", "use another"), 504),
        (FeaturesOnlyError("fake:a", "classes", "it has none", "use /embedding"), 422),
    ],
)
def test_backbone_that_cannot_answer_is_a_problem_with_its_status(client, fakes, image, error, status):
    fakes.errors["a"] = error
    answer = client.post(MODEL, content=image.read_bytes())
    assert refused(answer) == (status, str(error))
    assert ("retry-after" in answer.headers) is (status == 503)
    found = client.post("/v1/compare?backbones=fake:a", content=image.read_bytes())
    assert (found.status_code, found.json()["results"][0]["error"]) == (200, str(error))


def test_unexpected_error_is_a_sentence_and_its_traceback_in_the_log(client, monkeypatch, image, caplog):
    monkeypatch.setattr("lineup.features.rest.answers.scored", lambda answer: {}["secret"])
    answer = client.post(MODEL, content=image.read_bytes())
    assert refused(answer) == (500, INTERNAL_ERROR)
    assert "secret" in caplog.text


def test_routes_can_be_switched_off(make_service, fakes):
    assert routes(make_service(f"{TWO}\nrest: {{enabled: false}}")) == []


@pytest.mark.parametrize("form", [False, True])
def test_bodies_of_all_requests_together_are_bounded(service, client, fakes, image, monkeypatch, form):
    monkeypatch.setattr(bodies, "MAX_BYTES", int(1.5 * image.stat().st_size))
    monkeypatch.setattr(bodies, "MAX_BODIES", 0)
    sent = {"files": [("image", image.read_bytes())]} if form else {"content": image.read_bytes()}
    assert client.post(MODEL, **sent).status_code == 200
    held = fakes.hold("answer a")
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, MODEL, **sent)
        until(lambda: len(service._execution._queue) == 1)
        answer = client.post("/v1/models/org/b", **sent)
        assert refused(answer)[0] == 503
        assert "MB of images are in memory already; try again in some seconds" in answer.text
        assert int(answer.headers["retry-after"]) >= 1
        held.set()
        assert first.result(30).status_code == 200
    assert client.post("/v1/models/org/b", **sent).status_code == 200


# --- features ---


def test_embedding_is_that_of_the_network(publish, make_service, image):
    publish("resnet18.a1_in1k")
    service = make_service("backbones: [resnet18]")
    client = TestClient(Starlette(routes=routes(service)))
    features = client.post("/v1/models/resnet18/embedding", content=image.read_bytes()).json()
    with service.pinned("resnet18", "features") as pinned:
        assert features == pytest.approx(pinned.outputs([image])[0].tolist(), rel=1e-5, abs=1e-6)
    [detailed] = client.post(
        "/v1/models/resnet18/embedding?details=1", json={"inputs": [as_json(image.read_bytes())["inputs"]]}
    ).json()
    assert (detailed["backbone"], len(detailed["embedding"])) == ("resnet18", 512)


def test_backbone_whose_name_ends_in_embedding_comes_first(make_service, fakes, image):
    service = make_service("backbones: ['fake:a', {name: 'fake:a/embedding', backbone: 'fake:b'}]\ntop_k: 2")
    client = TestClient(Starlette(routes=routes(service)))
    assert client.post("/v1/models/fake:a/embedding", content=image.read_bytes()).json() == SCORED


def test_backbone_without_features_says_so(client, image):
    status, message = refused(client.post(f"{MODEL}/embedding", content=image.read_bytes()))
    assert (status, "expected a backbone that returns features" in message) == (422, True)


# --- the description ---


def test_page_of_the_api_has_every_operation_and_needs_nothing_from_elsewhere(client):
    answer = client.get("/v1/docs")
    document = client.get("/v1/openapi.json").json()
    for path, item in document["paths"].items():
        for method in item.keys() - {"parameters"}:
            assert f"<code>{method.upper()} {path}</code>" in answer.text
    assert "curl --data-binary @photo.jpg http://testserver/v1/models/fake:a" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert re.findall(r"(?:src|href)=\"([^\"]*)", answer.text) == ["openapi.json"]
    assert "<code>details=1</code>" in answer.text
    assert "`" not in answer.text


def test_description_names_every_route_and_parameter(client):
    document = client.get("/v1/openapi.json").json()
    served = {route.path.replace(":path", "") for route in client.app.routes} - {"/v1/openapi.json", "/v1/docs"}
    assert document["paths"].keys() == served | {"/v1/models/{name}/embedding"}
    named = {name for name in NAMES if f'"name": "{name}"' in json.dumps(document)}
    assert named == set(NAMES)


def test_description_follows_the_sub_path_of_a_proxy(make_service, fakes):
    client = TestClient(Starlette(routes=routes(make_service(TWO))), root_path="/lineup")
    assert client.get("/v1/openapi.json").json()["servers"] == [{"url": "/lineup"}]
