"""Classifies one image with several backbones, each as soon as it is loaded."""

import json
import logging
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from lineup.config import Config
from lineup.errors import ClientDisconnected, ImageError, LineupError, UnknownBackboneError
from lineup.images.image_bytes import ImageSource
from lineup.inference import answer_store, remote_calls
from lineup.inference.backbone_state import Loaded
from lineup.inference.batch_graphs import BatchGraphs
from lineup.inference.execution import Execution, Output
from lineup.inference.lanes import Lanes
from lineup.inference.pool import Pin
from lineup.inference.postprocessing import AnswerOptions, classifications
from lineup.inference.preprocessing import PreparedImage, decode_side_px, jpeg
from lineup.inference.queue import Cancelled, ComputeQueue
from lineup.results import Answer, Classification, LatencyStats, StageTimings

if TYPE_CHECKING:
    from lineup.registry import Plan

_requests = logging.getLogger("lineup.requests")

MAX_LATENCIES = 101  # forward passes per backbone of which the latency is kept
_POLL_S = 1.0  # how often a request that waits for a download checks its cancel flag


class Classifier:
    """Classifies images with the backbones of an execution. Thread-safe.

    Args:
        execution: where the backbones compute.
        config: returns the current config, for its limits.
    """

    def __init__(self, execution: Execution, config: Callable[[], Config]) -> None:
        self._execution, self._pool, self._config = execution, execution.pool, config
        self._graphs = BatchGraphs(self._pool)
        self._forward_ms = defaultdict[str, deque[float]](lambda: deque(maxlen=MAX_LATENCIES))
        self._fingerprints = dict[tuple[str, str], Callable[[], str]]()  # by backbone and engine; none keeps a network

    def latency(self, name: str) -> LatencyStats | None:
        """Return the latency of a backbone's last forward passes, or None before the first."""
        forward_ms = list(self._forward_ms[name])
        if not forward_ms:
            return None
        return LatencyStats(len(forward_ms), forward_ms[-1], statistics.median(forward_ms))

    def fingerprint(self, answer: Classification) -> str:
        """Return the fingerprint of the backbone that has given an answer, as `PinnedBackbone` has it.

        It may read the weights file. It is empty if nothing identifies the backbone, or another process has answered.
        """
        compute = self._fingerprints.get((answer.backbone, answer.engine))
        return compute() if compute else ""

    def answers(
        self, image: ImageSource, names: Sequence[str], options: AnswerOptions, cancelled: Cancelled
    ) -> Iterator[tuple[str, Answer]]:
        """Yield the answer of each backbone as soon as it is there; loaded ones do not wait for a download.

        The image is decoded once. An error of one backbone is its answer.

        Args:
            image: path of an image file, or its content.
            names: names of entries.
            options: what the answers have.
            cancelled: the request's cancel flag.

        Raises:
            ImageError: when the image cannot be read.
            ClientDisconnected: when the request is cancelled.
        """
        prepared = PreparedImage(image, self._config().limits, partial(self._plans, names))
        prepared.check()
        pins, lanes = dict[str, Pin](), Lanes(cancelled)
        try:
            for name in names:
                pins[name] = self._pool.pin(name)
            while pins:
                steps: dict[str, Future[Any]] = {name: lanes.running.get(name, pin.load) for name, pin in pins.items()}
                done, _ = wait(steps.values(), _POLL_S, return_when=FIRST_COMPLETED)
                if cancelled():
                    raise ClientDisconnected
                if not done and not lanes.running:
                    prepared.release()  # a download may take minutes
                ready = [name for name, step in steps.items() if step in done]
                call = partial(self._answer_or_error, prepared=prepared, options=options, cancelled=lanes.cancelled)
                if begun := lanes.begin({name: pins[name] for name in ready}, call, len(pins)):
                    ready = [name for name in ready if name not in begun]
                for name in ready[:1]:
                    pin = pins[name]
                    try:
                        answer = lanes.running.pop(name).result() if name in lanes.running else call(name, pin)
                    finally:
                        del pins[name]
                        pin.release()  # another load may need the memory
                    yield name, answer
        finally:
            lanes.end(pins)

    def _plans(self, names: Sequence[str]) -> "list[Plan | None]":
        """Return the plans of the backbones that can answer here; None for one that is unknown yet."""
        plans: list[Plan | None] = []
        for name in names:
            try:
                if not self._pool.problem(name):
                    plans.append(self._pool.plan(name))
            except UnknownBackboneError:  # removed while its request waited, which is answered nevertheless
                plans.append(None)
        return [plan for plan in plans if not (plan and plan.remote)]

    def _answer_or_error(
        self, name: str, pin: Pin, prepared: PreparedImage, options: AnswerOptions, cancelled: Cancelled
    ) -> Answer:
        with _logged(name) as outcome:
            answer = self._try(name, pin, prepared, options, cancelled)
            outcome.append("ok" if isinstance(answer, Classification) else type(answer).__name__)
            return answer

    def _try(
        self, name: str, pin: Pin, prepared: PreparedImage, options: AnswerOptions, cancelled: Cancelled
    ) -> Answer:
        try:
            loaded = pin.load.result()
            if loaded.remote:
                return self._remote_answer(name, pin, loaded, prepared, options, cancelled)
            prepare, is_alone = partial(prepared.batch_for, loaded.plan.transform), not loaded.engine.is_concurrent
            with self._execution.turn(cancelled, prepared.release, options.client, prepare, is_alone):
                if problem := pin.problem():  # a forward pass has timed out meanwhile
                    return problem
                if self._execution.has_waiting:  # they need not wait for one another, once there is a graph for it
                    self._graphs.prepare(name, loaded)
                return self.answer(name, loaded, prepared, options)
        except (ImageError, ClientDisconnected):
            raise
        except LineupError as error:
            return error
        except Exception as error:  # a user's own network may raise anything; the others still answer
            return self._execution.failure(name, error)

    def _remote_answer(
        self,
        name: str,
        pin: Pin,
        loaded: Loaded,
        prepared: PreparedImage,
        options: AnswerOptions,
        cancelled: Cancelled,
    ) -> Classification:
        """Return the answer of a backbone that another process computes."""
        turn = partial(ComputeQueue.turn, cancelled=cancelled, client=options.client, is_alone=False)
        parts = pin, loaded, prepared.image, self._config().limits
        found = remote_calls.output(*parts, turn, cancelled, options.model_input)
        output = Output(found.logits, found.engine, found.milliseconds.forward)
        [answer] = classifications(replace(loaded, device=found.device), output, 1, options, found.milliseconds)
        remote = loaded.remote
        self._fingerprints[name, output.engine] = lambda: remote.fingerprint if remote else ""
        self._forward_ms[name].append(output.forward_ms)
        return replace(
            answer,
            notes=(*found.notes, *answer.notes),
            model_input_jpeg=found.model_input_jpeg,
            min_side_px=found.min_side_px,
        )

    def answer(self, name: str, loaded: Loaded, prepared: PreparedImage, options: AnswerOptions) -> Classification:
        """Return the answer of one loaded backbone."""
        transform = loaded.plan.transform
        batch, preprocess_ms = prepared.batch_for(transform)
        # a network may write into its input, and other backbones share the batch
        output = self._execution.forward(name, loaded.engine, batch.copy())
        timings = StageTimings(prepared.decode_ms, preprocess_ms, output.forward_ms)
        [answer] = classifications(loaded, output, len(batch), options, timings)
        engine = answer_store.EngineName(loaded.engine.name, loaded.engine.hint)
        parts = loaded.plan, loaded.path, engine, loaded.device, decode_side_px(transform)
        self._fingerprints[name, output.engine] = partial(answer_store.fingerprint, *parts)
        if not output.cached:
            self._forward_ms[name].append(output.forward_ms)
        seen = transform.as_image(batch) if options.model_input else None
        return replace(
            answer,
            notes=(*prepared.notes, *answer.notes),
            model_input_jpeg=jpeg(seen) if seen else b"",
            min_side_px=prepared.min_side_px,
        )


@contextmanager
def _logged(name: str) -> Iterator[list[str]]:
    """Log one line for a backbone's answer: name, milliseconds, and the outcome that the block appends."""
    started, outcome = time.perf_counter(), list[str]()
    try:
        yield outcome
    except Exception as error:
        outcome.append(type(error).__name__)
        raise
    finally:
        milliseconds = round((time.perf_counter() - started) * 1e3, 1)
        outcomes = outcome or ["disconnected"]
        _requests.info(json.dumps({"backbone": name, "milliseconds": milliseconds, "outcome": outcomes[0]}))
