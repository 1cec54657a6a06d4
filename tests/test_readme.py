"""What the README and its neighbours say is so: what can run is run, what cannot is looked up."""

import inspect
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType

import pytest
import yaml
from bad_configs import refused
from commands import run_command
from PIL import Image
from serving import serving, without_hub
from test_house import RANK, imports, ours, part

from lineup import config, registry
from lineup.cli.main import parser
from lineup.features import FEATURES

ROOT = Path(__file__).parents[1]
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")}
README, CONTRIBUTING = TEXTS["README.md"], TEXTS["CONTRIBUTING.md"]
MAKEFILE = (ROOT / "Makefile").read_text()
LINEUP = ".venv/bin/python -m lineup "
NOT_RUN = {  # what needs a network, or more time than a test has
    "python3 -m venv .venv",
    ".venv/bin/pip install -c constraints.txt -r requirements.txt",
    ".venv/bin/pip install torch==2.15.0 torchvision==0.29.2 --index-url https://download.pytorch.org/whl/cpu",
    ".venv/bin/python app.py",  # every test that serves a page does
}
# The names that the README's calls use, given to backbones that need no network.
SERVED = """
backbones:
  - {name: resnet18, backbone: "local-dir:bundled/efficientnet_lite0"}
  - {name: efficientnet_lite2, backbone: "local-dir:bundled/efficientnet_lite2"}
engine: torch
"""


def blocks(kind: str, text: str = README) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def block(kind: str, word: str, text: str = README) -> str:
    """Return the one block of a kind that has a word in it."""
    [found] = [each for each in blocks(kind, text) if word in each]
    return found


def commands(text: str) -> list[str]:
    """Return the command lines of all bash and console blocks, without comments; curl's block is tested as one."""
    found = [each for each in blocks("bash", text) if "curl" not in each]
    found += ["\n".join(re.findall(r"^\$ (.*)", each, re.MULTILINE)) for each in blocks("console", text)]
    return [line.split("  #")[0].strip() for each in found for line in each.splitlines()]


COMMANDS = list(dict.fromkeys([*commands(README), *commands(CONTRIBUTING)]))


def furnish(folder: Path) -> Path:
    """Put a config there, what it names, and the image that the README asks about."""
    (folder / "config.yaml").write_text(SERVED)
    shutil.copytree(ROOT / "bundled", folder / "bundled", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copy(ROOT / "examples" / "koala.jpg", folder / "photo.jpg")
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Be in a folder where the README's commands can run."""
    monkeypatch.chdir(furnish(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = furnish(tmp_path_factory.mktemp("readme"))
    with serving(folder / "config.yaml", without_hub(folder), folder / "log.txt") as app:
        yield app


def here(text: str, served) -> str:
    """Put the served page in the place of the README's."""
    assert "http://127.0.0.1:7860" in text
    return text.replace("http://127.0.0.1:7860", served.url.rstrip("/"))


# --- commands ---


def test_each_command_is_run_by_a_test_or_said_not_to_be():
    unknown = [line for line in COMMANDS if not line.startswith(("make ", LINEUP)) and line not in NOT_RUN]
    assert unknown == []
    assert set(COMMANDS) >= NOT_RUN, "no longer in the README"


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make ")])
def test_make_knows_each_target(command):
    done = subprocess.run([*shlex.split(command), "-n"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for name in re.findall(r"(?:SPACE|ARGS)=\"?([^\"\s]+)", command):
        assert name in done.stdout  # it is handed on


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith(LINEUP)])
def test_each_command_of_lineup_runs(command, home, hub, publish, capsys):
    publish("resnet18.a1_in1k")  # what doctor downloads for a line-up that needs nothing of the Hub
    arguments = shlex.split(command.removeprefix(LINEUP))
    if arguments[0] == "push" and "--dry-run" not in arguments:
        arguments.append("--dry-run")  # tests/test_space.py pushes to a stand-in
    assert run_command(arguments) == 0
    assert capsys.readouterr().out


def test_the_modules_that_the_text_names_as_commands_are_there():
    named = set(re.findall(r"\.venv/bin/python (?:-m )?([\w./]+)", README + CONTRIBUTING)) - {"app.py"}
    for name in named:
        path = name if "/" in name else name.replace(".", "/") + ("" if "." in name else "/__main__")
        assert (ROOT / f"{path.removesuffix('.py')}.py").is_file(), name
    assert {"lineup", "tools.config_docs"} <= named


def test_the_options_of_push_that_the_text_names_are_there(capsys):
    with pytest.raises(SystemExit):
        run_command(["push", "--help"])
    told = capsys.readouterr().out
    text = README.split("## On a Space")[1].split("\n## ")[0]
    named = set(re.findall(r"--[a-z-]+", text))
    assert {"--dry-run", "--private", "--hardware", "--secret", "--variable"} <= named
    assert [option for option in sorted(named) if option not in told] == []


def test_check_says_what_the_text_shows(home, hub, capsys):
    shipped = (ROOT / "config.yaml").read_text()
    (home / "config.yaml").write_text(shipped.replace("- mobilenetv3_small_100", "- resnet5O"))
    (home / "examples").symlink_to(ROOT / "examples")
    assert run_command(["check", "--offline"]) == 2
    assert capsys.readouterr().err == block("console", "lineup check").partition("\n")[2]


# --- configs ---


@pytest.mark.parametrize("text", blocks("yaml") + blocks("yaml", CONTRIBUTING))
def test_each_yaml_example_is_a_config(text):
    assert refused(text) == ()


def test_the_shipped_config_is_valid_and_its_examples_are_there():
    from lineup.images import examples

    shipped = config.load(ROOT / "config.yaml")
    assert shipped.default_name == "resnet18"
    assert examples.find(shipped)[1] == []


@pytest.mark.parametrize(
    "line", re.findall(r"^\| (`.*?) \| .* \|$", README.split("| you write")[1].split("\n\n")[0], re.M)
)
def test_each_form_of_a_name_is_one(line):
    for name in re.findall(r"`([^`]+)`", line):
        assert refused(f"backbones: ['{name}']") == ()


# --- calls ---


def test_the_python_client_is_answered(served, home, capsys):
    exec(here(block("python", "gradio_client"), served), {})
    told = capsys.readouterr().out
    assert told.startswith("Loaded as API")
    assert "\nkoala 0.9" in told
    assert "Both say koala" in told


def test_curl_is_answered_as_the_text_shows(served, home):
    script = here(block("bash", "curl"), served)
    done = subprocess.run(["bash", "-euc", script], cwd=home, capture_output=True, text=True, timeout=60)
    assert "event: complete" in done.stdout, done.stderr
    [answer] = json.loads(done.stdout.split("data: ", 1)[1].splitlines()[0])
    shown = json.loads(block("json", "predictions"))
    assert list(answer) == list(shown)
    assert len(answer["predictions"]) == 5
    for key in ("predictions", "milliseconds"):
        shape = shown[key][0] if key == "predictions" else shown[key]
        assert list(answer[key][0] if key == "predictions" else answer[key]) == list(shape)
    assert answer["predictions"][0]["label"] == "koala"


def test_the_settings_of_an_mcp_client_are_json():
    servers = json.loads(block("json", "mcpServers"))["mcpServers"]
    assert servers["lineup"]["url"].endswith("/gradio_api/mcp/")  # tests/test_mcp.py connects to both


@pytest.fixture
def birds():
    """Return what somebody trained with timm, who has three kinds of birds."""
    import timm

    return timm.create_model("test_resnet", num_classes=3)


def test_a_folder_saved_as_the_text_says_is_a_backbone(home, birds, make_service):
    exec(block("python", "save_for_hf"), {"model": birds})
    answer = make_service("backbones: ['local-dir:my-birds']", home).classify(home / "photo.jpg")
    assert {each.label for each in answer.predictions} == {"jay", "crow", "owl"}


def test_a_model_pushed_as_the_text_says_is_a_backbone(home, birds, make_service, hub, monkeypatch):
    """Pushing itself is timm's: here its arguments are checked, and the stand-in gets what it would send."""
    from hub import timm_repo
    from timm import models

    meant = inspect.signature(models.push_to_hf_hub)

    def push(*arguments, **named):
        given = meant.bind(*arguments, **named).arguments
        hub.put(given["repo_id"], timm_repo(given["model"], **given["model_config"]))

    monkeypatch.setattr(models, "push_to_hf_hub", push)
    exec(block("python", "push_to_hf_hub"), {"model": birds})
    answer = make_service("backbones: ['hf-hub:me/my-birds']", home).classify(home / "photo.jpg")
    assert {each.label for each in answer.predictions} == {"jay", "crow", "owl"}


def test_there_is_no_other_python_in_the_text():
    assert len(blocks("python")) == 3
    assert len(blocks("python", CONTRIBUTING)) == 4


def test_the_new_source_of_the_example_answers(make_service, tmp_path, monkeypatch):
    source, test, *_ = blocks("python", CONTRIBUTING)
    made: dict = {}
    exec(source, made)
    name, function = re.search(r'`"(\w+)": (?:\w+)\.(\w+),`', CONTRIBUTING).groups()
    monkeypatch.setitem(registry.SOURCES, name, made[function])
    exec(test, made)
    made["test_the_strongest_colour_is_told"](make_service, tmp_path)
    Image.new("RGB", (60, 80), (0, 20, 90)).save(tmp_path / "blue.png")
    service = make_service(f"backbones: ['{name}:strongest']")
    assert service.classify(tmp_path / "blue.png").predictions[0].label == "blue"


def test_the_new_feature_of_the_example_works(assembled, fakes, monkeypatch):
    _, _, panel, test = blocks("python", CONTRIBUTING)
    module = ModuleType("lineup.features.counter.panel")
    exec(panel, vars(module))
    monkeypatch.setitem(sys.modules, "lineup.features.counter", ModuleType("lineup.features.counter"))
    monkeypatch.setitem(sys.modules, "lineup.features.counter.panel", module)
    reference = re.search(r'panel="(lineup\.features\.counter\.panel:\w+)"', CONTRIBUTING)[1]
    assert resolve_name(reference) is module.CounterPanel
    made: dict = {}
    exec(test, made)
    made["test_the_page_counts_its_answers"](assembled, fakes)


# --- links, images, packages ---


@pytest.mark.parametrize("name", TEXTS)
def test_each_link_leads_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists(), target
        if anchor:
            text = TEXTS[path or name]
            headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings], target


def test_the_image_is_wide_and_not_heavy():
    path = ROOT / re.search(r"!\[.+\]\((\S+)\)", README)[1]
    assert path.stat().st_size < 300_000
    assert Image.open(path).width == 1280


def test_the_house_is_as_the_image_shows_it():
    lines = CONTRIBUTING.split("## The house")[1].split("```")[1].strip().splitlines()
    height = {name.rstrip("/"): -row for row, line in enumerate(lines) for name in re.split(r"\s{3,}", line)[0].split()}
    graph = imports()
    assert set(height) == {part(name) for name in graph} - {"lineup"} == set(RANK)
    for name, found in graph.items():
        for other in {part(each) for each in ours(found)} - {part(name), "lineup"}:
            assert height[part(name)] > height[other], f"{name} imports {other}"


def test_the_table_of_what_to_change_names_files_that_are_there():
    rows = CONTRIBUTING.split("| what | where | tests |")[1].split("\n\n")[0]
    for name in set(re.findall(r"`([^`]+)`", rows)) - {"limits"}:
        assert (ROOT / name).exists(), name


def test_every_promise_names_tests_that_are_there():
    text, path = (ROOT / "SECURITY.md").read_text(encoding="utf-8"), ""
    for name in re.findall(r"`((?:tests/[\w/]+\.py)|test_\w+)`", text):
        if name.startswith("tests/"):
            path = name
            assert (ROOT / path).is_file(), name
        else:
            assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}: {name}"


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {name.lower().replace("-", "_"): version for name, _, version in (line.partition("==") for line in lines)}


def required(file: str) -> list[str]:
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and line[0] not in "#-"]
    assert all(">=" in line for line in lines), "each has a floor"
    return [re.split(r"[\[>]", line)[0] for line in lines]


@pytest.mark.parametrize("name", required("requirements.txt") + required("requirements-dev.txt"))
def test_each_dependency_has_an_exact_version_and_a_reason(name):
    assert name.lower().replace("-", "_") in pins()
    assert re.search(rf"\b{re.escape(name)}\b", CONTRIBUTING.split("## What it is made of")[1], re.IGNORECASE)


def test_the_versions_in_the_text_are_the_pinned_ones():
    for name, version in re.findall(r"\b([a-z]+)==([\d.]+)", README):
        assert pins()[name] == version


def test_the_front_matter_names_the_gradio_that_is_pinned():
    front = yaml.safe_load(README.split("---")[1])
    assert front["sdk_version"] == pins()["gradio"]
    assert len(front["short_description"]) <= 60
    assert (ROOT / front["app_file"]).is_file()


def test_python_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["ruff"]["target-version"] == "py311"
    assert "Python 3.11 or newer" in README
    assert "container: python:3.11-" in (ROOT / ".github" / "workflows" / "tests.yml").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_a_workflow_pins_its_actions_and_calls_what_is_there(path):
    [job] = yaml.safe_load(path.read_text())["jobs"].values()
    uses = [step["uses"] for step in job["steps"] if "uses" in step]
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", each) for each in uses)
    lines = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    for line in lines:
        if line.startswith(".ci/"):
            assert (ROOT / line).is_file()
        if line.startswith("make "):
            assert f"\n{line.removeprefix('make ')}:" in MAKEFILE
        if line.startswith(LINEUP):
            assert parser(FEATURES.values()).parse_args(shlex.split(line.removeprefix(LINEUP)))
    assert any(line.startswith((".ci/run", LINEUP)) for line in lines)
