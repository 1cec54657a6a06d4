"""A backbone for features that compute batches of images, such as an evaluation or a linear probe."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lineup.config import Config
from lineup.errors import ImageError, LineupError
from lineup.images.image_bytes import ImageSource
from lineup.inference import answer_store, remote_calls
from lineup.inference.execution import Execution, Output
from lineup.inference.postprocessing import checked
from lineup.inference.preprocessing import batch_of, decode_side_px
from lineup.inference.queue import PAGE, Cancelled, ComputeQueue, never_cancelled

if TYPE_CHECKING:
    from lineup.registry import Plan
    from lineup.registry.plan import OutputKind

_LATENCY_RUNS = 5


class PinnedBackbone:
    """A loaded backbone that is not evicted before `release` is called.

    The constructor waits for the load, and for the conversion to the preferred engine: create it outside a turn of the
    queue, and compute within one.

    Args:
        execution: where it computes.
        config: returns the current config, for its limits.
        name: name of an entry.
        output: what to compute: logits of classes, or features.
        cancelled: the cancel flag of the request that waits for the load.

    Raises:
        LineupError: when it cannot be loaded, or the request is cancelled.
    """

    def __init__(
        self,
        execution: Execution,
        config: Callable[[], Config],
        name: str,
        output: "OutputKind",
        cancelled: Cancelled = never_cancelled,
    ) -> None:
        self._execution, self._config, self.name = execution, config, name
        self._pin = execution.pool.pin(name, output)
        try:
            self._loaded = self._pin.settled(cancelled)
        except BaseException:
            self._pin.release()
            raise

    @property
    def plan(self) -> "Plan":
        """The plan, whose `output` is as requested."""
        return self._loaded.plan

    @property
    def path(self) -> Path | None:
        """The weights file; None if the weights are random."""
        return self._loaded.path

    @property
    def download_bytes(self) -> int | None:
        """The size of the download; None if it is unknown, or there is none."""
        return self._execution.pool.status(self.name).download_bytes

    @property
    def weights_bytes(self) -> int | None:
        """The size of the weights file; None if there is none."""
        return self.path.stat().st_size if self.path and self.path.is_file() else None

    @property
    def engine(self) -> str:
        """The name of the engine and its precision: ``openvino bf16``."""
        return f"{self._loaded.engine.name} {self._loaded.engine.hint}".rstrip()

    @property
    def fingerprint(self) -> str:
        """Identify everything that decides the outputs, as the key of the answer store; empty if it is unknown."""
        loaded, min_side_px = self._loaded, decode_side_px(self.plan.transform)
        if loaded.remote:
            return loaded.remote.fingerprint
        return answer_store.fingerprint(loaded.plan, loaded.path, loaded.engine, loaded.device, min_side_px)

    @property
    def concurrency(self) -> int:
        """How many images another process computes for it at the same time; 0 if it is computed here."""
        return self._loaded.remote.concurrency if self._loaded.remote else 0

    @property
    def min_batch(self) -> int:
        """How many images to compute at once at least: more than 1 where each forward pass starts slowly."""
        return self._execution.min_batch(self.name, self._loaded.engine)

    def outputs(self, images: Sequence[ImageSource]) -> np.ndarray:
        """Return the logits ``(N, classes)`` or features ``(N, embedding_dim)`` of image files, as float32.

        They are one batch: N bounds the memory, and how long requests wait. All come from the same engine. Images of
        a remote backbone are sent one by one.

        Raises:
            ImageError: when an image cannot be read.
            BackboneError: when the forward pass fails or times out, or its outputs are not finite.
        """
        if self._loaded.remote:
            return np.concatenate([self.output(image, nullcontext).logits for image in images])
        return self.forward(batch_of(images, self.plan.transform, self._config().limits)).logits

    def prepared(self, image: ImageSource) -> np.ndarray:
        """Return an image file as the input of the backbone, ``(1, C, H, W)`` float32; thread-safe, and needs no turn.

        Raises:
            ImageError: when it cannot be read.
        """
        return batch_of([image], self.plan.transform, self._config().limits)

    def forward(self, batch: np.ndarray) -> Output:
        """Return the logits or features of a batch ``(N, C, H, W)`` float32, and the latency.

        Raises:
            BackboneError: as `outputs` does.
            BusyError: when there is no GPU of ZeroGPU.
        """
        loaded = self._loaded
        if len(batch) > 1:
            self._pin.reserve_batches(loaded)
        try:
            output = self._execution.forward(self.name, loaded.engine, batch)
        except LineupError:
            raise
        except Exception as error:
            raise self._execution.failure(self.name, error) from error
        checked(loaded.plan, output.logits, len(batch))
        return output

    def output(
        self,
        image: ImageSource,
        turn: Callable[[], AbstractContextManager[None]],
        cancelled: Cancelled = never_cancelled,
        client: str = PAGE,
    ) -> Output:
        """Return the logits or features of one image ``(1, outputs)``, and the latency.

        Args:
            image: path of an image file, or its content.
            turn: waits until a batch may be computed here; a remote backbone has a queue of its own instead.
            cancelled: the request's cancel flag.
            client: the kind of clients that the request is from.

        Raises:
            ImageError: when the image cannot be read.
            LineupError: as `forward` does, and when a remote backbone cannot answer.
        """
        if self._loaded.remote:
            turn_there = partial(ComputeQueue.turn, cancelled=cancelled, client=client, is_alone=False)
            return self._remote_output(image, turn_there, cancelled)
        batch = self.prepared(image)
        with turn():
            return self.forward(batch)

    def background_output(self, image: ImageSource, cancelled: Cancelled) -> Output:
        """Return what another process computes for an image of a job, once no request waits for a place there."""
        turn = partial(ComputeQueue.background_turn, cancelled=cancelled, is_alone=False)
        return self._remote_output(image, turn, cancelled)

    def _remote_output(self, image: ImageSource, turn: remote_calls.Turn, cancelled: Cancelled) -> Output:
        parts = self._pin, self._loaded, image, self._config().limits
        try:
            found = remote_calls.output(*parts, turn, cancelled)
        except LineupError:
            raise
        except Exception as error:
            raise self._execution.failure(self.name, error) from error
        return Output(checked(self.plan, found.logits, 1), found.engine, found.milliseconds.forward)

    def latency_ms(
        self,
        images: Iterable[ImageSource],
        turn: Callable[[], AbstractContextManager[None]],
        cancelled: Cancelled = never_cancelled,
    ) -> float | None:
        """Return the median latency of a forward pass with the first image that can be read, after one to warm up."""
        for image in images:
            try:
                compute = self._latencies(image, turn, cancelled)
                latencies_ms = [compute() for _ in range(1 + _LATENCY_RUNS)]
            except ImageError:
                continue
            return statistics.median(latencies_ms[1:])
        return None

    def _latencies(
        self, image: ImageSource, turn: Callable[[], AbstractContextManager[None]], cancelled: Cancelled
    ) -> Callable[[], float]:
        """Return a function that computes an image in the background, and returns the latency."""
        if self._loaded.remote:
            return lambda: self.background_output(image, cancelled).forward_ms
        batch = self.prepared(image)

        def latency_ms() -> float:
            with turn():
                return self.forward(batch).forward_ms

        return latency_ms

    def release(self) -> None:
        """Allow the eviction of the backbone; to be called once."""
        self._pin.release()

    def __enter__(self) -> "PinnedBackbone":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
