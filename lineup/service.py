"""The facade: what page, command line and API all call. Whoever asks gets the same answer."""

import logging
import os
import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from lineup import examples, runtime
from lineup.compare import Agreement, Voice, agreement
from lineup.config import Config
from lineup.engine import softmax
from lineup.errors import BackboneError, BusyError, LineupError, PictureError, UnreachableError
from lineup.pictures import open_picture
from lineup.pool import Loaded, Pool
from lineup.results import BackboneStatus, Classification, Milliseconds, Prediction, Timing

if TYPE_CHECKING:
    from lineup.registry import Plan, Transform

_log = logging.getLogger(__name__)

DECODED = 2  # times the pixels that a transform resizes to: enough for it to lose nothing that matters

T = TypeVar("T")
Picture = str | os.PathLike[str]
Answer = Classification | LineupError  # one that cannot answer says why


@dataclass(frozen=True)
class Comparison:
    """Several backbones' answers on one picture, in the order asked, and how far they agree."""

    answers: Mapping[str, Answer]
    agreement: Agreement

    def to_json(self) -> dict[str, Any]:
        """Return what the API's contract promises."""
        results = [
            answer.to_json() if isinstance(answer, Classification) else {"backbone": name, "error": str(answer)}
            for name, answer in self.answers.items()
        ]
        return {"results": results, "agreement": self.agreement.to_json()}


class Service:
    """Classifies pictures with the line-up of one config.

    Nothing heavy happens before `start`. Methods may be called from any thread.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.pool = Pool(config)
        self.examples, self.example_problems = examples.find(config)
        self.started = threading.Event()  # it is decided what the page opens with
        self.looked = threading.Event()  # all that can be known of every entry is known
        self._stand_in = config.default_name  # what the page opens with while the default cannot run
        # One answer is computed at a time: a network uses all cores, a second would only slow both.
        self._turn, self._counting, self._waiting = threading.Lock(), threading.Lock(), 0
        # how long forward passes took, in milliseconds; old ones are forgotten
        self._forwards: dict[str, deque[float]] = {name: deque(maxlen=101) for name in self.pool.names}
        self._forward = runtime.on_lent_gpu(self._run)

    def start(self) -> None:
        """Get ready to answer: at once on ZeroGPU, in the background everywhere else."""
        for text in (*self.example_problems, *self.notes()):
            _log.warning("%s", text)
        if runtime.on_zerogpu():
            for name in self.pool.names:
                self.pool.load_here(name)
            self._decide()
            self.looked.set()
        else:
            threading.Thread(target=self._start, name="start", daemon=True).start()

    @property
    def preselected(self) -> str:
        """Return the entry the page opens with: the default, or the first that can run in its stead."""
        return self._stand_in if self.default_problem else self.config.default_name

    @property
    def default_problem(self) -> str:
        """Return why the config's default entry cannot run, or nothing."""
        return self.pool.status(self.config.default_name).reason

    def backbones(self) -> list[BackboneStatus]:
        """Return what is known of each entry now, in the config's order."""
        return [self.pool.status(name) for name in self.pool.names]

    def look(self, offline: bool = False) -> list[BackboneStatus]:
        """Find out what can be known of each entry without loading it, and return it."""
        for name in self.pool.names:
            self.pool.look(name, offline)
        return self.backbones()

    def problems(self) -> list[str]:
        """Return what is wrong with entries and examples, each with its place in the config."""
        return self._found(lambda problem: not isinstance(problem, UnreachableError)) + self.example_problems

    def notes(self) -> list[str]:
        """Return what could not be checked because nobody answered."""
        return self._found(lambda problem: isinstance(problem, UnreachableError))

    def _found(self, wanted: Callable[[LineupError], bool]) -> list[str]:
        found = [(index, self.pool.problem(name)) for index, name in enumerate(self.pool.names)]
        return [
            f"{self.config.where('backbones', index)}: {problem}"
            for index, problem in found
            if problem and wanted(problem)
        ]

    def known(self, name: object) -> str:
        """Return the name of an entry if it is one; the page and the API may be sent anything."""
        if not isinstance(name, str):
            raise BackboneError(f"backbone: expected one name of the line-up; got {name!r}")
        self.pool.status(name)
        return name

    def example_path(self, index: int) -> str:
        """Return the file of an example, fetching it first if it lies elsewhere."""
        return examples.fetch(self.examples[index], self.config.limits)

    def classify(self, picture: Picture, backbone: str | None = None, top_k: int | None = None) -> Classification:
        """Classify a picture.

        Args:
            picture: path of a picture file.
            backbone: name of an entry; the config's default if left out. Never another one's answer.
            top_k: how many classes to return, most probable first; the config's if left out.

        Raises:
            PictureError: when the file is not a picture that can be read.
            BackboneError: when there is no such entry, or it cannot run.
            BusyError: when too many are waiting already.
        """
        ((_, answer),) = self.answers(picture, [self.config.default_name if backbone is None else backbone], top_k)
        if isinstance(answer, LineupError):
            raise answer
        return answer

    def compare(self, picture: Picture, backbones: object = None, top_k: int | None = None) -> Comparison:
        """Classify a picture with several backbones, and say how far they agree.

        Args:
            picture: path of a picture file.
            backbones: names of entries, each once; all that are ready if left out, as many as may be compared.
            top_k: as for `classify`.

        Raises:
            LineupError: as `classify` does, but a backbone that cannot run is a result beside the others.
        """
        names = self.comparable(self._offered() if backbones is None else backbones)
        return self.comparison(names, dict(self.answers(picture, names, top_k)))

    def comparable(self, names: object) -> list[str]:
        """Return the names of a comparison if they are some, each once, and no more than may be compared."""
        if not isinstance(names, list | tuple) or not names:
            raise BackboneError(f"backbones: expected a list of one name or more; got {names!r}; /backbones has them")
        known, most = [self.known(name) for name in names], self.config.limits.max_compared
        if repeated := [name for name, count in Counter(known).items() if count > 1]:
            raise BackboneError(f"backbones: expected each name once; got {repeated[0]!r} again; leave one out")
        if len(known) > most:
            raise BackboneError(f"backbones: expected at most {most} at once; got {len(known)}; leave some out")
        return known

    def comparison(self, names: Sequence[str], found: Mapping[str, Answer]) -> Comparison:
        """Put answers in the order of `names`, and say how far they agree; some may still be missing."""
        ordered = {name: found[name] for name in names if name in found}
        voices = [
            Voice(answer, plan.labels)
            for name, answer in ordered.items()
            if isinstance(answer, Classification) and (plan := self.pool.plan(name))
        ]
        failed = [name for name, answer in ordered.items() if isinstance(answer, LineupError)]
        return Comparison(ordered, agreement(voices, failed))

    def answers(
        self, picture: Picture, backbones: Sequence[object], top_k: int | None = None, keep: int = 0
    ) -> Iterator[tuple[str, Answer]]:
        """Answer with each backbone as soon as it is there: loaded ones do not wait for a download.

        The picture is decoded once. What keeps one backbone from answering is its answer. An answer
        has `top_k` classes, or `keep` if that is more.

        Raises:
            LineupError: when the picture cannot be read, a name is unknown, or `top_k` is no count.
        """
        wanted, names = _top_k(top_k, self.config.top_k), [self.known(name) for name in backbones]
        sitting = _Sitting(picture, self.config.limits.max_megapixels, lambda: [*map(self.pool.plan, names)])
        loads = {name: self.pool.hold(name) for name in names}
        try:
            while loads:
                wait(loads.values(), return_when=FIRST_COMPLETED)
                name = next(name for name, load in loads.items() if load.done())
                try:
                    answer = self._try_answer(name, loads[name], sitting, wanted, keep)
                finally:
                    del loads[name]
                    self.pool.release(name)  # it may leave for those that wait for memory
                yield name, answer
        finally:
            for name in loads:
                self.pool.release(name)

    def _try_answer(self, name: str, load: "Future[Loaded]", sitting: "_Sitting", top_k: int, keep: int) -> Answer:
        try:
            loaded = load.result()
            with self._in_turn():
                return self._answer(name, loaded, sitting, top_k, keep)
        except PictureError:
            raise
        except LineupError as error:
            return error
        except Exception as error:  # a network of somebody's own may raise anything; the others still answer
            _log.exception("%s cannot answer", name)
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            return BackboneError(f"{name}: expected an answer; {reason}; see the log")

    def _answer(self, name: str, loaded: Loaded, sitting: "_Sitting", top_k: int, keep: int) -> Classification:
        transform = loaded.plan.transform
        batch, preprocess = sitting.prepared(transform)
        own = batch.copy()  # a network may write into it
        (logits, ran), forward = _timed(lambda: self._forward(name, own))  # (1, classes)
        milliseconds = Milliseconds(sitting.decoded[1], preprocess, forward)
        answer = _classification(name, loaded, ran, logits, top_k, keep, milliseconds)
        self._forwards[name].append(forward)
        return replace(answer, seen=transform.seen(batch), enough_px=sitting.enough_px)

    def timing(self, name: str) -> Timing | None:
        """Return how long a backbone's forward passes took in this process, or None before the first."""
        took = list(self._forwards[name])
        return Timing(len(took), took[-1], statistics.median(took)) if took else None

    def _offered(self) -> list[str]:
        """Return what is compared when nobody says: what is ready, or else what may become it."""
        for wanted in ("ready",), ("loading", "idle"), ("unavailable",):
            if found := [each.name for each in self.backbones() if each.status in wanted]:
                return found[: self.config.limits.max_compared]
        return []

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """Wait until nothing else is computed; refuse to wait behind too many."""
        with self._counting:
            if self._waiting >= self.config.limits.queue_size:
                raise BusyError(f"busy: {self._waiting} visitors are waiting already; try again in some seconds")
            self._waiting += 1
        try:
            with self._turn:
                yield
        finally:
            with self._counting:
                self._waiting -= 1

    def _run(self, name: str, batch: np.ndarray) -> tuple[np.ndarray, str]:
        engine = self.pool.get(name).engine  # by name: on ZeroGPU this is another process
        return engine(batch), engine.name

    def _start(self) -> None:
        try:
            if self.pool.start(self.config.default_name).exception() is None:  # waits
                self.started.set()
            self.look()
            self._decide()
        except Exception:
            _log.exception("the start failed")
        finally:
            self.started.set()
            self.looked.set()

    def _decide(self) -> None:
        if self.default_problem:
            self._stand_in = self._first_that_runs() or self.config.default_name
        self.started.set()

    def _first_that_runs(self) -> str | None:
        """Load entries in the config's order until one can run; the Hub was asked for each already."""
        for status in self.backbones():
            if status.status == "unavailable":
                continue
            if self.pool.start(status.name).exception() is None:
                return status.name
        return None


class _Sitting:
    """A picture before several backbones: decoded once, and prepared once for those who prepare it alike."""

    def __init__(self, picture: Picture, max_megapixels: int, plans: Callable[[], Sequence["Plan | None"]]) -> None:
        self._picture, self._max_megapixels, self._plans = picture, max_megapixels, plans
        self._batches: dict[object, tuple[np.ndarray, float]] = {}

    @cached_property
    def enough_px(self) -> int:
        """Return how many pixels of the shorter side are enough for all; 0 while one's transform is unknown."""
        asked = [plan.transform.resized_px if plan else 0 for plan in self._plans()]
        return DECODED * max(asked) if all(asked) else 0

    @cached_property
    def decoded(self) -> tuple[Image.Image, float]:
        """Return the picture, and the milliseconds that it took to decode."""
        return _timed(partial(open_picture, self._picture, self._max_megapixels, self.enough_px))

    def prepared(self, transform: "Transform") -> tuple[np.ndarray, float]:
        """Return the batch ``(1, 3, H, W)`` of a transform, and the milliseconds that it took to make."""
        if transform.key not in self._batches:
            self._batches[transform.key] = _timed(partial(transform, self.decoded[0]))
        return self._batches[transform.key]


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and the milliseconds it took."""
    started = time.perf_counter()
    value = call()
    return value, (time.perf_counter() - started) * 1e3


def _top_k(top_k: object, default: int) -> int:
    if top_k is None:
        return default
    if isinstance(top_k, float) and top_k.is_integer():  # JavaScript has no whole numbers
        top_k = int(top_k)
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise LineupError(f"top_k: expected a whole number from 1; got {top_k!r}")
    return top_k


def _classification(
    name: str, loaded: Loaded, ran: str, logits: np.ndarray, top_k: int, keep: int, milliseconds: Milliseconds
) -> Classification:
    plan = loaded.plan
    labels, names = plan.labels.labels, plan.labels.display_names
    if logits.shape != (1, len(labels)):
        raise BackboneError(f"{name}: expected {len(labels)} numbers for a picture; got shape {logits.shape}")
    if not np.isfinite(logits).all():
        raise BackboneError(
            f"{name}: expected finite numbers; got NaN or infinity; its weights are damaged: fetch them anew"
        )
    probabilities = softmax(logits)[0]  # (classes,)
    notes = plan.notes
    if not plan.labels.named:
        notes += ("the classes of these weights have no names here, only numbers",)
    if top_k > len(labels):
        notes += (f"top_k {top_k} is more than there are classes: all {len(labels)} are listed",)
    order = np.argsort(-probabilities, kind="stable")
    first, second = probabilities[order[0]], probabilities[order[1]] if len(order) > 1 else 0.0
    return Classification(
        backbone=name,
        predictions=tuple(
            Prediction(int(i), labels[i].id, names[i], float(probabilities[i]), labels[i].description)
            for i in order[: max(top_k, keep)]
        ),
        input_size=plan.transform.input_size,
        engine=ran,
        device=loaded.device,
        milliseconds=milliseconds,
        label_set=plan.labels.origin,
        license=plan.license,
        margin=float(first - second),
        notes=notes,
    )
