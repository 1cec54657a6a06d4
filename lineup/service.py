"""The facade: what page, command line and API all call. Whoever asks gets the same answer."""

import logging
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from lineup import examples, runtime
from lineup.config import Config
from lineup.errors import BackboneError, BusyError, LineupError
from lineup.examples import Example
from lineup.pictures import open_picture
from lineup.pool import Loaded, Pool
from lineup.results import BackboneStatus, Classification, Milliseconds, Prediction, Progress

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
        self.started = threading.Event()  # set when the start is over, whatever came of it
        self._preselected = config.default_name
        # One answer is computed at a time: a network uses all cores, a second would only slow both.
        self._turn = threading.BoundedSemaphore(1)
        self._waiting = 0
        self._waiting_lock = threading.Lock()
        self._forward = runtime.on_lent_gpu(self._run)

    def start(self) -> None:
        """Get ready to answer: at once on ZeroGPU, in the background everywhere else."""
        for problem in self.example_problems:
            _log.warning("%s", problem)
        if runtime.on_zerogpu():
            for name in self.pool.names:
                self.pool.load_here(name)
            self._finish_start()
        else:
            threading.Thread(target=self._start, name="start", daemon=True).start()

    @property
    def preselected(self) -> str:
        """Return the entry the page opens with: the default, or the first that can run in its stead."""
        return self._preselected

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
        bad = [
            f"{self.config.where('backbones', index)}: {status.reason}"
            for index, status in enumerate(self.backbones())
            if status.status == "unavailable"
        ]
        return bad + self.example_problems

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
        name, wanted = _name(backbone, self.config.default_name), _top_k(top_k, self.config.top_k)
        loaded = self.pool.get(name)
        with _Waiting(self):
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

    def _run(self, name: str, batch: np.ndarray) -> np.ndarray:
        return self.pool.get(name).engine(batch)

    def _start(self) -> None:
        try:
            default = self.config.default_name
            load = self.pool.start(default)
            load.exception()  # waits
            if load.exception() is None:
                self._finish_start()
            self.look()
            if load.exception() is not None:
                self._preselected = self._first_that_runs() or default
        except Exception:
            _log.exception("the start failed")
        finally:
            self._finish_start()

    def _finish_start(self) -> None:
        if runtime.on_zerogpu() and self.default_problem:
            self._preselected = self._first_that_runs() or self.config.default_name
        self.started.set()

    def _first_that_runs(self) -> str | None:
        """Load entries in the config's order until one can run; the Hub was asked for each already."""
        for status in self.backbones():
            if status.status == "unavailable":
                continue
            if self.pool.start(status.name).exception() is None:
                return status.name
        return None


class _Waiting:
    """Lets one answer be computed at a time, and a bounded number wait for their turn."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def __enter__(self) -> None:
        service = self._service
        with service._waiting_lock:
            if service._waiting >= service.config.limits.queue_size:
                raise BusyError(f"busy: {service._waiting} visitors are waiting already; try again in some seconds")
            service._waiting += 1
        service._turn.acquire()

    def __exit__(self, *_: object) -> None:
        service = self._service
        service._turn.release()
        with service._waiting_lock:
            service._waiting -= 1


def _name(backbone: object, default: str) -> str:
    if backbone is None:
        return default
    if not isinstance(backbone, str):
        raise BackboneError(f"backbone: expected one name of the line-up; got {backbone!r}")
    return backbone


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
    if logits.shape != (1, len(labels)) or not np.isfinite(logits).all():
        raise BackboneError(
            f"{name}: expected {len(labels)} finite numbers for a picture; got shape {logits.shape}; "
            "its weights or its preprocessing are wrong"
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
            Prediction(
                class_index=int(index),
                id=labels[index].id,
                label=names[index],
                probability=float(probabilities[index]),
                description=labels[index].description,
            )
            for index in order
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
