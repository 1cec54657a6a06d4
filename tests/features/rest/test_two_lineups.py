"""Two real servers on this machine: the second one answers with a backbone of the first."""

import json
from contextlib import ExitStack

import pytest
from drawing import draw
from requesting import ask
from serving import free_port, serving, without_hub

from lineup.features.evaluation.run import Evaluations
from lineup.images import image_set

ENTRY = "backbone: test_resnet.r160_in1k, pretrained: false, input_size: 64"
DETAILS = {"Accept": "application/vnd.lineup+json"}


@pytest.fixture(scope="module")
def lineups(tmp_path_factory):
    """Return the hosts of two servers, of which each has a backbone that the other one would answer."""
    folder, ports = tmp_path_factory.mktemp("lineups"), (free_port(), free_port())
    first, second = (f"lineup:http://127.0.0.1:{port}" for port in ports)
    lines = (
        f"[{{name: org/far, {ENTRY}}}, {{name: loop, backbone: '{second}/loop'}}]",
        f"[{{name: near, {ENTRY}}}, {{name: big, backbone: '{first}/org/far'}}, "
        f"{{name: loop, backbone: '{first}/loop'}}, {{name: self, backbone: '{second}/self'}}]",
    )
    with ExitStack() as servers:
        for port, backbones in zip(ports, lines, strict=True):
            config = folder / f"{port}.yaml"
            config.write_text(f"engine: torch\nbackbones: {backbones}")
            servers.enter_context(serving(config, without_hub(folder), folder / f"{port}.log", port=port))
        yield [f"127.0.0.1:{port}" for port in ports]


def post(host, path, content):
    status, _, text = ask(host, "POST", path, content, DETAILS)
    assert status == 200, text
    return json.loads(text)


def test_answers_are_those_of_the_other_lineup(lineups, image):
    first, second = lineups
    content = image.read_bytes()
    near = post(second, "/v1/models/big?top_k=1000", content)
    far = post(first, "/v1/models/org/far?top_k=1000", content)
    assert near["predictions"] == far["predictions"]
    assert near["notes"] == [f"computed at {first}: images are sent there", *far["notes"]]
    compared = post(second, "/v1/compare?backbones=near&backbones=big&top_k=3", content)
    assert [[each["class_index"] for each in result["predictions"]] for result in compared["results"]] == [
        [each["class_index"] for each in far["predictions"][:3]]
    ] * 2
    of_near = post(second, "/v1/models/big/embedding", content)
    of_far = post(first, "/v1/models/org%2Ffar/embedding", content)
    assert of_near["embedding"] == of_far["embedding"]
    assert len(of_near["embedding"]) > 10


def test_evaluation_computes_elsewhere(lineups, make_service, tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path / "cache"))
    for index in range(8):
        path = tmp_path / "images" / f"class {index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(path, seed=index, size=(40, 30))
    backbones = f"[{{name: far, backbone: 'lineup:http://{lineups[0]}/org/far'}}, {{name: near, {ENTRY}}}]"
    evaluations = Evaluations(make_service(f"engine: torch\nbackbones: {backbones}"))
    evaluation = evaluations.create(image_set.collect(tmp_path / "images"), ["far", "near"])
    status = evaluations.run(evaluation)
    assert (status.state, status.done, status.problem) == ("done", 16, "")


@pytest.mark.parametrize("name", ["loop", "self"])
def test_lineups_that_ask_themselves_are_refused(lineups, image, name):
    status, _, text = ask(lineups[1], "POST", f"/v1/models/{name}", image.read_bytes())
    assert status == 500
    assert "expected a Lineup that does not ask itself" in json.loads(text)["detail"]
    _, _, text = ask(lineups[1], "GET", f"/v1/models/{name}")
    assert "does not ask itself" in json.loads(text)["reason"]
