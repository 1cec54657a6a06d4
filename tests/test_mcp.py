"""End-to-end tests of the MCP tools with an MCP client configured as in the README."""

import ast
import asyncio
import base64
import json
import os
import re
import sys
import zipfile
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from jsonschema import Draft202012Validator
from launching import page_of
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from serving import ROOT

from lineup.cli.main import main
from lineup.features import FEATURES

NAME = "efficientnet_lite0"
CONFIG = f"backbones: [{{name: {NAME}, backbone: 'local-dir:{ROOT}/bundled/{NAME}'}}]\nengine: torch\n"
PANDA = ROOT / "examples" / "giant_panda.jpg"
DATA_URI = f"data:image/jpeg;base64,{base64.b64encode(PANDA.read_bytes()).decode()}"
README_SERVERS = next(
    json.loads(block)["mcpServers"]
    for block in re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    if "mcpServers" in block
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    home = tmp_path_factory.mktemp("mcp")
    (home / "config.yaml").write_text(CONFIG)
    with page_of(home / "config.yaml") as page:
        yield page


def here(text: str, served) -> str:
    """Replace the README's URL by that of the test server."""
    assert "http://127.0.0.1:7860" in text
    return text.replace("http://127.0.0.1:7860/", served.url).replace("http://127.0.0.1:7860", served.url)


def session_with(served, use):
    """Open an MCP session, and return the result of `use(session)`."""

    async def run():
        address = here(README_SERVERS["lineup"]["url"], served)
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            return await use(session)

    return asyncio.run(run())


def tools(served) -> dict:
    async def listed(session):
        return {tool.name: tool for tool in (await session.list_tools()).tools}

    return session_with(served, listed)


def called(served, tool: str, **arguments) -> tuple[bool, str]:
    """Call a tool, and return whether it failed and its text."""

    async def call(session):
        return await session.call_tool(tool, arguments)

    result = session_with(served, call)
    [content] = result.content
    return result.isError, content.text


def answered(served, tool: str, **arguments):
    """Call a tool, and return its parsed result; Gradio formats it as a Python literal."""
    failed, text = called(served, tool, **arguments)
    assert not failed, text
    return ast.literal_eval(text)


def uploaded(served, folder: Path) -> str:
    """Upload an image with Gradio's upload server, configured as in the README, and return its URL."""
    command = README_SERVERS["lineup_upload"]
    assert command["command"] == "uvx"
    package, program, *arguments = command["args"][1:]
    assert (command["args"][0], package, program) == ("--from", "gradio[mcp]", "gradio")
    assert arguments[-1].startswith("/"), "the working directory of an MCP client is undefined"
    arguments = [here(argument, served) if "http" in argument else argument for argument in arguments[:-1]]
    program = str(Path(sys.executable).with_name("gradio"))

    async def run():
        server = StdioServerParameters(command=program, args=[*arguments, str(folder)], env=dict(os.environ))
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            result = await session.call_tool("upload_file_to_gradio", {"file": str(folder / PANDA.name)})
            assert not result.isError, result.content
            return result.content[0].text

    return asyncio.run(run())


def test_five_tools_with_descriptions_and_input_schemas(served):
    by_name = tools(served)
    assert set(by_name) == {"classify", "compare", "backbones", "evaluate", "evaluation"}
    for tool in by_name.values():
        assert len(tool.description) > 40
        assert tool.inputSchema["type"] == "object"
        assert all(field["description"] for field in tool.inputSchema["properties"].values())


@pytest.mark.parametrize(
    ("tool", "good", "bad"),
    [
        ("backbones", [{}], []),
        (
            "classify",
            [{"image": "data:"}, {"image": "data:", "backbone": "a", "top_k": 3}, {"image": "data:", "backbone": None}],
            [{}, {"image": 3}, {"image": "data:", "top_k": "3"}, {"image": "data:", "backbone": ["a"]}],
        ),
        (
            "compare",
            [{"image": "data:"}, {"image": "data:", "backbones": ["a", "b"]}, {"image": "data:", "backbones": None}],
            [{}, {"image": "data:", "backbones": "a"}, {"image": "data:", "backbones": [3]}],
        ),
        ("evaluation", [{"id": "a"}, {"id": "a", "scoring": "anywhere", "mapping": {"cat": None}}], [{}, {"id": 3}]),
    ],
)
def test_input_schemas_accept_valid_and_reject_invalid_arguments(served, tool, good, bad):
    schema = tools(served)[tool].inputSchema
    Draft202012Validator.check_schema(schema)
    names = {key for arguments in good for key in arguments}
    assert names <= set(schema["properties"]) <= names | {"top_k"}
    verdicts = [Draft202012Validator(schema).is_valid(arguments) for arguments in [*good, *bad]]
    assert verdicts == [True] * len(good) + [False] * len(bad)


def test_image_as_data_uri(served):
    answer = answered(served, "classify", image=DATA_URI, backbone=NAME, top_k=2)
    assert answer["predictions"][0]["label"] == "giant panda"
    assert len(answer["predictions"]) == 2
    comparison = answered(served, "compare", image=DATA_URI)
    assert comparison["results"][0]["predictions"][0]["label"] == "giant panda"
    assert comparison["agreement"]["sentence"].startswith(f"{NAME} says giant panda")


def test_image_as_uploaded_file(served, tmp_path):
    (tmp_path / PANDA.name).write_bytes(PANDA.read_bytes())
    url = uploaded(served, tmp_path)
    assert answered(served, "classify", image=url)["predictions"][0]["label"] == "giant panda"
    assert answered(served, "compare", image=url)["results"][0]["backbone"] == NAME


def test_backbones_tool_lists_the_configured_backbones(served):
    [row] = answered(served, "backbones")
    assert (row["name"], row["num_classes"]) == (NAME, 1000)


@pytest.mark.parametrize("address", ["http://lineup-tests.invalid/a.jpg", "https://192.0.2.1:9/a.png"])
@pytest.mark.parametrize("tool", ["classify", "compare"])
def test_remote_url_is_rejected_with_a_remedy(served, tool, address):
    failed, text = called(served, tool, image=address)
    assert failed
    assert text == "image: expected an uploaded file; got a URL, and URLs are not fetched; upload the image"


def test_upload_url_cannot_reference_other_files(served):
    failed, text = called(served, "classify", image=f"{served.url}gradio_api/file={ROOT}/README.md")
    assert failed
    assert text.startswith("image: expected an uploaded file; got a")


def test_unknown_backbone_is_an_error_with_a_suggestion(served):
    failed, text = called(served, "classify", image=DATA_URI, backbone=f"{NAME}0")
    assert failed
    assert f"did you mean '{NAME}'?" in text


IMAGE_MESSAGE = "image: expected a data: URI or the address of an upload; got "
WRONG = [
    ("classify", {"image": 3}, f"{IMAGE_MESSAGE}3; send one"),
    ("classify", {"image": {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}}, f"{IMAGE_MESSAGE}{{'path'"),
    ("classify", {"image": [DATA_URI]}, f"{IMAGE_MESSAGE}['data:image/jpeg;base64,"),
    ("classify", {"image": None}, f"{IMAGE_MESSAGE}none; send one"),
    ("classify", {}, f"{IMAGE_MESSAGE}none; send one"),
    ("classify", {"image": "/etc/passwd"}, f"{IMAGE_MESSAGE}'/etc/passwd'; send one"),
    (
        "classify",
        {"image": "data:image/jpeg;base64,A"},
        f"{IMAGE_MESSAGE}one that cannot be decoded; send it in base64",
    ),
    ("classify", {"image": DATA_URI, "top_k": "3"}, "top_k: expected a whole number; got '3'; see the tool's desc"),
    ("classify", {"image": DATA_URI, "top_k": 2.5}, "top_k: expected a whole number; got 2.5; see the tool's desc"),
    ("classify", {"image": DATA_URI, "top_k": 0}, "top_k: expected a whole number from 1 to 100000; got 0"),
    ("classify", {"image": DATA_URI, "backbone": {"path": "/etc/passwd"}}, "backbone: expected one name; got {'path'"),
    ("compare", {"image": DATA_URI, "backbones": NAME}, f"backbones: expected a list of names; got '{NAME}'"),
    ("compare", {"image": DATA_URI, "backbones": [3]}, "backbones: expected a list of names; got [3]"),
    (
        "classify",
        {"images": DATA_URI},
        "classify: expected image, backbone, top_k; got 'images'; did you mean 'image'?",
    ),
    ("backbones", {"all": True}, "backbones: expected no arguments; got 'all'; leave it out"),
    (
        "clasify",
        {"image": DATA_URI},
        "tool: expected classify, compare, backbones, evaluate, evaluation; got 'clasify'; did you mean 'clas",
    ),
]


def test_wrong_arguments_get_one_sentence_and_the_session_goes_on(served):
    async def call(session):
        answers = [await session.call_tool(tool, arguments) for tool, arguments, _ in WRONG]
        return answers, await session.call_tool("classify", {"image": DATA_URI})

    answers, last = session_with(served, call)
    for answer, (_, _, message) in zip(answers, WRONG, strict=True):
        assert answer.isError, message
        assert answer.content[0].text.startswith(message)
        assert len(answer.content[0].text) < 300
        assert "\n" not in answer.content[0].text
    assert not last.isError, last.content


def test_images_up_to_the_limit_are_accepted_and_one_byte_more_is_not(served):
    def padded(n_bytes):
        body = PANDA.read_bytes()
        return f"data:image/jpeg;base64,{base64.b64encode(body + bytes(n_bytes - len(body))).decode()}"

    async def call(session):
        sizes = 20 * 10**6, 20 * 10**6 + 1, 21 * 10**6
        answers = [await session.call_tool("classify", {"image": padded(size)}) for size in sizes]
        return [*answers, await session.call_tool("backbones", {})]

    largest, one_more, larger, after = session_with(served, call)
    assert not largest.isError, largest.content
    assert "giant panda" in largest.content[0].text
    for answer in (one_more, larger):
        assert answer.isError
        assert answer.content[0].text.startswith("image: expected at most 20 MB; got "), answer.content
    assert not after.isError


@pytest.fixture(scope="module")
def pets(tmp_path_factory) -> Path:
    """Return a zip file of four examples in folders."""
    path = tmp_path_factory.mktemp("zip") / "pets.zip"
    names = {"giant_panda": "bear", "polar_bear": "bear", "hen": "hen", "macaw": "owl"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, label in names.items():
            archive.write(ROOT / "examples" / f"{name}.jpg", f"{label}/{name}.jpg")
    return path


def figures(report: dict) -> dict:
    """Return what is equal in each report of the same images, however it is asked for."""
    [backbone] = report["backbones"]
    same = {key: value for key, value in backbone.items() if key != "forward_ms"}
    return {"backbone": same, **{key: report[key] for key in ("images", "labels", "notes", "agreement", "scoring")}}


def test_evaluation_has_the_figures_of_the_command(served, pets, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("LINEUP_CACHE", str(tmp_path))
    data = f"data:application/zip;base64,{base64.b64encode(pets.read_bytes()).decode()}"
    answer = answered(served, "evaluate", archive=data)
    assert answer["state"] == "done"
    assert answer["backbones"][0]["top1_among"]["images"] == 4
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    assert main(["evaluate", str(pets), "--config", str(config), "--json"], FEATURES.values()) == 0
    assert figures(answer) == figures(json.loads(capsys.readouterr().out))
    later = answered(served, "evaluation", id=answer["id"], scoring="anywhere", mapping={"owl": None})
    assert (later["scoring"], later["labels"][2]["state"]) == ("anywhere", "left out")
    failed, text = called(served, "evaluation", id="nope")
    assert failed
    assert "expected the id of a job" in text


def test_evaluation_through_gradio_takes_uploads(served, pets):
    client = Client(served.url, verbose=False)
    of_zip = client.predict(handle_file(str(pets)), api_name="/evaluate")
    assert of_zip["images"]["labelled"] == 4
    files = [handle_file(str(ROOT / "examples" / f"{name}.jpg")) for name in ("hen", "owl")]
    of_files = client.predict(images=files, backbones=[NAME], api_name="/evaluate")
    assert (of_files["images"]["evaluated"], of_files["images"]["labelled"]) == (2, 0)
    assert client.predict(of_files["id"], api_name="/evaluation")["agreement"] == of_files["agreement"]
    with pytest.raises(AppError, match="expected images, a zip file, or the id of an upload; got none"):
        client.predict(api_name="/evaluate")
