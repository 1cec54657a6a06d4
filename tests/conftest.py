"""Shared fixtures and the environment of the test run, which uses a fake Hub and temporary caches.

Fixtures: `hub` (the fake Hub), `fresh_cache` (empty caches in this process), `env` (the same for a subprocess),
`publish` (a timm model on the Hub), `image`, `make_service`, `fakes` (a source `fake:`), `launch` (a page of these).
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
from launching import pages  # noqa: E402
from networks import seeded_timm  # noqa: E402
from serving import caches  # noqa: E402

_HUB = Hub()
_HOME = tempfile.TemporaryDirectory(prefix="lineup-tests-", ignore_cleanup_errors=True)
_UNSET_VARIABLES = (
    "HF_TOKEN",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_HUB_ETAG_TIMEOUT",
    "LINEUP_CONFIG",
    "SPACES_ZERO_GPU",
)


# huggingface_hub and gradio read these on import, so they must not be imported earlier.
for _name in _UNSET_VARIABLES:
    os.environ.pop(_name, None)
os.environ.update(
    caches(Path(_HOME.name)),
    HF_ENDPOINT=_HUB.url,
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    GRADIO_ANALYTICS_ENABLED="False",
    GRADIO_TEMP_DIR=str(Path(_HOME.name) / "uploads"),
    OMP_NUM_THREADS="1",  # torch's threads busy-wait: on busy cores two are four times slower than one
    NO_PROXY="127.0.0.1,localhost",
)


def pytest_unconfigure() -> None:
    _HUB.close()
    _HOME.cleanup()


@pytest.fixture(scope="session")
def standing_hub() -> Hub:
    """Return the fake Hub for fixtures of a wider scope, which must clear the faults they set."""
    return _HUB


@pytest.fixture
def hub():
    """Return the fake Hub used by this process and its subprocesses; it is reset around each test."""
    _HUB.reset()
    yield _HUB
    _HUB.reset()


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch) -> Path:
    """Redirect downloads to empty caches, and return their folder."""
    from huggingface_hub import constants

    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hf" / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    return folder


@pytest.fixture
def env(tmp_path, hub) -> dict[str, str]:
    """Return the environment for ``subprocess.run([sys.executable, …], env=env, cwd=ROOT)``, with empty caches."""
    return {**os.environ, **caches(tmp_path / "env"), "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="session")
def publish():
    """Return a function that publishes a timm model with seeded random weights to the fake Hub, once.

    ``publish("resnet18.a1_in1k")`` creates ``timm/resnet18.a1_in1k`` and returns its files.
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
    """Return a JPEG of 320 × 240 pixels with noise and random shapes."""
    return draw(tmp_path_factory.mktemp("images") / "shapes.jpg")


@pytest.fixture(autouse=True)
def only_torch(request, monkeypatch):
    """Disable OpenVINO except in tests marked `openvino`: background conversions would slow all others down."""
    from lineup.engines import openvino_engine

    if "openvino" not in request.keywords:
        monkeypatch.setattr(openvino_engine, "unavailable", lambda *_: "OpenVINO is disabled in this test")


@pytest.fixture
def make_service(tmp_path):
    """Return a factory of Services from YAML; relative paths are resolved against `tmp_path`."""
    from lineup import config
    from lineup.config import yaml_source
    from lineup.service import Service

    def make(text: str, folder: Path = tmp_path) -> Service:
        return Service(config.build(yaml_source.parse(text, "config.yaml"), folder))

    return make


@dataclass
class Fakes:
    """Controllable fake backbones of three classes: ``fake:a``, ``fake:b``, …

    `errors`, `weights`, `logits` and `more` are keyed by target, the part after the colon.
    """

    names: tuple[str, ...] = ("cat", "dog", "owl")
    errors: dict[str, Exception] = field(default_factory=dict)  # raised by the build
    weights: dict[str, object] = field(default_factory=dict)  # files to fetch before the build
    logits: dict[str, list[float]] = field(default_factory=dict)
    more: dict[str, dict[str, object]] = field(default_factory=dict)  # overrides of Plan fields
    built: list[str] = field(default_factory=list)  # targets, in the order of their builds
    holds: dict[str, threading.Event] = field(default_factory=dict)

    def hold(self, step: str) -> threading.Event:
        """Block the step ``build a`` or ``answer a`` until the returned event is set."""
        return self.holds.setdefault(step, threading.Event())

    def wait(self, step: str) -> None:
        assert step not in self.holds or self.holds[step].wait(30)

    def plan(self, entry, context):
        import torch

        from lineup.registry import Plan, Transform
        from lineup.registry.labels import from_names

        fakes, target = self, entry.spec.target

        class Network(torch.nn.Module):
            def forward(self, batch):
                fakes.wait(f"answer {target}")
                return torch.tensor([fakes.logits.get(target, [3.0, 2.0, 1.0])] * len(batch))

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
    """Register a source `fake:` in SOURCES, as a fork does, and return its controls."""
    from lineup import registry

    controls = Fakes()
    monkeypatch.setitem(registry.SOURCES, "fake", controls.plan)
    yield controls
    for event in controls.holds.values():
        event.set()


@pytest.fixture
def launch(make_service, fakes):
    """Return a function that serves a config of fake backbones in this process until the end of the test."""
    with pages() as serve:
        yield lambda text="backbones: ['fake:a', 'fake:b']", ready=True: serve(make_service(text), ready)
        for held in fakes.holds.values():
            held.set()


@dataclass
class Assembled:
    """A page with selected features, driven without a browser; components are identified by element id."""

    service: object
    demo: object
    image: Path

    @property
    def element_ids(self) -> set[str]:
        return {block.elem_id for block in self.demo.blocks.values() if block.elem_id}

    def answered(self, name: str, others: tuple[str, ...] = ()) -> dict[str, object]:
        """Classify the image with one or more backbones, and return each component's final value."""
        from lineup.page.visit import Visit

        [answer] = {fn.fn for fn in self.demo.fns.values() if getattr(fn.fn, "__name__", "") == "answer"}
        values: dict[str, object] = {}

        async def collect() -> None:
            async for changes in answer(str(self.image), name, list(others), 3, Visit()):
                values.update({component.elem_id: value for component, value in changes.items()})

        asyncio.run(collect())
        return values


@pytest.fixture
def assembled(make_service, image):
    """Return a function that builds the page from YAML with selected features, as app.py does."""

    def assemble(text: str, features) -> Assembled:
        import app

        service = make_service(text)
        return Assembled(service, app.build(service, features), image)

    return assemble
