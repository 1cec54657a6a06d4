"""Backbones of another Lineup: what is sent to it, and what its answers and its errors become."""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from commands import run_command
from other_lineup import answer, description, ok, problem, serving_other
from serving import free_port
from waiting import until

from lineup.errors import (
    BackboneError,
    BusyError,
    ClassesOnlyError,
    ClientDisconnected,
    ForwardTimeout,
    HubError,
    ImageError,
    LineupError,
    UnreachableError,
)
from lineup.hub import via
from lineup.inference import pool
from lineup.registry import lineup_client, remote_lineup


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Wait for nothing between attempts."""
    monkeypatch.setattr(lineup_client, "_BACK_OFF_S", 0.001)
    monkeypatch.setattr(pool, "RETRY_AFTER_S", 0)
    monkeypatch.delenv(lineup_client.KEY, raising=False)


@pytest.fixture
def other():
    with serving_other() as server:
        yield server
        server.held.set()


@pytest.fixture
def far(make_service, other):
    """Return a service whose only backbone is `big` of the other Lineup."""
    return make_service(
        f"backbones: [{{name: far, backbone: 'lineup:{other.url}/org/big'}}]\nlimits: {{max_compared: 2}}"
    )


# --- what is sent, and what comes back ---


def test_logits_are_labelled_as_the_other_lineup_says(far, other, image):
    found = far.classify(image, top_k=2)
    assert [(each.label, round(each.probability, 4)) for each in found.predictions] == [
        ("cat", 0.6652),
        ("dog", 0.2447),
    ]
    assert (found.engine, found.device, found.milliseconds.total) == ("openvino", other.url[7:], 6)
    assert (found.label_set, found.license, found.input_size) == ("its weights", "cc-by-4.0", (8, 16))
    assert found.notes == (f"computed at {other.url[7:]}: images are sent there", "a caveat")
    status = far.status("far")
    assert (status.status, status.engine, status.num_classes, status.parameters) == ("ready", "lineup", 3, 7)
    assert status.summary == f"resnet50; 3 classes; computed at {other.url[7:]}"
    assert status.source == "lineup"


def test_image_is_sent_as_it_is_and_all_logits_are_asked_for(far, other, image):
    far.classify(image, top_k=1)
    [(_, path, headers, body)] = other.seen("POST")
    assert path == "/v1/models/org%2Fbig?details=1&top_k=3&function_to_apply=none"
    assert body == image.read_bytes()
    assert headers["Accept"] == "application/vnd.lineup+json"
    assert (headers["If-Match"], headers["Lineup-Via"]) == ('"1"', via.ID)
    assert "Authorization" not in headers


def test_notes_of_decoding_come_back_once(far, other, image):
    other.posts = [ok(answer(notes=("it was cut off", "a caveat", remote_lineup.UNNAMED)))]
    early, *planned = far.classify(image).notes
    assert early == "it was cut off"
    assert planned == [f"computed at {other.url[7:]}: images are sent there", "a caveat"]


def test_one_output_for_two_classes_is_the_logit_of_the_second(far, other, image):
    plan = {"activation": "sigmoid", "num_outputs": 1}
    other.gets, other.posts = [ok(description(("no", "yes"), plan))], [ok(answer((-2.0, 2.0)))]
    found = far.classify(image)
    assert [each.label for each in found.predictions] == ["yes", "no"]
    assert found.predictions[0].probability == pytest.approx(1 / (1 + np.exp(-2)))


def test_features_come_from_the_embedding(far, other, image):
    other.posts = [ok({"embedding": [0.25, 0.5], "engine": "torch", "forward_ms": 4.0})]
    with far.pinned("far", "features") as pinned:
        found = pinned.output(image, far.turn)
        assert pinned.plan.embedding.is_normalized
    assert (found.logits.tolist(), found.forward_ms) == ([[0.25, 0.5]], 4)
    assert other.seen("POST")[0][1] == "/v1/models/org%2Fbig/embedding?details=1"


def test_backbone_without_features_there_has_none_here(far, other):
    other.gets = [ok(description(plan={"embedding_dim": None}))]
    with pytest.raises(ClassesOnlyError, match="gives only classes"):
        far.pinned("far", "features")


def test_fingerprint_is_that_of_the_answers_while_it_stays_the_same(far, other, image, monkeypatch):
    for text in ("a", "b", ""):
        other.posts.append(ok(answer(), **{"Lineup-Fingerprint": text} if text else {}))
    other.posts.pop(0)
    fingerprints, now = [], [1000.0]
    monkeypatch.setattr(remote_lineup.time, "monotonic", lambda: now[0])
    with far.pinned("far") as pinned:
        fingerprints.append(pinned.fingerprint)
        pinned.output(image, far.turn)
        fingerprints.append(pinned.fingerprint)
        pinned.output(image, far.turn)
        fingerprints.append(pinned.fingerprint)  # late answers may still be of the first engine
        now[0] += 31
        fingerprints.append(pinned.fingerprint)
    assert fingerprints == ["", "a", "", "b"]


def test_several_images_are_on_their_way_at_once(far, other, image):
    other.held.clear()
    with ThreadPoolExecutor(6) as threads:
        requests = [threads.submit(far.classify, image) for _ in range(6)]
        until(lambda: len(other.seen("POST")) == remote_lineup.CONCURRENCY)
        assert len(far._pool.get("far").queue) == 6
        far.config = far.config.model_copy(update={"limits": far.config.limits.model_copy(update={"queue_size": 1})})
        with pytest.raises(BusyError, match="6 requests are waiting already"):
            far.classify(image)
        other.held.set()
        assert all(request.result(10).predictions for request in requests)


# --- keys ---


def test_key_is_sent_to_this_machine_and_never_logged(far, other, image, monkeypatch, caplog):
    monkeypatch.setenv(lineup_client.KEY, "very-secret")
    with caplog.at_level(logging.DEBUG):
        far.classify(image)
        other.posts = [problem(401)]
        with pytest.raises(BackboneError, match="the one in LINEUP_REMOTE_KEY is refused"):
            far.classify(image)
    assert {headers["Authorization"] for _, _, headers, _ in other.requests} == {"Bearer very-secret"}
    assert "very-secret" not in caplog.text


@pytest.mark.parametrize(
    ("server", "is_sent"),
    [
        ("https://other.host", True),
        ("http://127.0.0.1:7860", True),
        ("http://[::1]", True),
        ("http://localhost:7860", True),
        ("http://other.host", False),
        ("http://10.0.0.2", False),
        ("http://127.0.0.1.other.host", False),
    ],
)
def test_key_is_sent_only_where_nobody_in_between_can_read_it(monkeypatch, server, is_sent):
    monkeypatch.setenv(lineup_client.KEY, "secret")
    assert bool(lineup_client._authorization(server)) is is_sent


# --- errors of the other Lineup ---


ERRORS = [
    (
        problem(422, where="image", expected="an image", got="it is cut off"),
        ImageError,
        "shapes.jpg: expected an image; it is",
    ),
    (problem(413, expected="at most 1 MB", got="got 2"), ImageError, "shapes.jpg: expected at most 1 MB; got 2"),
    (
        problem(504, expected="an answer within 30 s", got="it is still computing"),
        ForwardTimeout,
        "it is still computing",
    ),
    (problem(500, where="org/big", got="it cannot run"), BackboneError, "far: {url}/org/big: it cannot run"),
    (
        problem(404, where="backbone", expected="a name", got="got 'org/big'"),
        HubError,
        "backbone: expected a name; got 'org/big'",
    ),
    (problem(412), HubError, "it has changed there; try again"),
    (problem(508, expected="a Lineup that does not ask itself"), BackboneError, "a Lineup that does not ask itself"),
    (problem(401), BackboneError, "LINEUP_REMOTE_KEY is not set"),
    (
        (302, {"Location": "https://else.where/x"}, b""),
        BackboneError,
        "redirects to else.where .302., which is not followed",
    ),
    ((404, {}, b"<html>"), BackboneError, "got the status 404, without a reason; check the address"),
    ((502, {}, b""), UnreachableError, "got the status 502"),
    (ok([]), BackboneError, "its answer cannot be read"),
    ((200, {}, b"\xff{"), BackboneError, "its answer cannot be read"),
    (ok(answer(predictions=[{"class_index": 3, "probability": 1}])), BackboneError, "its answer cannot be read"),
    (ok(answer(predictions=[{"class_index": 0, "probability": 1}])), BackboneError, "got NaN or infinity"),
    (ok(answer(engine=None)), BackboneError, "its answer cannot be read"),
]


@pytest.mark.parametrize(("response", "kind", "message"), ERRORS, ids=lambda value: str(value)[:24])
def test_error_there_is_the_same_here(far, other, image, response, kind, message):
    other.posts = [response]
    with pytest.raises(LineupError, match=message.replace("{url}", other.url)) as raised:
        far.classify(image)
    assert type(raised.value) is kind
    if kind is not ImageError:
        assert str(raised.value).startswith("far: ")


@pytest.mark.parametrize("status", [429, 503])
def test_busy_server_is_asked_again_when_it_says(far, other, image, status):
    busy = problem(status, where="busy", got="64 requests are waiting already")
    other.posts = [busy, (status, {**busy[1], "Retry-After": "0"}, busy[2]), ok(answer())]
    assert far.classify(image).predictions
    assert len(other.seen("POST")) == 3


def test_server_that_stays_busy_for_longer_is_an_error(far, other, image):
    busy = problem(503, where="busy", got="64 requests are waiting already", remedy="try again in some seconds")
    other.posts = [(503, {**busy[1], "Retry-After": "60"}, busy[2])]
    with pytest.raises(BusyError, match="busy: 64 requests are waiting already; try again in some seconds"):
        far.classify(image)
    assert len(other.seen("POST")) == 1
    assert far.status("far").status == "ready"


def test_connection_that_fails_is_tried_again(far, other, image):
    other.posts = [OSError(), OSError(), ok(answer())]
    assert far.classify(image).predictions


def test_answer_that_is_late_is_a_timeout_and_ends_the_request_there(far, other, image):
    assert far.classify(image)
    far.config = far.config.model_copy(
        update={"limits": far.config.limits.model_copy(update={"forward_timeout_s": 0.2})}
    )
    other.held.clear()
    with pytest.raises(ForwardTimeout, match=r"expected an answer within 0.2 s; there was none"):
        far.classify(image)
    assert other.gone.wait(10)


def test_cancelled_request_ends_there(far, other, image):
    other.held.clear()
    cancelled = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        request = threads.submit(far.classify, image, cancelled=cancelled.is_set)
        until(lambda: other.seen("POST"))
        cancelled.set()
        with pytest.raises(ClientDisconnected):
            request.result(10)
    assert other.gone.wait(10)


def test_response_is_read_up_to_a_limit(far, other, image, monkeypatch):
    assert far.classify(image)
    monkeypatch.setattr(lineup_client, "MAX_BYTES", 50)
    with pytest.raises(BackboneError, match="it is longer than"):
        far.classify(image)


def test_backbone_that_has_changed_is_described_anew(far, other, image):
    assert far.classify(image).predictions[0].label == "cat"
    changed = ok(description(("fish", "dog", "owl")), ETag='"2"')
    other.gets, other.posts = [changed], [problem(412), ok(answer())]
    with pytest.raises(HubError, match="it has changed there"):
        far.classify(image)
    assert far.classify(image).predictions[0].label == "fish"
    assert other.seen("POST")[-1][2]["If-Match"] == '"2"'


# --- commands ---


def test_commands_describe_a_backbone_there(other, tmp_path, capsys, image):
    config = tmp_path / "config.yaml"
    config.write_text(f"backbones: [{{name: far, backbone: 'lineup:{other.url}/org/big'}}]")
    for command in (["check"], ["backbones"], ["classify", str(image)]):
        assert run_command([*command, "--config", str(config)]) == 0
        printed = capsys.readouterr().out
        assert "far" in printed
        assert command != ["check"] or f"resnet50; 3 classes; computed at {other.url[7:]}" in printed
        assert command[0] != "classify" or "cat" in printed
    other.gets = [problem(404, where="backbone", expected="a name of the line-up", got="got 'org/big'")]
    assert run_command(["check", "--config", str(config)]) != 0
    assert f"{other.url}/org/big: backbone: expected a name of the line-up; got 'org/big'" in capsys.readouterr().err


# --- descriptions ---


BAD = [
    {"labels": []},
    {"labels": [{"name": "cat"}] * 3},
    {"labels": ["cat"] * 3},
    {"activation": "tanh"},
    {"num_outputs": 2},
    {"num_outputs": True},
    {"transform": {}},
    {"transform": {"input_size": [8], "mean": [0.5], "std": [0.5], "resizing": ""}},
    {"transform": {"input_size": [8, 8], "mean": [0.5], "std": [], "resizing": ""}},
    {"notes": None},
    {"embedding_dim": "2"},
    {"figures": {"top1": "high"}},
]


@pytest.mark.parametrize("plan", BAD, ids=str)
def test_description_that_cannot_be_read_is_refused(far, other, plan):
    other.gets = [ok(description(plan=plan))]
    [status] = far.probe()
    assert "its description of the backbone cannot be read" in status.reason


@pytest.mark.parametrize("response", [(200, {}, b"<html>"), ok([]), ok({"name": "big"}), ok(None)])
def test_other_pages_are_no_description(far, other, response):
    other.gets = [response]
    [status] = far.probe()
    assert "got no description of a backbone; update the Lineup there, or this one" in status.reason


def test_backbone_that_cannot_run_there_cannot_run_here(far, other):
    details = json.loads(problem(500, where="org/big", expected="a known source", got="got 'x'")[2])
    other.gets = [ok(description(plan=None) | {"plan": None, "problem": details})]
    [status] = far.probe()
    assert status.reason == f"far: {other.url}/org/big: expected a known source; got 'x'"


@pytest.mark.parametrize("key", ["labels: [a, b]", "input_size: 96", "activation: sigmoid"])
def test_other_keys_are_refused_beside_such_a_backbone(make_service, other, key):
    service = make_service(f"backbones: [{{name: far, backbone: 'lineup:{other.url}/big', {key}}}]")
    [status] = service.probe()
    assert f"no other keys beside a backbone of another Lineup; got `{key.partition(':')[0]}`" in status.reason


def test_offline_nothing_is_sent(far, other):
    [status] = far.probe(offline=True)
    assert isinstance(status.problem, UnreachableError)
    assert "--offline allows no request" in status.reason
    assert other.requests == []


def test_unencrypted_connection_to_another_machine_is_noted():
    notes = remote_lineup._loading_notes
    address = lineup_client.LineupAddress
    assert notes(address("https://other.host", "a")) == notes(address("http://127.0.0.1:7860", "a")) == ()
    assert "travel to 10.0.0.2 unencrypted" in notes(address("http://10.0.0.2", "a"))[0]


# --- servers that are gone ---


def test_server_that_is_down_comes_back(make_service, image):
    port = free_port()
    service = make_service(f"backbones: [{{name: far, backbone: 'lineup:http://127.0.0.1:{port}/big'}}]")
    [status] = service.probe()
    assert isinstance(status.problem, UnreachableError)
    assert "expected a response; there was none" in status.reason
    with serving_other(port):
        assert service.classify(image).predictions
    begun = time.monotonic()
    with pytest.raises(UnreachableError):
        service.classify(image)
    assert time.monotonic() - begun < 10
    assert service.status("far").status == "unavailable"
    with serving_other(port):
        assert service.comparable_all()[0] == ["far"]
        assert service.classify(image).predictions


def test_dead_server_is_asked_once_for_all_its_backbones(make_service):
    url = f"lineup:http://127.0.0.1:{free_port()}"
    service = make_service(f"backbones: ['{url}/a', '{url}/b']")
    reasons = [status.reason for status in service.probe()]
    assert "there was none" in reasons[0]
    assert "it did not respond a moment ago" in reasons[1]


# --- loops ---


def test_ids_of_the_lineups_in_between_are_sent_on(far, other, image):
    def ask():
        via.enter("first, second")
        far.classify(image)

    threading.Thread(target=ask).start()
    until(lambda: other.seen("POST"))
    assert other.seen("POST")[0][2]["Lineup-Via"] == f"first, second, {via.ID}"


@pytest.mark.parametrize(
    ("header", "is_loop"),
    [("", False), ("a, b", False), ("a, here", True), (", ".join("abcdefgh"), True), ("a" * 5000, False)],
)
def test_request_that_has_been_here_or_far_around_is_a_loop(header, is_loop):
    assert via.is_loop(header.replace("here", via.ID)) is is_loop
