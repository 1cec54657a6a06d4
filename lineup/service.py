"""The facade: what page, command line and API all call. Whoever asks gets the same answer."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from lineup import examples, runtime
from lineup.config import Config
from lineup.errors import BackboneError, BusyError, LineupError, UnreachableError
from lineup.pictures import open_picture
from lineup.pool import Loaded, Pool
from lineup.results import BackboneStatus, Classification, Milliseconds, Prediction

_log = logging.getLogger(__name__)

Picture = str | os.PathLike[str]


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
        """Return what could not be checked, and which settings of the config do nothing yet."""
        wished = {"engine": self.config.engine == "openvino", "precision": self.config.precision == "bfloat16"}
        idle = [
            f"{self.config.where(key)}: not yet in force: torch in float32 runs" for key, on in wished.items() if on
        ]
        return self._found(lambda problem: isinstance(problem, UnreachableError)) + idle

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
        name = self.known(self.config.default_name if backbone is None else backbone)
        wanted = _top_k(top_k, self.config.top_k)
        loaded = self.pool.get(name)
        with self._in_turn():
            started = time.perf_counter()
            image = open_picture(picture, self.config.limits.max_megapixels)
            decoded = time.perf_counter()
            transform = loaded.backbone.plan.transform
            batch = transform(image)  # (1, 3, H, W)
            prepared = time.perf_counter()
            logits = self._forward(name, batch)  # (1, classes)
            done = time.perf_counter()
        milliseconds = Milliseconds(
            decode=(decoded - started) * 1e3, preprocess=(prepared - decoded) * 1e3, forward=(done - prepared) * 1e3
        )
        answer = _classification(name, loaded, logits, wanted, milliseconds)
        return replace(answer, seen=transform.seen(batch))

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

    def _run(self, name: str, batch: np.ndarray) -> np.ndarray:
        try:
            return self.pool.get(name).engine(batch)
        except RuntimeError as error:
            _log.exception("%s cannot answer", name)
            raise BackboneError(
                f"{name}: expected an answer; {' '.join(str(error).split())[:200]}; see the log"
            ) from error

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


def _top_k(top_k: object, default: int) -> int:
    if top_k is None:
        return default
    if isinstance(top_k, float) and top_k.is_integer():  # JavaScript has no whole numbers
        top_k = int(top_k)
    if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
        raise LineupError(f"top_k: expected a whole number from 1; got {top_k!r}")
    return top_k


def _classification(
    name: str, loaded: Loaded, logits: np.ndarray, top_k: int, milliseconds: Milliseconds
) -> Classification:
    plan = loaded.backbone.plan
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
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    return Classification(
        backbone=name,
        predictions=tuple(
            Prediction(int(i), labels[i].id, names[i], float(probabilities[i]), labels[i].description) for i in order
        ),
        input_size=plan.transform.input_size,
        engine=loaded.engine.name,
        device=loaded.device,
        milliseconds=milliseconds,
        label_set=plan.labels.origin,
        license=plan.license,
        notes=notes,
    )


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits ``(N, classes)`` into probabilities that sum to 1 in each row."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return raised / raised.sum(axis=1, keepdims=True)
