"""The documents are correct: their commands and code run, and their references exist."""

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
from gradio_client import Client, handle_file
from launching import page_of
from PIL import Image
from test_house import RANK, imports, ours, part

from lineup import config, registry
from lineup.cli.main import parser
from lineup.features import FEATURES

ROOT = Path(__file__).parents[1]
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")}
README, CONTRIBUTING = TEXTS["README.md"], TEXTS["CONTRIBUTING.md"]
MAKEFILE = (ROOT / "Makefile").read_text()
LINEUP = ".venv/bin/python -m lineup "
NOT_RUN = {  # needs a network, or takes too long
    "python3 -m venv .venv",
    ".venv/bin/pip install -c constraints.txt -r requirements.txt",
    ".venv/bin/pip install torch==2.15.0 torchvision==0.29.2 --index-url https://download.pytorch.org/whl/cpu",
    ".venv/bin/python app.py",  # covered by the tests that serve a page
    "GRADIO_ROOT_PATH=/lineup .venv/bin/python app.py --port 7860",  # by tests/browser/test_behind_nginx.py
    "docker build -t lineup . && docker run -p 127.0.0.1:7860:7860 -v lineup-cache:/cache lineup",  # test_deploy.py
}
# The names in the README's calls, for backbones that need no network.
SERVED = """
backbones:
  - {name: resnet18, backbone: "local-dir:bundled/efficientnet_lite0"}
  - {name: efficientnet_lite2, backbone: "local-dir:bundled/efficientnet_lite2"}
engine: torch
"""


def blocks(kind: str, text: str = README) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def block(kind: str, word: str, text: str = README) -> str:
    """Return the only block of a kind that contains a word."""
    [match] = [code for code in blocks(kind, text) if word in code]
    return match


def commands(text: str) -> list[str]:
    """Return the commands in bash and console blocks, without comments; curl's block is tested as a whole."""
    scripts = [code for code in blocks("bash", text) if "curl" not in code]
    scripts += ["\n".join(re.findall(r"^\$ (.*)", code, re.MULTILINE)) for code in blocks("console", text)]
    return [line.split("  #")[0].strip() for script in scripts for line in script.splitlines()]


COMMANDS = list(dict.fromkeys([*commands(README), *commands(CONTRIBUTING)]))


def furnish(folder: Path) -> Path:
    """Copy a config, the files that it names, and the README's image to a folder."""
    (folder / "config.yaml").write_text(SERVED)
    shutil.copytree(ROOT / "bundled", folder / "bundled", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copy(ROOT / "examples" / "koala.jpg", folder / "photo.jpg")
    for name in ("koala", "hen"):
        (folder / "my-images" / name).mkdir(parents=True)
        shutil.copy(ROOT / "examples" / f"{name}.jpg", folder / "my-images" / name)
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Change to a folder in which the README's commands can run."""
    monkeypatch.chdir(furnish(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = furnish(tmp_path_factory.mktemp("readme"))
    with page_of(folder / "config.yaml") as page:
        yield page


def here(text: str, served) -> str:
    """Replace the README's URL with that of the served page."""
    assert "http://127.0.0.1:7860" in text
    return text.replace("http://127.0.0.1:7860", served.url.rstrip("/"))


# --- commands ---


def test_every_command_is_tested_or_listed():
    unknown = [line for line in COMMANDS if not line.startswith(("make ", LINEUP)) and line not in NOT_RUN]
    assert unknown == []
    assert set(COMMANDS) >= NOT_RUN, "no longer in the README"


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make ")])
def test_make_targets_exist(command):
    done = subprocess.run([*shlex.split(command), "-n"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for name in re.findall(r"(?:SPACE|ARGS)=\"?([^\"\s]+)", command):
        assert name in done.stdout  # the variable is passed on


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith(LINEUP)])
def test_lineup_commands_run(command, home, hub, publish, capsys):
    publish("resnet18.a1_in1k")  # doctor's download for a line-up without files on the Hub
    arguments = shlex.split(command.removeprefix(LINEUP))
    if arguments[0] == "push" and "--dry-run" not in arguments:
        arguments.append("--dry-run")  # test_space.py pushes to a fake Hub
    assert run_command(arguments) == 0
    assert capsys.readouterr().out


def test_modules_named_as_commands_exist():
    modules = set(re.findall(r"\.venv/bin/python (?:-m )?([\w./]+)", README + CONTRIBUTING)) - {"app.py"}
    for name in modules:
        path = name if "/" in name else name.replace(".", "/") + ("" if "." in name else "/__main__")
        assert (ROOT / f"{path.removesuffix('.py')}.py").is_file(), name
    assert {"lineup", "tools.config_docs"} <= modules


def test_options_of_push_exist(capsys):
    with pytest.raises(SystemExit):
        run_command(["push", "--help"])
    help_text = capsys.readouterr().out
    text = README.split("## On a Space")[1].split("\n## ")[0]
    options = set(re.findall(r"--[a-z-]+", text))
    assert {"--dry-run", "--private", "--hardware", "--secret", "--variable"} <= options
    assert [option for option in sorted(options) if option not in help_text] == []


def test_check_prints_the_error_in_the_readme(home, hub, capsys):
    shipped = (ROOT / "config.yaml").read_text()
    (home / "config.yaml").write_text(shipped.replace("- mobilenetv3_small_100", "- resnet5O"))
    (home / "examples").symlink_to(ROOT / "examples")
    assert run_command(["check", "--offline"]) == 2
    assert capsys.readouterr().err == block("console", "lineup check").partition("\n")[2]


# --- configs ---


@pytest.mark.parametrize("text", blocks("yaml") + blocks("yaml", CONTRIBUTING))
def test_yaml_examples_are_valid_configs(text):
    assert refused(text) == ()


def test_shipped_config_is_valid_and_its_examples_exist():
    from lineup.images import examples

    shipped = config.load(ROOT / "config.yaml")
    assert shipped.default_name == "resnet18"
    assert examples.find(shipped)[1] == []


@pytest.mark.parametrize(
    "line", re.findall(r"^\| (`.*?) \| .* \|$", README.split("| you write")[1].split("\n\n")[0], re.M)
)
def test_backbone_names_in_the_table_are_valid(line):
    for name in re.findall(r"`([^`]+)`", line):
        assert refused(f"backbones: ['{name}']") == ()


# --- calls ---


def test_python_client_example_runs(served, home, capsys):
    exec(here(block("python", "gradio_client"), served), {})
    output = capsys.readouterr().out
    assert output.startswith("Loaded as API")
    assert "\nkoala 0.9" in output
    assert "Both say koala" in output


def test_curl_example_returns_the_documented_json(served, home):
    script = here(block("bash", "gradio_api"), served)
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


def test_mcp_settings_are_json():
    servers = json.loads(block("json", "mcpServers"))["mcpServers"]
    assert servers["lineup"]["url"].endswith("/gradio_api/mcp/")  # tests/test_mcp.py connects to both


@pytest.fixture
def birds():
    """Return a timm model with three classes."""
    import timm

    return timm.create_model("test_resnet", num_classes=3)


def test_saved_folder_is_a_backbone(home, birds, make_service):
    exec(block("python", "save_for_hf"), {"model": birds})
    answer = make_service("backbones: ['local-dir:my-birds']", home).classify(home / "photo.jpg")
    assert {prediction.label for prediction in answer.predictions} == {"jay", "crow", "owl"}


def test_pushed_model_is_a_backbone(home, birds, make_service, hub, monkeypatch):
    """Checks the arguments of timm's push, and puts the model on the fake Hub."""
    from hub import timm_repo
    from timm import models

    signature = inspect.signature(models.push_to_hf_hub)

    def push(*arguments, **named):
        given = signature.bind(*arguments, **named).arguments
        hub.put(given["repo_id"], timm_repo(given["model"], **given["model_config"]))

    monkeypatch.setattr(models, "push_to_hf_hub", push)
    exec(block("python", "push_to_hf_hub"), {"model": birds})
    answer = make_service("backbones: ['hf-hub:me/my-birds']", home).classify(home / "photo.jpg")
    assert {prediction.label for prediction in answer.predictions} == {"jay", "crow", "owl"}


def test_evaluation_example_works(served, home, capsys):
    shutil.make_archive("my-images", "zip", "my-images")
    exec(block("python", "/evaluation"), {"client": Client(served.url, verbose=False), "handle_file": handle_file})
    assert "efficientnet_lite2 is right on 2 of 2" in capsys.readouterr().out


def test_number_of_python_blocks():
    assert len(blocks("python")) == 5  # tests/features/rest/test_rest_clients.py runs the first of the calls
    assert len(blocks("python", CONTRIBUTING)) == 4


def test_new_source_example_works(make_service, tmp_path, monkeypatch):
    source, test, *_ = blocks("python", CONTRIBUTING)
    module, namespace = ModuleType("lineup.registry.colours"), {}
    exec(source, vars(module))
    monkeypatch.setitem(sys.modules, "lineup.registry.colours", module)
    name, row = re.search(r'`\("(\w+)", (_source\(.*?\))\),`', CONTRIBUTING).groups()
    monkeypatch.setitem(registry.SOURCES, name, eval(row, vars(registry)))
    exec(test, namespace)
    namespace["test_strongest_channel_is_the_label"](make_service, tmp_path)
    Image.new("RGB", (60, 80), (0, 20, 90)).save(tmp_path / "blue.png")
    service = make_service(f"backbones: ['{name}:strongest']")
    assert service.classify(tmp_path / "blue.png").predictions[0].label == "blue"


def test_new_feature_example_works(assembled, fakes, monkeypatch):
    _, _, panel, test = blocks("python", CONTRIBUTING)
    module = ModuleType("lineup.features.counter.panel")
    exec(panel, vars(module))
    monkeypatch.setitem(sys.modules, "lineup.features.counter", ModuleType("lineup.features.counter"))
    monkeypatch.setitem(sys.modules, "lineup.features.counter.panel", module)
    reference = re.search(r'panel="(lineup\.features\.counter\.panel:\w+)"', CONTRIBUTING)[1]
    assert resolve_name(reference) is module.CounterPanel
    namespace: dict = {}
    exec(test, namespace)
    namespace["test_page_counts_its_answers"](assembled, fakes)


# --- links, images, packages ---


@pytest.mark.parametrize("name", TEXTS)
def test_links_have_targets(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        assert (ROOT / path).exists(), target
        if anchor:
            text = TEXTS[path or name]
            headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings], target


def test_screenshot_is_wide_and_small():
    path = ROOT / re.search(r"!\[.+\]\((\S+)\)", README)[1]
    assert path.stat().st_size < 300_000
    assert Image.open(path).width == 1280


def test_architecture_diagram_is_correct():
    lines = CONTRIBUTING.split("## Architecture")[1].split("```")[1].strip().splitlines()
    height = {name.rstrip("/"): -row for row, line in enumerate(lines) for name in re.split(r"\s{3,}", line)[0].split()}
    graph = imports()
    assert set(height) == {part(name) for name in graph} - {"lineup"} == set(RANK)
    for name, imported in graph.items():
        for other in {part(module) for module in ours(imported)} - {part(name), "lineup"}:
            assert height[part(name)] > height[other], f"{name} imports {other}"


def test_files_in_the_table_exist():
    rows = CONTRIBUTING.split("| what | where | tests |")[1].split("\n\n")[0]
    for name in set(re.findall(r"`([^`]+)`", rows)) - {"limits"}:
        assert (ROOT / name).exists(), name


def test_tests_named_in_security_exist():
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
    assert all(">=" in line for line in lines), "every requirement has a lower bound"
    return [re.split(r"[\[>]", line)[0] for line in lines]


@pytest.mark.parametrize(
    "name",
    [*required("requirements.txt"), *required("requirements-transformers.txt"), *required("requirements-dev.txt")],
)
def test_dependencies_are_pinned_and_documented(name):
    assert name.lower().replace("-", "_") in pins()
    assert re.search(rf"\b{re.escape(name)}\b", CONTRIBUTING.split("## Dependencies")[1], re.IGNORECASE)


def test_versions_in_the_readme_are_pinned():
    for name, version in re.findall(r"\b([a-z]+)==([\d.]+)", README):
        assert pins()[name] == version


def test_front_matter_has_the_pinned_gradio():
    front = yaml.safe_load(README.split("---")[1])
    assert front["sdk_version"] == pins()["gradio"]
    assert len(front["short_description"]) <= 60
    assert (ROOT / front["app_file"]).is_file()


def test_python_version_is_consistent():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["ruff"]["target-version"] == "py311"
    assert "Python 3.11 or newer" in README
    assert "container: python:3.11-" in (ROOT / ".github" / "workflows" / "tests.yml").read_text()


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_workflows_pin_actions_and_call_existing_commands(path):
    [job] = yaml.safe_load(path.read_text())["jobs"].values()
    uses = [step["uses"] for step in job["steps"] if "uses" in step]
    assert uses
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", action) for action in uses)
    lines = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    for line in lines:
        if line.startswith(".ci/"):
            assert (ROOT / line).is_file()
        if line.startswith("make "):
            assert f"\n{line.removeprefix('make ')}:" in MAKEFILE
        if line.startswith(LINEUP):
            assert parser(FEATURES.values()).parse_args(shlex.split(line.removeprefix(LINEUP)))
    assert any(line.startswith((".ci/run", LINEUP)) for line in lines)
