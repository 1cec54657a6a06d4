"""Private and undocumented names of libraries are those in CONTRIBUTING's table, with the upstream line of each."""

import ast
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
HEADER = "| name | where | why | upstream |"

OWN = {"_folder", "_document", "_type", "_replace"}  # of a Config, the end of pydantic's error types, of NamedTuple
SETTINGS = {"torch.backends.cudnn.allow_tf32"}  # documented, and meant to be assigned
# Modules and names that look public, but are not in their library's documentation.
MODULES = ("gradio.components.api_component", "gradio.context", "gradio.route_utils", "gradio.utils")
UNDOCUMENTED = {
    *("api_open", "concurrency_id", "enqueue_time", "event_ids_to_events", "keep_in_cache"),  # of Gradio
    *("pending_event_ids_session", "preprocess_data", "process_api", "stateful"),
    *("GRADIO_ANALYTICS_CACHE_FREQUENCY", "GRADIO_ANALYTICS_MAX_EVENTS"),  # environment variables
    *("openvino_telemetry", "OPEN", "REGEX_YAML_BLOCK", "dispose_extent", "dispose_op"),
    *("anchors", "compose_node", "flow_level", "get_single_node", "save_possible_simple_key"),  # of PyYAML
}
ASSIGNED = {"preprocess"}  # undocumented as what can be replaced
DOTTED = re.compile(r"\w+(\.\w+)*")


def is_private(name):
    return name.startswith("_") and not name.startswith("__") and name.strip("_") != "" and name not in OWN


def is_listed(name):
    """Return whether a dotted name is private, or undocumented by the lists above."""
    parts = name.split(".")
    modules = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return any(map(is_private, parts)) or parts[-1] in UNDOCUMENTED or bool(modules & set(MODULES))


def is_library(name):
    return name.split(".")[0] not in {*sys.stdlib_module_names, "lineup", "app", "tools"}


def imported(tree):
    """Map the names that a module binds by its imports to what they are: ``Image`` → ``PIL.Image``."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.split(".")[0]
                names[alias.asname or name] = name
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return {bound: name for bound, name in names.items() if name.split(".")[0] not in ("lineup", "app", "tools")}


def names_in(node, bound, docstrings):
    """Yield the names of libraries that a node refers to, and those that it assigns to, as dotted names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if is_library(alias.name))
    elif isinstance(node, ast.ImportFrom) and is_library(node.module):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Attribute):
        root, _, rest = ast.unparse(node).partition(".")
        of_library = bound.get(root)
        is_own = root in ("self", "cls") and "." not in rest and node.attr not in UNDOCUMENTED
        if not is_own and (of_library is None or is_library(of_library)):  # os._exit is not of a library
            yield node.attr
        is_assigned = isinstance(node.ctx, ast.Store | ast.Del)
        if is_assigned and ((of_library and f"{of_library}.{rest}" not in SETTINGS) or node.attr in ASSIGNED):
            yield f"{node.attr} is assigned"
    elif isinstance(node, ast.ClassDef):
        statements = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.Assign)]
        yield from (each.name for each in statements if isinstance(each, ast.FunctionDef) and each.name in UNDOCUMENTED)
        targets = (target for each in statements if isinstance(each, ast.Assign) for target in each.targets)
        yield from (target.id for target in targets if isinstance(target, ast.Name) and target.id in UNDOCUMENTED)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
        yield node.value if DOTTED.fullmatch(node.value) else ""


def library_names_in(text):
    """Return the private and undocumented names of libraries in a module, and what it patches; last components."""
    tree = ast.parse(text)
    bound = imported(tree)
    documented = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]  # docstrings
    found = set()
    for node in ast.walk(tree):
        for name in names_in(node, bound, documented):
            patched = name.removesuffix(" is assigned")
            if patched != name or is_listed(name):
                found.add(patched.rpartition(".")[2])
    return found


def used():
    """Return each private or undocumented name with the file that uses it."""
    paths = [ROOT / "app.py", *(ROOT / "lineup").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    return {(name, file) for file, text in texts.items() for name in library_names_in(text)}


def rows():
    """Return the rows of CONTRIBUTING's table: name, files, reason, and upstream line."""
    table = CONTRIBUTING.split(HEADER)[1].split("\n\n")[0].strip().splitlines()[1:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    return [(name.strip("` "), re.findall(r"`([^`]+)`", where), why, upstream) for name, where, why, upstream in cells]


def test_private_names_are_those_in_the_table():
    listed = {(name.rpartition(".")[2], file) for name, files, *_ in rows() for file in files}
    assert used() - listed == set(), "new: use a public name, or add it to the table in CONTRIBUTING.md"
    assert listed - used() == set(), "no longer used: remove it from the table in CONTRIBUTING.md"


@pytest.mark.parametrize(("name", "why", "upstream"), [(name, why, upstream) for name, _, why, upstream in rows()])
def test_upstream_line_has_the_name(name, why, upstream):
    path, number = re.fullmatch(r"`(\S+):(\d+)`", upstream).groups()
    package, _, rest = path.partition("/")
    spec = find_spec(package)
    folder = Path(spec.submodule_search_locations[0]) if spec.submodule_search_locations else Path(spec.origin).parent
    line = (folder / rest if rest else Path(spec.origin)).read_text(encoding="utf-8").splitlines()[int(number) - 1]
    assert name.rpartition(".")[2] in line
    assert len(why) > 10


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from timm.models._hub import load", "load"),
        ("import torch._dynamo.utils", "utils"),
        ("from gradio import _hidden", "_hidden"),
        ("from gradio.utils import get_space", "get_space"),
        ("def f(demo): demo._queue.push()", "_queue"),
        ("class A:\n    def f(self): return self.blocks._queue", "_queue"),
        ("def f(events): return [event.enqueue_time for event in events]", "enqueue_time"),
        ("def f():\n    from PIL import Image\n    Image.MAX_IMAGE_PIXELS = None", "MAX_IMAGE_PIXELS"),
        ("import torch\ntorch.load = print", "load"),
        ("import inspect as i\ni.getfile = None", "getfile"),
        ("import importlib\nimportlib.import_module('torch._dynamo')", "_dynamo"),
        ("meta['_ops']", "_ops"),
        ("class A(yaml.SafeLoader):\n    def compose_node(self): ...", "compose_node"),
        ("class A(yaml.SafeLoader):\n    def f(self): return self.anchors", "anchors"),
        ("class A(Png):\n    dispose_op = None", "dispose_op"),
        ("field.preprocess = print", "preprocess"),
    ],
)
def test_private_names_are_found(text, name):
    assert library_names_in(text) == {name}


@pytest.mark.parametrize(
    "text",
    [
        "class A:\n    _x = 1\n    def f(self): self._x = self.__class__.__name__",
        "import os\nos._exit(0)",
        "from lineup.page import _private\nfrom lineup.config import Config\nConfig.x = 1",
        "'''It uses torch._dynamo.'''",
        "def f(config): config._folder = 1",
        "import torch\ntorch.backends.cudnn.allow_tf32 = False",
        "def f(state): state.progress = state.preprocess(1)",
    ],
)
def test_own_and_documented_names_are_not_found(text):
    assert library_names_in(text) == set()
