import ast
import re
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each module imports only modules of a lower rank. A package has one rank; its own modules may import each
# other as long as no circle comes of it.
LAYERS = [
    {"errors", "formatting", "fast_import"},
    {"results", "config", "hub"},
    {"images", "registry"},
    {"engines", "analysis"},
    {"inference"},
    {"service"},  # the facade
    {"page", "cli"},
    {"features", "server"},
    {"__main__", "app"},  # the entry points
]
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
WITHOUT_TORCH = {"errors", "formatting", "results", "config", "hub", "images", "analysis", "page", "cli"}


def imports_of(text, modules):
    """Return every dotted name that a module imports anywhere, but for what only a type checker sees."""
    found, queue = set(), [ast.parse(text)]
    while queue:
        node = queue.pop()
        for_types = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        queue += node.orelse if for_types else ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: write imports out, from lineup"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & modules | ({node.module} if names - modules else set())
    return found


def imports():
    """Map each module of the house to what it imports: ``lineup.registry.plan`` → dotted names."""
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "lineup").rglob("*.py")}
    paths["app"] = ROOT / "app.py"
    texts = {name.removesuffix(".__init__"): path.read_text(encoding="utf-8") for name, path in paths.items()}
    return {name: imports_of(text, set(texts)) for name, text in texts.items()}


def part(name):
    """``lineup.registry.plan`` → ``registry``: what the table ranks."""
    return name.removeprefix("lineup.").split(".")[0]


def ours(names):
    return {name for name in names if name.split(".")[0] in ("app", "lineup")}


def wrong_imports(graph):
    """Return each import that does not go down, in words."""
    wrong = []
    for name in sorted(graph.keys() - {"lineup"}):
        if part(name) not in RANK:
            wrong.append(f"{name} has no rank: add it to LAYERS in test_house.py")
            continue
        others = {each for each in ours(graph[name]) if part(each) != part(name)}
        above = sorted(each for each in others if RANK.get(part(each), 99) >= RANK[part(name)])
        wrong += [f"{name} imports {each}, which is not below it" for each in above]
    return wrong


def importers_of(*packages):
    return {part(name) for name, found in imports().items() if {each.split(".")[0] for each in found} & set(packages)}


def test_imports_go_down_only():
    assert wrong_imports(imports()) == []


def test_no_imports_go_in_a_circle():
    TopologicalSorter({name: ours(found) - {name} for name, found in imports().items()}).prepare()  # raises CycleError


def test_the_package_itself_imports_nothing():
    assert imports()["lineup"] == set()


WRONG = [
    ("lineup.config", "lineup.images", "lineup.config imports lineup.images, which is not below it"),
    (
        "lineup.images.reading",
        "lineup.registry",
        "lineup.images.reading imports lineup.registry, which is not below it",
    ),
    (
        "lineup.registry.plan",
        "lineup.inference.pool",
        "lineup.registry.plan imports lineup.inference.pool, which is not below it",
    ),
    ("lineup.page.events", "lineup.features", "lineup.page.events imports lineup.features, which is not below it"),
    ("lineup.page", "app", "lineup.page imports app, which is not below it"),
    ("lineup.service", "lineup.utils", "lineup.service imports lineup.utils, which is not below it"),
    ("lineup.utils", "lineup.errors", "lineup.utils has no rank: add it to LAYERS in test_house.py"),
]


@pytest.mark.parametrize(("name", "imported", "message"), WRONG)
def test_an_import_that_goes_up_is_found(name, imported, message):
    assert wrong_imports({name: {imported, "os"}}) == [message]


def test_imports_are_found_wherever_they_stand():
    text = """
import os.path, timm.data as data
from lineup import config, errors as told, __doc__
from lineup.registry import Plan
if TYPE_CHECKING:
    import hidden
else:
    import otherwise
class A:
    def b(self):
        if c:
            from torch import nn
"""
    lineup = {"lineup", "lineup.config", "lineup.errors", "lineup.registry"}
    assert imports_of(text, lineup) == lineup | {"os.path", "timm.data", "otherwise", "torch"}


def test_only_the_registry_knows_the_libraries_of_networks():
    assert importers_of("timm", "torchvision", "transformers") == {"registry"}


def modules_that_import(*packages):
    return {name for name, found in imports().items() if {each.split(".")[0] for each in found} & set(packages)}


def test_only_the_page_panels_the_server_and_app_import_gradio():
    for name in modules_that_import("gradio", "gradio_client"):
        assert part(name) in ("page", "server", "app") or name.endswith((".panel", "_panel")), name


def test_features_do_not_import_one_another():
    for name, found in imports().items():
        if part(name) == "features" and name.count(".") > 1:
            own = ".".join(name.split(".")[:3])
            others = {each for each in found if each.startswith("lineup.features.") and not each.startswith(own)}
            assert others == set(), name


# Verbs of the Hub client's methods that write.
HUB_WRITES = re.compile(
    r"(accept|add|batch|cancel|change|comment|copy|create|delete|disable|duplicate|edit|enable|grant|hide|merge|move"
    r"|pause|permanently_delete|preupload|reject|rename|request|restart|run|set|super_squash|sync|update|upload)_.*"
)


def hub_writes_in(text):
    """Return the names in a module that write to the Hub."""
    from huggingface_hub import HfApi

    nodes = list(ast.walk(ast.parse(text)))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    return {name for name in names if name == "CommitScheduler" or (HUB_WRITES.match(name) and hasattr(HfApi, name))}


def test_only_uploads_writes_to_the_hub():
    paths = [ROOT / "app.py", *(ROOT / "lineup").rglob("*.py"), *(ROOT / "tools").rglob("*.py")]
    writing = {path.relative_to(ROOT).as_posix() for path in paths if hub_writes_in(path.read_text(encoding="utf-8"))}
    assert writing == {"lineup/hub/uploads.py"}


def test_only_features_that_publish_import_uploads():
    through = {"lineup.hub.uploads", "lineup.hub.scheduled_push"}  # the latter pushes with the former
    importers = {name for name, found in imports().items() if found & through} - through
    parts = {tuple(name.split(".")[1:3]) for name in importers}
    assert parts <= {("features", "publish"), ("features", "training"), ("features", "feedback")}


def test_writes_to_the_hub_are_found_wherever_they_stand():
    text = "from huggingface_hub import CommitScheduler, upload_folder as put, hf_hub_download\nHfApi().create_commit()"
    assert hub_writes_in(text) == {"CommitScheduler", "upload_folder", "create_commit"}


def test_nothing_below_names_a_feature():
    for path in (ROOT / "lineup").rglob("*.py"):
        if "features" not in path.parts and path.name != "__main__.py":
            assert "lineup.features" not in path.read_text(encoding="utf-8"), path


def test_the_house_has_at_most_twenty_parts_on_nine_layers():
    graph = imports()
    parts = {part(name) for name in graph} - {"lineup"}
    print(*(f"{rank}: {' '.join(sorted(layer & parts))}" for rank, layer in enumerate(LAYERS)), sep="\n")
    assert len(parts | {"tools"}) <= 20
    assert len(LAYERS) <= 9


def test_the_light_modules_name_neither_torch_nor_timm():
    assert importers_of("torch", "timm", "torchvision", "transformers") & WITHOUT_TORCH == set()


def test_a_config_is_read_before_anything_heavy_is_imported():
    light = "lineup.config, lineup.registry, lineup.images.examples, lineup.analysis.agreement, lineup.service"
    heavy = {"torch", "timm", "torchvision", "transformers", "gradio"}
    code = f"import sys, {light}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Lines of code: blank lines, comments and docstrings are there to be read, and do not count.
# The core is to have 4,000 lines, and at most 6,000 with what features need of it.
BUDGETS = {"file": 250, "class": 150, "function": 50, "feature": 800, "core": 4000, "core with additions": 6000}
OVER_BUDGET = {  # what is over its budget, and why
    "lineup/features/evaluation": "it is a page, a command and a route: a third is the page's handlers and components",
    "lineup/features/training": "it is a page with a trial and downloads, a command, and the folder that both save",
    "lineup/features/feedback": "it is a panel, pages of the owner, a command, and a copy on the Hub that several "
    "replicas change at once",
    "lineup without features": "it has what features need of it, too: batches, embeddings, jobs, stores of answers "
    "and of labelled images, and backbones that are added to a running pool",
    "lineup without features, in all": "a third is the registry: checkpoints, label files, names and classifiers of "
    "transformers as people have them, most of it sentences that say what a file is instead",
}


def code_lines(text, tree):
    """Return the numbers of the lines that hold code."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    written = [node.body[0] for node in ast.walk(tree) if isinstance(node, kinds) and ast.get_docstring(node)]
    docstrings = {line for node in written for line in range(node.lineno, node.end_lineno + 1)}
    lines = enumerate(map(str.strip, text.splitlines()), start=1)
    return {number for number, line in lines if line and line[0] != "#" and number not in docstrings}


def sizes():
    """Yield each file, class, function and feature, and the core: kind, name, and lines of code."""
    paths = [ROOT / "app.py", *sorted((ROOT / "lineup").rglob("*.py")), *sorted((ROOT / "tools").rglob("*.py"))]
    features, core = Counter(), 0
    for path in paths:
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        tree = ast.parse(text)
        lines = code_lines(text, tree)
        yield "file", name, len(lines)
        if name.startswith("lineup/features/") and name.count("/") > 2:
            features["/".join(name.split("/")[:3])] += len(lines)
        elif name.startswith("lineup/"):
            core += len(lines)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                kind = "class" if isinstance(node, ast.ClassDef) else "function"
                inside = sum(node.lineno <= line <= node.end_lineno for line in lines)
                yield kind, f"{name}: {node.name}", inside
    yield from (("feature", name, count) for name, count in features.items())
    yield "core", "lineup without features", core
    yield "core with additions", "lineup without features, in all", core


def test_every_part_stays_within_its_budget():
    over = {name: f"{kind} of {count}" for kind, name, count in sizes() if count > BUDGETS[kind]}
    assert {name: size for name, size in over.items() if name not in OVER_BUDGET} == {}
    assert OVER_BUDGET.keys() <= over.keys(), "no longer over its budget: take it out of OVER_BUDGET"
