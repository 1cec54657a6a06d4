"""The facade: page, command line, HTTP API and MCP call the same few methods."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from lineup.analysis.agreement import Comparison, Vote, agreement
from lineup.analysis.comparison import ComparisonRow, row
from lineup.config import Config, Entry
from lineup.engines import choice
from lineup.errors import BackboneError, BusyError, HubError, LineupError, UnreachableError
from lineup.hub.files import Weights
from lineup.images import examples
from lineup.images.image_bytes import ImageSource
from lineup.inference import arguments, execution
from lineup.inference.backbone_state import Loaded
from lineup.inference.classifier import Classifier
from lineup.inference.pinned_backbone import PinnedBackbone
from lineup.inference.postprocessing import DEFAULT_OPTIONS, AnswerOptions
from lineup.inference.queue import PAGE, Cancelled, never_cancelled
from lineup.inference.startup import Startup
from lineup.results import Answer, BackboneStatus, Classification, LatencyStats

if TYPE_CHECKING:
    from torch import nn

    from lineup.registry import Plan
    from lineup.registry.labels import LabelSet
    from lineup.registry.plan import OutputKind

LeftOut = Mapping[str, LineupError | str]  # why entries are not compared, by name

_log = logging.getLogger(__name__)


class Service:
    """Classifies images with the backbones of one config. Thread-safe; loads nothing before `start`.

    Attributes:
        config: the current config. It may be replaced: its limits apply at once, and its other keys are read once.
        cluster: the connection to a cluster that computes instead of this process, or None.
        loads_on_demand: whether backbones load in the background; otherwise `start` comes before the page is served.
        fingerprint: returns what identifies the backbone that has given an answer; see `Classifier.fingerprint`.

    Raises:
        ConfigError: when the config names an engine that is not in ENGINES.
    """

    def __init__(self, config: Config) -> None:
        choice.check(config)
        self.config = config
        self.examples, self.example_problems = examples.find(config)
        self._execution = chosen = execution.choose(lambda: self.config)
        self._pool, self.cluster, self.loads_on_demand = chosen.pool, chosen.cluster, chosen.loads_on_demand
        self._classifier = Classifier(self._execution, lambda: self.config)
        self.fingerprint = self._classifier.fingerprint
        self._startup = Startup(lambda: self.config, self._execution)
        self.default_resolved, self.probed = self._startup.default_resolved, self._startup.probed

    # --- the server's state ---

    def start(self) -> None:
        """Load the default backbone and probe the others: in the background, or now on ZeroGPU."""
        for problem in self.example_problems:
            _log.warning("%s", problem)
        self._startup.run()

    @property
    def preselected(self) -> str:
        """Return the entry that the page opens with: the default, or the first that can run instead."""
        return self._startup.preselected

    @property
    def not_ready_reason(self) -> str:
        """Return why the server is not ready, or an empty string. It is ready when the default entry can answer."""
        if problem := self._execution.problem:
            return problem
        status = self.status(self.config.default_name)
        # idle: evicted, and loaded on demand
        able = self.default_resolved.is_set() and status.status in ("ready", "idle")
        if able or (status.status == "loading" and self.timing(status.name)):  # it has answered before
            return ""
        return f"{status.name} is {status.status}" + (f": {status.reason}" if status.reason else "")

    @property
    def mean_compute_s(self) -> float:
        """Return a moving average of how long a request computes."""
        return self._execution.mean_compute_s

    # --- the line-up ---

    @property
    def names(self) -> list[str]:
        """Return the entries' names, in the config's order."""
        return self._pool.names

    def known(self, name: object) -> str:
        """Return the name of an entry.

        Raises:
            BackboneError: when it is not one.
        """
        return self.status(arguments.backbone(name)).name

    def entry(self, name: str) -> Entry:
        """Return an entry, of the config or added.

        Raises:
            BackboneError: when there is none of that name.
        """
        return self._pool.entry(name)

    def status(self, name: str) -> BackboneStatus:
        """Return what is known of an entry now.

        Raises:
            BackboneError: when there is no such entry.
        """
        return self._pool.status(name)

    def backbones(self) -> list[BackboneStatus]:
        """Return what is known of each entry now, in the config's order."""
        return self._pool.statuses()

    def timing(self, name: str) -> LatencyStats | None:
        """Return the latency of an entry's forward passes in this process, or None before the first."""
        return self._classifier.latency(name)

    def rows(self, answers: Mapping[str, Answer | None]) -> list[ComparisonRow]:
        """Return a row of the comparison table for each entry, whether it has answered or not."""
        return [row(self.status(name), self.timing(name), answer) for name, answer in answers.items()]

    def recipe(self, name: str) -> str:
        """Return Python that builds an entry's network and transform without Lineup; empty if there is none."""
        return plan.recipe if (plan := self._pool.plan(name)) else ""

    def weights(self, name: str) -> Weights | None:
        """Return where an entry's weights are, as far as known without a request."""
        return plan.weights if (plan := self.planned(name)) else None

    def labels(self, name: str) -> "LabelSet | None":
        """Return the labels of an entry's classes, as far as known without a request."""
        return plan.labels if (plan := self.planned(name)) else None

    def planned(self, name: str, offline: bool = True) -> "Plan | None":
        """Return the plan of an entry, as far as it can be made without a request; with some if not `offline`."""
        if self._pool.plan(name) is None:
            self._pool.probe(name, offline)
        return self._pool.plan(name)

    def requirements(self) -> list[str]:
        """Return the files with what the entries need besides requirements.txt, as far as their plans are made."""
        plans = (self._pool.plan(name) for name in self._pool.names)
        return sorted({plan.requirements for plan in plans if plan and plan.requirements})

    def add(self, entry: Entry) -> None:
        """Add an entry that is not in the config; it is loaded when needed.

        Raises:
            BackboneError: when there is one of that name.
        """
        self._pool.add(entry)

    def remove(self, name: str) -> None:
        """Remove an entry; running requests still finish on it.

        Raises:
            BackboneError: when there is no such entry, or it is the default one.
        """
        if name == self.config.default_name:
            raise BackboneError(name, "an entry that is not the default", "it is", "change the default first")
        self._pool.remove(name)

    def pinned(
        self, name: str, output: "OutputKind" = "classes", cancelled: Cancelled = never_cancelled
    ) -> PinnedBackbone:
        """Load an entry, and keep it loaded while batches are computed; a context manager.

        Raises:
            LineupError: when it cannot be loaded, or the request is cancelled meanwhile.
        """
        return PinnedBackbone(self._execution, lambda: self.config, self.known(name), output, cancelled)

    def turn(self, cancelled: Cancelled = never_cancelled, client: str = PAGE) -> AbstractContextManager[None]:
        """Wait until all earlier requests are done, and block later ones; see `ComputeQueue.turn`."""
        return self._execution.turn(cancelled, lambda: None, client)

    def background_turn(self, cancelled: Cancelled = never_cancelled) -> AbstractContextManager[None]:
        """Wait until a job may compute a slice, which requests overtake; see `ComputeQueue.background_turn`."""
        return self._execution.background_turn(cancelled)

    def network(self, name: str) -> "AbstractContextManager[nn.Module]":
        """Return a context manager that yields an entry's torch network; see `Pool.network`."""
        return self._pool.network(self.known(name))

    def load(self, name: str) -> "Future[Loaded]":
        """Begin to load an entry in the background, unless it is loaded or loading."""
        return self._pool.start(self.known(name))

    def probe(self, offline: bool = False) -> list[BackboneStatus]:
        """Find out what each entry is and whether it is available, without loading it; return the statuses."""
        self._startup.probe(offline)
        return self.backbones()

    def problems(self) -> list[str]:
        """Return the problems of entries and examples, each with its place in the config."""
        return self._entry_problems(lambda problem: not isinstance(problem, UnreachableError)) + self.example_problems

    def notes(self) -> list[str]:
        """Return what could not be checked because a server did not respond."""
        return self._entry_problems(lambda problem: isinstance(problem, UnreachableError))

    def _entry_problems(self, accepts: Callable[[LineupError], bool]) -> list[str]:
        indices = {entry.name: index for index, entry in enumerate(self.config.backbones)}
        names = [name for name in self.names if name in indices]
        problems = [(self.config.where("backbones", indices[name]), self._pool.problem(name)) for name in names]
        return [f"{where}: {error}" for where, error in problems if error and accepts(error)]

    def example_path(self, index: int) -> str:
        """Return the file of an example, downloaded if necessary."""
        return examples.fetch(self.examples[index], self.config.limits)

    # --- answers ---

    def classify(
        self,
        image: ImageSource,
        backbone: str | None = None,
        top_k: int | None = None,
        cancelled: Cancelled = never_cancelled,
    ) -> Classification:
        """Classify an image.

        Args:
            image: path of an image file, or its content.
            backbone: name of an entry; the config's default if None.
            top_k: number of classes to return, most probable first; the config's if None.
            cancelled: the request's cancel flag.

        Raises:
            ImageError: when the file is not an image that can be decoded.
            BackboneError: when there is no such entry, or it cannot run.
            BusyError: when the queue is full.
            ClientDisconnected: when the request is cancelled.
        """
        names = [self.config.default_name if backbone is None else backbone]
        ((_, answer),) = self.answers(image, names, top_k, cancelled=cancelled)
        if isinstance(answer, LineupError):
            raise answer
        return answer

    def compare(
        self,
        image: ImageSource,
        backbones: object = None,
        top_k: int | None = None,
        cancelled: Cancelled = never_cancelled,
    ) -> Comparison:
        """Classify an image with several backbones, and report how far they agree.

        Args:
            image: path of an image file, or its content.
            backbones: distinct names of entries; those of `comparable_all` if None.
            top_k: as for `classify`, and so is `cancelled`.

        Raises:
            LineupError: as `classify` does, but an error of one backbone is a result beside the others.
        """
        names, left_out = self.comparable_all() if backbones is None else (self.comparable(backbones), {})
        return self.comparison(names, dict(self.answers(image, names, top_k, cancelled=cancelled)), left_out)

    def answers(
        self,
        image: ImageSource,
        backbones: Sequence[object],
        top_k: int | None = None,
        max_k: int = 0,
        cancelled: Cancelled = never_cancelled,
        options: AnswerOptions = DEFAULT_OPTIONS,
    ) -> Iterator[tuple[str, Answer]]:
        """Yield each backbone's answer as soon as it is there; an error of one backbone is its answer.

        Args:
            image: path of an image file, or its content.
            backbones: names of entries.
            top_k: as for `classify`, and so is `cancelled`.
            max_k: number of classes in an answer, if that is more.
            options: what else an answer has, and which clients the request takes turns with.

        Raises:
            LineupError: when the image cannot be read, a name is unknown, `top_k` is invalid, or the request is
                cancelled.
        """
        count, names = arguments.top_k(top_k, self.config.top_k), [self.known(name) for name in backbones]
        yield from self._classifier.answers(image, names, replace(options, top_k=count, max_k=max_k), cancelled)

    def comparable(self, names: object) -> list[str]:
        """Return the names of a comparison.

        Raises:
            BackboneError: when they are not distinct names of entries, or more than limits.max_compared.
        """
        chosen = arguments.backbones(names, self.names, self.config.limits.max_compared)
        return [self.known(name) for name in chosen]

    def comparable_all(self, first: str = "") -> tuple[list[str], dict[str, LineupError | str]]:
        """Return the entries that are compared by default, and why others are left out.

        These are the first available ones in the config's order, up to limits.max_compared; all of them if none is
        available, so that each reports its problem. Waits for the start, and retries servers that failed.

        Args:
            first: name of an entry that is moved to the front if it is available.
        """
        if self._startup.begun:
            self.probed.wait(self.config.limits.hub_timeout_s)
        for name in self.names:
            if isinstance(self._pool.problem(name), HubError | BusyError) and self.loads_on_demand:
                self._pool.probe(name)
        statuses, max_compared = self.backbones(), self.config.limits.max_compared
        left_out: dict[str, LineupError | str] = {status.name: status.problem for status in statuses if status.problem}
        names = [status.name for status in statuses if status.name not in left_out]
        if not names:
            names, left_out = list(left_out), {}
        names.sort(key=lambda name: name != first)  # stable: the others keep their order
        left_out |= dict.fromkeys(names[max_compared:], f"at most {max_compared} are compared at once")
        return names[:max_compared], left_out

    def comparison(
        self, names: Sequence[str], answers: Mapping[str, Answer], left_out: LeftOut | None = None
    ) -> Comparison:
        """Return answers in the order of `names`, and how far they agree; some may still be missing."""
        ordered = {name: answers[name] for name in names if name in answers}
        votes = [
            Vote(answer, plan.labels)
            for name, answer in ordered.items()
            if isinstance(answer, Classification) and (plan := self._pool.plan(name))
        ]
        failed = [name for name, answer in ordered.items() if isinstance(answer, LineupError)]
        return Comparison(ordered, agreement(votes, failed), left_out or {})
