"""The facade: what page, command line and API all call. Whoever asks gets the same answer."""

import hashlib
import json
import logging
import math
import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from lineup.analysis.agreement import Comparison, Vote, agreement
from lineup.analysis.comparison import ComparisonRow, row
from lineup.config import Config
from lineup.engines import zerogpu
from lineup.errors import (
    BackboneError,
    BusyError,
    ClientDisconnected,
    HubError,
    ImageError,
    LineupError,
    UnreachableError,
    brief,
)
from lineup.hub.files import Weights
from lineup.images import examples
from lineup.inference.pool import Loaded, Pool
from lineup.inference.postprocessing import classification
from lineup.inference.preprocessing import ImagePath, PreparedImage, jpeg, timed
from lineup.inference.queue import Client, ComputeQueue, Connections, LocalClient, Session
from lineup.inference.watchdog import Watchdog
from lineup.results import Answer, BackboneStatus, Classification, LatencyStats, StageTimings

if TYPE_CHECKING:
    from lineup.engines.engine import Engine

_log = logging.getLogger(__name__)

_requests = logging.getLogger("lineup.requests")

MAX_TOP_K = 100_000  # more than any set has classes
MAX_KEPT_ANSWERS = 256  # answers of a lent GPU that are kept
GPU_START_S, GPU_BYTES_PER_S = 10, 1e9  # to start on a lent GPU, and how fast weights go there at worst
MAX_HANGING = 2  # forward passes that do not come back, before a restart is the better way
_STILL_THERE_S = 1.0  # how often somebody who waits for a download is asked whether he is still there


class Service:
    """Classifies images with the line-up of one config.

    Nothing heavy happens before `start`. Methods may be called from any thread.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._pool = Pool(config)
        self.examples, self.example_problems = examples.find(config)
        self.opened = threading.Event()  # it is decided what the page opens with
        self.probed = threading.Event()  # all that can be known of every entry is known
        self._begun = False  # both are going to be set
        self._fallback = config.default_name  # what the page opens with while the default cannot run
        # One answer is computed at a time: a network uses all cores, a second would only slow both.
        self._turns, self._presence = ComputeQueue(config.limits.queue_size), Connections()
        self._watch = Watchdog(config.limits.forward_timeout_s, self._pool.hangs, self._pool.returned)
        # how long forward passes took, in milliseconds; old ones are forgotten
        self._forwards: dict[str, deque[float]] = {name: deque(maxlen=101) for name in self.names}
        self._forward = zerogpu.on_gpu_worker(self._run, self._gpu_duration_s)
        # On ZeroGPU: what runs, where a forked process finds it without a lock, and what a lent GPU computed
        self._engines: dict[str, Engine] = {}
        self._gpu_answers: dict[tuple[str, bytes], tuple[np.ndarray, str]] = {}

    def start(self) -> None:
        """Get ready to answer: at once on ZeroGPU, in the background everywhere else."""
        self._begun = True
        for text in self.example_problems:
            _log.warning("%s", text)
        if zerogpu.on_zerogpu():
            for name in self.names:
                if loaded := self._pool.load_here(name):
                    self._engines[name] = loaded.engine
            self._decide()
            self.probed.set()
        else:
            threading.Thread(target=self._start, name="start", daemon=True).start()

    @property
    def preselected(self) -> str:
        """Return the entry the page opens with: the default, or the first that can run in its stead."""
        return self._fallback if self.default_problem else self.config.default_name

    @property
    def default_problem(self) -> str:
        """Return why the config's default entry cannot run, or nothing."""
        return self._pool.status(self.config.default_name).reason

    @property
    def not_ready_reason(self) -> str:
        """Return why the page cannot be relied upon now, or nothing: the default must be able to answer."""
        if self._watch.hanging >= MAX_HANGING:
            return f"{self._watch.hanging} forward passes have not come back; restart"
        status = self._pool.status(self.config.default_name)
        able = self.opened.is_set() and status.status in ("ready", "idle")  # idle: it left, and loads when asked
        if able or (status.status == "loading" and self._forwards[status.name]):  # it has answered before
            return ""
        return f"{status.name} is {status.status}" + (f": {status.reason}" if status.reason else "")

    @property
    def names(self) -> list[str]:
        """Return the entries' names, in the config's order."""
        return self._pool.names

    def status(self, name: str) -> BackboneStatus:
        """Return what is known of an entry now.

        Raises:
            BackboneError: when there is no such entry.
        """
        return self._pool.status(name)

    def backbones(self) -> list[BackboneStatus]:
        """Return what is known of each entry now, in the config's order."""
        return [self._pool.status(name) for name in self.names]

    def rows(self, answers: Mapping[str, Answer | None]) -> list[ComparisonRow]:
        """Return a row of the comparison's table for each entry, whether it has answered or not."""
        return [row(self.status(name), self.timing(name), answer) for name, answer in answers.items()]

    def recipe(self, name: str) -> str:
        """Return Python that makes an entry's network and transform without Lineup; empty if there is none."""
        plan = self._pool.plan(name)
        return plan.recipe if plan else ""

    def weights(self, name: str) -> Weights | None:
        """Return where an entry's weights lie, as far as that is known without asking a server."""
        if self._pool.plan(name) is None:
            self._pool.look(name, offline=True)
        plan = self._pool.plan(name)
        return plan.weights if plan else None

    def load(self, name: str) -> "Future[Loaded]":
        """Begin to load an entry in the background, unless it is loaded or loading."""
        return self._pool.start(self.known(name))

    # --- clients that wait for an answer over HTTP, by the name of their session ---

    def client_connected(self, session: str) -> None:
        """Note that a client listens for its answer."""
        self._presence.came(session)
        self._turns.look()

    def client_disconnected(self, session: str) -> None:
        """Note that a connection on which a client listened has ended."""
        self._presence.left(session)

    def is_listening(self, session: str) -> bool:
        """Tell whether a client listens for its answer now."""
        return self._presence.listens(session)

    def client(self, session: str | None) -> Client:
        """Return the client of a request; one without a session waits until it has its answer."""
        return Session(self._presence, session) if session is not None else LocalClient()

    @property
    def mean_answer_s(self) -> float:
        """Return how long an answer took lately."""
        return self._turns.mean_s

    def look(self, offline: bool = False) -> list[BackboneStatus]:
        """Find out what can be known of each entry without loading it, and return it."""
        for name in self.names:
            self._pool.look(name, offline)
        return self.backbones()

    def problems(self) -> list[str]:
        """Return what is wrong with entries and examples, each with its place in the config."""
        return self._found(lambda problem: not isinstance(problem, UnreachableError)) + self.example_problems

    def notes(self) -> list[str]:
        """Return what could not be checked because nobody answered."""
        return self._found(lambda problem: isinstance(problem, UnreachableError))

    def _found(self, wanted: Callable[[LineupError], bool]) -> list[str]:
        found = [(index, self._pool.problem(name)) for index, name in enumerate(self.names)]
        return [
            f"{self.config.where('backbones', index)}: {problem}"
            for index, problem in found
            if problem and wanted(problem)
        ]

    def known(self, name: object) -> str:
        """Return the name of an entry if it is one; the page and the API may be sent anything."""
        if not isinstance(name, str):
            raise BackboneError("backbone", "one name of the line-up", f"got {repr(name)[:100]}", "send a name")
        self._pool.status(name)
        return name

    def example_path(self, index: int) -> str:
        """Return the file of an example, fetching it first if it lies elsewhere."""
        return examples.fetch(self.examples[index], self.config.limits)

    def classify(
        self,
        image: ImagePath,
        backbone: str | None = None,
        top_k: int | None = None,
        visitor: Client = LocalClient(),  # noqa: B008  (it has no state)
    ) -> Classification:
        """Classify an image.

        Args:
            image: path of an image file.
            backbone: name of an entry; the config's default if left out. Never another one's answer.
            top_k: how many classes to return, most probable first; the config's if left out.
            visitor: who asks: who has gone is dropped.

        Raises:
            ImageError: when the file is not an image that can be read.
            BackboneError: when there is no such entry, or it cannot run.
            BusyError: when too many are waiting already.
        """
        names = [self.config.default_name if backbone is None else backbone]
        ((_, answer),) = self.answers(image, names, top_k, visitor=visitor)
        if isinstance(answer, LineupError):
            raise answer
        return answer

    def compare(
        self,
        image: ImagePath,
        backbones: object = None,
        top_k: int | None = None,
        visitor: Client = LocalClient(),  # noqa: B008
    ) -> Comparison:
        """Classify an image with several backbones, and say how far they agree.

        Args:
            image: path of an image file.
            backbones: names of entries, each once; those of `comparable_all` if left out.
            top_k: as for `classify`, and so is `visitor`.

        Raises:
            LineupError: as `classify` does, but a backbone that cannot run is a result beside the others.
        """
        names, left_out = self.comparable_all() if backbones is None else (self.comparable(backbones), {})
        return self.comparison(names, dict(self.answers(image, names, top_k, visitor=visitor)), left_out)

    def comparable_all(self, first: str = "") -> tuple[list[str], dict[str, LineupError | str]]:
        """Return the entries that are compared when none is named, and why others are left out.

        These are the first that can be had, in the config's order, as many as may be compared; all of them
        if none can, so that each says why. Waits until the start is over, and asks servers again that failed.

        Args:
            first: name of an entry that comes first if it can be had.
        """
        if self._begun:
            self.probed.wait(self.config.limits.hub_timeout_s)
        for name in self.names:
            if isinstance(self._pool.problem(name), HubError | BusyError) and not zerogpu.on_zerogpu():
                self._pool.look(name)
        found, most = self.backbones(), self.config.limits.max_compared
        left_out: dict[str, LineupError | str] = {each.name: each.problem for each in found if each.problem}
        names = [each.name for each in found if each.name not in left_out]
        if not names:
            names, left_out = list(left_out), {}
        names.sort(key=lambda name: name != first)  # the others keep their order
        left_out |= dict.fromkeys(names[most:], f"at most {most} are compared at once")
        return names[:most], left_out

    def comparable(self, names: object) -> list[str]:
        """Return the names of a comparison if they are some, each once, and no more than may be compared."""
        if not isinstance(names, list | tuple) or not names:
            told = repr(names)[:100]
            raise BackboneError("backbones", "a list of one name or more", f"got {told}", "/backbones has them")
        most = self.config.limits.max_compared
        if len(names) > len(self.names):  # before each is looked at: a list may have a million
            raise BackboneError("backbones", f"at most {most} at once", f"got {len(names)}", "leave some out")
        known = [self.known(name) for name in names]
        if repeated := [name for name, count in Counter(known).items() if count > 1]:
            raise BackboneError("backbones", "each name once", f"got {repeated[0]!r} again", "leave one out")
        if len(known) > most:
            raise BackboneError("backbones", f"at most {most} at once", f"got {len(known)}", "leave some out")
        return known

    def comparison(
        self, names: Sequence[str], found: Mapping[str, Answer], left_out: Mapping[str, LineupError | str] | None = None
    ) -> Comparison:
        """Put answers in the order of `names`, and say how far they agree; some may still be missing."""
        ordered = {name: found[name] for name in names if name in found}
        voices = [
            Vote(answer, plan.labels)
            for name, answer in ordered.items()
            if isinstance(answer, Classification) and (plan := self._pool.plan(name))
        ]
        failed = [name for name, answer in ordered.items() if isinstance(answer, LineupError)]
        return Comparison(ordered, agreement(voices, failed), left_out or {})

    def answers(
        self,
        image: ImagePath,
        backbones: Sequence[object],
        top_k: int | None = None,
        keep: int = 0,
        visitor: Client = LocalClient(),  # noqa: B008
    ) -> Iterator[tuple[str, Answer]]:
        """Answer with each backbone as soon as it is there: loaded ones do not wait for a download.

        The image is decoded once. What keeps one backbone from answering is its answer. An answer
        has `top_k` classes, or `keep` if that is more.

        Raises:
            LineupError: when the image cannot be read, a name is unknown, `top_k` is no count, or who
                asked has gone.
        """
        wanted, names = _top_k(top_k, self.config.top_k), [self.known(name) for name in backbones]
        sitting = PreparedImage(image, self.config.limits, lambda: [*map(self._pool.plan, names)])
        sitting.check()
        loads = {name: self._pool.hold(name) for name in names}
        try:
            while loads:
                done, _ = wait(loads.values(), _STILL_THERE_S, return_when=FIRST_COMPLETED)
                if visitor.gone():
                    raise ClientDisconnected
                if not done:
                    sitting.forget()  # a download may take minutes, and an image 120 MB
                    continue
                name = next(name for name, load in loads.items() if load in done)
                try:
                    with _logged(name) as outcome:
                        answer = self._try_answer(name, loads[name], sitting, wanted, keep, visitor)
                        outcome.append("ok" if isinstance(answer, Classification) else type(answer).__name__)
                finally:
                    del loads[name]
                    self._pool.release(name)  # it may leave for those that wait for memory
                yield name, answer
        finally:
            for name in loads:
                self._pool.release(name)

    def _try_answer(
        self, name: str, load: "Future[Loaded]", sitting: "PreparedImage", top_k: int, keep: int, visitor: Client
    ) -> Answer:
        try:
            loaded = load.result()
            # on ZeroGPU visitors wait for a GPU each by himself, in the Hub's queue
            with nullcontext() if zerogpu.on_zerogpu() else self._turns.taken(visitor):
                if problem := self._pool.problem(name):  # it hangs since
                    return problem
                return self._answer(name, loaded, sitting, top_k, keep)
        except (ImageError, ClientDisconnected):
            raise
        except LineupError as error:
            return error
        except Exception as error:  # a network of somebody's own may raise anything; the others still answer
            if zerogpu.on_zerogpu():  # no quota, no GPU in time, or the worker that has it failed: its log says that
                return BusyError(name, "to be lent a GPU", brief(error), "try again later")
            _log.exception("%s cannot answer", name)
            return BackboneError(name, "an answer", brief(error), "see the log")

    def _answer(self, name: str, loaded: Loaded, sitting: "PreparedImage", top_k: int, keep: int) -> Classification:
        transform = loaded.plan.transform
        batch, preprocess = sitting.prepared(transform)
        own = batch.copy()  # a network may write into it
        (logits, ran), forward = timed(partial(self._in_time, name, own))  # (1, classes)
        milliseconds = StageTimings(sitting.decoded[1], preprocess, forward)
        answer = classification(name, loaded, ran, logits, top_k, keep, milliseconds)
        self._forwards[name].append(forward)
        return replace(answer, model_input_jpeg=jpeg(transform.as_image(batch)), min_side_px=sitting.min_side_px)

    def timing(self, name: str) -> LatencyStats | None:
        """Return how long a backbone's forward passes took in this process, or None before the first."""
        took = list(self._forwards[name])
        return LatencyStats(len(took), took[-1], statistics.median(took)) if took else None

    def _in_time(self, name: str, batch: np.ndarray) -> tuple[np.ndarray, str]:
        """Return logits and the engine's name, or raise what keeps them from coming in time."""
        if zerogpu.on_zerogpu():  # there each call has its own deadline, and must stay on the visitor's thread
            return self._on_gpu_worker(name, batch)
        return self._watch.run(name, partial(self._forward, name, batch))

    def _on_gpu_worker(self, name: str, batch: np.ndarray) -> tuple[np.ndarray, str]:
        """Compute where visitors pay with their quota: an example, or an image asked about again, costs it once."""
        key = name, hashlib.sha256(batch.tobytes()).digest()
        if not (found := self._gpu_answers.get(key)):
            found = self._gpu_answers[key] = self._forward(name, batch)
            if len(self._gpu_answers) > MAX_KEPT_ANSWERS:
                self._gpu_answers.pop(next(iter(self._gpu_answers)), None)
        return found

    def _gpu_duration_s(self, name: str, batch: np.ndarray) -> int:
        """Return for how long a GPU is asked for: it may first have to be given the weights of the whole line-up."""
        parameters = sum(status.parameters or 0 for status in self.backbones() if status.status == "ready")
        return GPU_START_S + math.ceil(parameters * 4 / GPU_BYTES_PER_S)

    def _run(self, name: str, batch: np.ndarray) -> tuple[np.ndarray, str]:
        engine = self._engines.get(name) or self._pool.get(name).engine  # by name: on ZeroGPU this is another process
        return engine(batch), engine.name

    def _start(self) -> None:
        try:
            if self._pool.start(self.config.default_name).exception() is None:  # waits
                self.opened.set()
            self.look()
            self._decide()
        except Exception:
            _log.exception("the start failed")
        finally:
            self.opened.set()
            self.probed.set()

    def _decide(self) -> None:
        if self.default_problem:
            self._fallback = self._first_that_runs() or self.config.default_name
        self.opened.set()

    def _first_that_runs(self) -> str | None:
        """Load entries in the config's order until one can run; the Hub was asked for each already."""
        for status in self.backbones():
            if status.status == "unavailable":
                continue
            if self._pool.start(status.name).exception() is None:
                return status.name
        return None


@contextmanager
def _logged(name: str) -> Iterator[list[str]]:
    """Write a line for one backbone's answer: its name, the milliseconds, and the outcome that the block appends."""
    started, outcome = time.perf_counter(), list[str]()
    try:
        yield outcome
    except Exception as error:
        outcome.append(type(error).__name__)
        raise
    finally:
        took = round((time.perf_counter() - started) * 1e3, 1)
        _requests.info(json.dumps({"backbone": name, "milliseconds": took, "outcome": (outcome or ["gone"])[0]}))


def _top_k(top_k: object, default: int) -> int:
    if top_k is None:
        return default
    if isinstance(top_k, float) and top_k.is_integer():  # JavaScript has no whole numbers
        top_k = int(top_k)
    if not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= MAX_TOP_K:
        told = repr(top_k)[:100]
        raise LineupError("top_k", f"a whole number from 1 to {MAX_TOP_K}", f"got {told}", "send another, or none")
    return top_k
