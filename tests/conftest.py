"""What tests share: a stand-in Hub for the whole run, caches of their own, an image, a service made of YAML.

Fixtures: `hub` (the stand-in), `fresh_cache` (empty caches in this process), `env` (the same for a
subprocess), `publish` (a timm model on the Hub), `image`, `make_service`, `fakes` (a source `fake:`).
"""

import asyncio
import os
import sys
import tempfile
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from drawing import draw  # noqa: E402
from hub import Hub, timm_repo  # noqa: E402
from networks import seeded_timm  # noqa: E402
from serving import caches  # noqa: E402

_HUB = Hub()
_HOME = tempfile.TemporaryDirectory(prefix="lineup-tests-", ignore_cleanup_errors=True)
_FORGOTTEN = ("HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_HUB_ETAG_TIMEOUT", "LINEUP_CONFIG", "SPACES_ZERO_GPU")


# huggingface_hub and gradio read these when they are imported: nothing may import them before.
for _name in _FORGOTTEN:
    os.environ.pop(_name, None)
os.environ.update(
    caches(Path(_HOME.name)),
    HF_ENDPOINT=_HUB.url,
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    GRADIO_ANALYTICS_ENABLED="False",
    GRADIO_TEMP_DIR=str(Path(_HOME.name) / "uploads"),
    OMP_NUM_THREADS="1",  # torch's threads spin while they wait for busy cores: two take four times as long as one
    NO_PROXY="127.0.0.1,localhost",
)


def pytest_unconfigure() -> None:
    _HUB.close()
    _HOME.cleanup()


@pytest.fixture(scope="session")
def standing_hub() -> Hub:
    """Return the Hub for what outlives a test: who sets a fault mends it."""
    return _HUB


@pytest.fixture
def hub():
    """Return the Hub that every client here and in subprocesses speaks to; faults end with the test."""
    _HUB.reset()
    yield _HUB
    _HUB.reset()


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch) -> Path:
    """Let this test's downloads go to empty caches, and return the folder they are in."""
    from huggingface_hub import constants

    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hf" / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    return folder


@pytest.fixture
def env(tmp_path, hub) -> dict[str, str]:
    """Return the environment for ``subprocess.run([sys.executable, …], env=env, cwd=ROOT)``: this Hub, empty caches."""
    return {**os.environ, **caches(tmp_path / "env"), "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def publish():
    """Return a function that puts a timm model with seeded random weights on the Hub, once.

    ``publish("resnet18.a1_in1k")`` makes ``timm/resnet18.a1_in1k`` and returns its files.
    """

    def put(full_name: str, safe: bool = True) -> dict[str, bytes]:
        repo = f"timm/{full_name}"
        if repo not in _HUB.repos:
            _HUB.put(repo, timm_repo(seeded_timm(full_name), safe))
        repo = _HUB.repos[repo]
        return repo.commits[repo.branches["main"]]

    return put


@pytest.fixture(scope="session")
def image(tmp_path_factory) -> Path:
    """Return a JPEG of 320 × 240 pixels with noise and shapes in it."""
    return draw(tmp_path_factory.mktemp("images") / "shapes.jpg")


@pytest.fixture(autouse=True)
def only_torch(request, monkeypatch):
    """Keep OpenVINO out of tests that are not about it: conversions in the background would slow them all."""
    from lineup.engines import openvino_engine

    if "openvino" not in request.keywords:
        monkeypatch.setattr(openvino_engine, "unavailable", lambda *_: "this test does without OpenVINO")


@pytest.fixture
def make_service(tmp_path):
    """Return a function that makes a Service of a config's text; its relative paths start at `tmp_path`."""
    from lineup import config
    from lineup.config import yaml_source
    from lineup.service import Service

    def make(text: str, folder: Path = tmp_path) -> Service:
        return Service(config.build(yaml_source.parse(text, "config.yaml"), folder))

    return make


@dataclass
class Fakes:
    """Backbones of three classes that load and answer as a test wishes: ``fake:a``, ``fake:b``, …

    `errors`, `weights`, `logits` and `more` are by target, the part after the colon.
    """

    names: tuple[str, ...] = ("cat", "dog", "owl")
    errors: dict[str, Exception] = field(default_factory=dict)  # raised while the network is built
    weights: dict[str, object] = field(default_factory=dict)  # what is fetched first
    logits: dict[str, list[float]] = field(default_factory=dict)
    more: dict[str, dict[str, object]] = field(default_factory=dict)  # what else their plans say
    built: list[str] = field(default_factory=list)  # one item for each time a network was built
    holds: dict[str, threading.Event] = field(default_factory=dict)

    def hold(self, what: str) -> threading.Event:
        """Let ``build a`` or ``answer a`` wait until the event that is returned is set."""
        return self.holds.setdefault(what, threading.Event())

    def wait(self, what: str) -> None:
        assert what not in self.holds or self.holds[what].wait(30)

    def plan(self, entry, context):
        import torch

        from lineup.registry import Plan, Transform
        from lineup.registry.labels import from_names

        fakes, target = self, entry.spec.target

        class Network(torch.nn.Module):
            def forward(self, batch):
                fakes.wait(f"answer {target}")
                return torch.tensor([fakes.logits.get(target, [3.0, 2.0, 1.0])])

        def make(path):
            fakes.built.append(target)
            fakes.wait(f"build {target}")
            if target in fakes.errors:
                raise fakes.errors[target]
            return Network()

        plan = Plan(
            name=entry.name,
            source=entry.source,
            architecture=target,
            parameters=0,
            labels=from_names(self.names, "fakes"),
            transform=Transform(lambda image: torch.zeros(3, 8, 8), (8, 8), (0, 0, 0), (1, 1, 1)),
            weights=self.weights.get(target),
            make=make,
        )
        return replace(plan, **self.more.get(target, {}))


@pytest.fixture
def fakes(monkeypatch):
    """Register a source `fake:` through the door that forks use, and return what steers it."""
    from lineup import registry

    made = Fakes()
    monkeypatch.setitem(registry.SOURCES, "fake", made.plan)
    yield made
    for held in made.holds.values():
        held.set()


@dataclass
class Assembled:
    """A page with some features, driven without a browser; components are known by their element ids."""

    service: object
    demo: object
    image: Path

    @property
    def element_ids(self) -> set[str]:
        return {part.elem_id for part in self.demo.blocks.values() if part.elem_id}

    def answered(self, name: str, others: tuple[str, ...] = ()) -> dict[str, object]:
        """Ask one backbone or more about an image, and return what each component shows in the end."""
        from lineup.page.visit import Visit

        [answer] = {fn.fn for fn in self.demo.fns.values() if getattr(fn.fn, "__name__", "") == "answer"}
        shown: dict[str, object] = {}

        async def collect() -> None:
            async for changes in answer(str(self.image), name, list(others), 3, Visit()):
                shown.update({component.elem_id: value for component, value in changes.items()})

        asyncio.run(collect())
        return shown


@pytest.fixture
def assembled(make_service, image):
    """Return a function that assembles the page of a config's text with some features, as app.py does."""

    def assemble(text: str, features) -> Assembled:
        import app

        service = make_service(text)
        return Assembled(service, app.build(service, features), image)

    return assemble
