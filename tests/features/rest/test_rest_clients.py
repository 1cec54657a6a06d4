"""Clients of several languages, as the documents show them, and that of Hugging Face with all its arguments."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from launching import page_of
from programs import node_modules, program
from serving import ROOT

CLIENTS = Path(__file__).with_name("clients")
CONFIG = "engine: torch\nbackbones: [{name: resnet18, backbone: 'local-dir:bundled/efficientnet_lite0'}]"
ADDRESS = "http://127.0.0.1:7860"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder with the image that the documents name."""
    folder = tmp_path_factory.mktemp("clients")
    shutil.copy(ROOT / "examples" / "koala.jpg", folder / "photo.jpg")
    (folder / "bundled").symlink_to(ROOT / "bundled")
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def served(home):
    with page_of(home / "config.yaml") as page:
        yield page.url.rstrip("/")


@pytest.fixture
def code(served, home, monkeypatch):
    """Return a function that returns the only block of a language in a document that contains a word."""
    monkeypatch.chdir(home)

    def block(document, language, word):
        text = (ROOT / document).read_text(encoding="utf-8")
        [found] = [code for code in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if word in code]
        assert ADDRESS in found
        return found.replace(ADDRESS, served)

    return block


def output(*command, **env):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **env})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_line_of_curl_in_the_readme_is_one_and_gets_the_answer(code):
    script = code("README.md", "bash", "--data-binary")
    assert len(script.splitlines()) == 1
    program("curl")
    first, *others = json.loads(output("bash", "-euc", script))
    assert (first["label"], first["id"], len(others)) == ("koala", "n01882714", 2)


def test_page_of_the_readme_calls_it_through_a_function(code):
    names = {}
    exec(code("README.md", "python", "InferenceClient").replace("demo.launch()", ""), names)
    found = names["demo"].fn("photo.jpg")
    assert len(found) == 5
    assert max(found, key=found.get) == "koala"


def test_python_of_the_document(code, capsys):
    exec(code("docs/http.md", "python", "InferenceClient"), {})
    assert capsys.readouterr().out.startswith("koala 0.9")


def test_javascript_of_the_document(code, home):
    node, modules = program("node", "nodejs"), node_modules(CLIENTS)
    (home / "node_modules").symlink_to(modules)
    (home / "classify.mjs").write_text(code("docs/http.md", "js", "imageClassification"))
    assert output(node, "classify.mjs").startswith("koala 0.9")


def test_go_of_the_document(code, home):
    (home / "classify.go").write_text(code("docs/http.md", "go", "net/http"))
    go, env = program("go"), {"GO111MODULE": "off", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    assert output(go, "run", "classify.go", **env).startswith("koala 0.9")


def test_client_of_hugging_face_has_all_its_arguments(served, home):
    client, path = InferenceClient(model=f"{served}/v1/models/resnet18"), home / "photo.jpg"
    answers = [client.image_classification(image) for image in (path, str(path), path.read_bytes())]
    assert answers[0] == answers[1] == answers[2]
    assert (answers[0][0].label, answers[0][0].id, len(answers[0])) == ("koala", "n01882714", 3)
    assert len(client.image_classification(path, top_k=7)) == 7
    scores = {name: client.image_classification(path, function_to_apply=name)[0].score for name in ("softmax", "none")}
    assert scores["none"] > 1 > scores["softmax"]


def test_client_of_hugging_face_shows_what_is_wrong(served, home):
    client = InferenceClient(model=f"{served}/v1/models/resnet81")
    with pytest.raises(HfHubHTTPError, match="got 'resnet81'; did you mean 'resnet18'"):
        client.image_classification(home / "photo.jpg")


def test_client_of_hugging_face_with_a_token(served, home):
    client = InferenceClient(model=f"{served}/v1/models/resnet18", token="hf_x")
    assert client.image_classification(home / "photo.jpg")[0].label == "koala"
