"""Computes the outputs of many images: the next ones are decoded in threads while a batch is computed."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice

import numpy as np

from lineup.engines import devices
from lineup.errors import ImageError
from lineup.images.image_bytes import ImageSource
from lineup.inference.execution import Output
from lineup.inference.pinned_backbone import PinnedBackbone
from lineup.inference.queue import Cancelled, never_cancelled

MAX_BATCH = 256
BATCH_BYTES = 48 << 20  # of the inputs in a batch; as many again are decoded meanwhile
AHEAD = 2  # times as many images are sent to another process as it computes at the same time
GROWTH = 4  # of a batch, over the last one
NICENESS = 10  # of decoding threads: requests, and the forward pass of the batch, come first


@dataclass(frozen=True)
class Batch:
    """The outputs of consecutive images.

    Attributes:
        start: the index of the first image.
        outputs: logits or features ``(N, outputs)`` float32; NaN for an image that cannot be read.
        problems: the errors of these images, by index in the batch.
        forward_ms: latency of the forward pass of the whole batch, in milliseconds.
    """

    start: int
    outputs: np.ndarray
    problems: dict[int, ImageError]
    forward_ms: float


def compute(
    backbone: PinnedBackbone,
    images: Sequence[ImageSource],
    turn: Callable[[], AbstractContextManager[None]],
    slice_s: float,
    cancelled: Cancelled = never_cancelled,
) -> Iterator[Batch]:
    """Yield the outputs of image files in their order, in batches.

    At most two batches of decoded images are in memory. On a CPU, decoding and computing share the cores: p images per
    second decoded and o computed give at most 1 / (1/p + 1/o). A backbone that another process computes takes no turn:
    as many images are sent to it as it computes at the same time.

    Args:
        backbone: computes them.
        images: paths of the files.
        turn: waits until a batch may be computed, and blocks requests meanwhile; raises ClientDisconnected.
        slice_s: how long a batch may take: the number of its images is adjusted to it.
        cancelled: the job's cancel flag.

    Raises:
        BackboneError: when a forward pass fails.
        ClientDisconnected: when the job is cancelled.
    """
    if backbone.concurrency:
        yield from _compute_elsewhere(backbone, images, cancelled)
        return
    least = backbone.min_batch
    ahead, slots = deque[Future[ImageError | None]](), _Slots(least)
    size, start = least, 0
    with decoding_threads() as threads:
        waiting = enumerate(images)

        def decode(count: int) -> None:
            some = islice(waiting, max(0, count))
            ahead.extend(threads.submit(slots.fill, backbone, index, image) for index, image in some)

        decode(1)
        try:
            while ahead:
                ahead[0].result()  # the capacity is known
                decode(min(size, slots.capacity) - len(ahead))
                count = min(size, len(ahead), slots.until_end(start))
                found = [ahead.popleft().result() for _ in range(count)]
                decode(min(GROWTH * size, slots.capacity) - len(ahead))
                with turn():
                    batch = _forward(backbone, start, slots, found)
                yield batch
                start += count
                if batch.forward_ms:
                    fitting = int(slice_s * 1e3 * (count - len(batch.problems)) / batch.forward_ms)
                    size = min(max(least, min(fitting, GROWTH * size)), slots.capacity)
        finally:
            for future in ahead:
                future.cancel()


def _compute_elsewhere(
    backbone: PinnedBackbone, images: Sequence[ImageSource], cancelled: Cancelled
) -> Iterator[Batch]:
    ended, waiting, ahead, start = threading.Event(), iter(images), deque[Future[Output | ImageError]](), 0

    def output(image: ImageSource) -> Output | ImageError:
        try:
            return backbone.background_output(image, lambda: ended.is_set() or cancelled())
        except ImageError as error:
            return error

    with ThreadPoolExecutor(MAX_BATCH, "remote") as threads:
        try:
            while True:
                # twice as many: those behind a slow one are done when it is
                count = min(AHEAD * backbone.concurrency, MAX_BATCH) - len(ahead)
                ahead.extend(threads.submit(output, image) for image in islice(waiting, max(0, count)))
                if not ahead:
                    return
                found = [ahead.popleft().result()]
                while ahead and ahead[0].done():
                    found.append(ahead.popleft().result())
                yield _collected(start, backbone.plan.output_dim, found)
                start += len(found)
        finally:
            ended.set()
            for future in ahead:
                future.cancel()


def _collected(start: int, length: int, found: Sequence[Output | ImageError]) -> Batch:
    outputs = np.full((len(found), length), np.nan, np.float32)
    for row, output in enumerate(found):
        if isinstance(output, Output):
            outputs[row] = output.logits[0]
    problems = {row: error for row, error in enumerate(found) if isinstance(error, ImageError)}
    return Batch(start, outputs, problems, sum(each.forward_ms for each in found if isinstance(each, Output)))


def decoding_threads() -> ThreadPoolExecutor:
    """Return threads for decoding: one for each core, of a low priority."""
    return ThreadPoolExecutor(devices.cores(), "decode", lower_priority)


class _Slots:
    """Memory for decoded images, which is used in turn: new memory for each batch would take longer than decoding some.

    Args:
        least: the least number of images in a batch, however much memory they take.

    Attributes:
        capacity: how many images a batch may have; 1 until the first one is decoded.
    """

    def __init__(self, least: int) -> None:
        self.capacity, self._least = 1, least
        self._array: np.ndarray | None = None  # (2 * capacity, C, H, W): a batch, and as many that are decoded
        self._lock = threading.Lock()

    def fill(self, backbone: PinnedBackbone, index: int, image: ImageSource) -> ImageError | None:
        """Decode an image into its slot, or return why it cannot be read."""
        try:
            prepared = backbone.prepared(image)
        except ImageError as error:
            return error
        with self._lock:
            if self._array is None:
                capacity = min(max(self._least, BATCH_BYTES // prepared.nbytes), MAX_BATCH)
                self._array = np.empty((2 * capacity, *prepared.shape[1:]), np.float32)
                self.capacity = capacity
        self._array[index % len(self._array)] = prepared[0]
        return None

    def until_end(self, start: int) -> int:
        """Return the number of slots from an image's to the last one, which a batch does not go beyond."""
        length = 2 * self.capacity
        return length - start % length

    def rows(self, start: int, found: Sequence[ImageError | None]) -> np.ndarray | None:
        """Return the decoded images of a batch ``(N, C, H, W)``; None if there are none."""
        if self._array is None or all(found):
            return None
        at = start % len(self._array)
        rows = self._array[at : at + len(found)]
        return rows[[error is None for error in found]] if any(found) else rows


def _forward(backbone: PinnedBackbone, start: int, slots: _Slots, found: Sequence[ImageError | None]) -> Batch:
    problems = {index: error for index, error in enumerate(found) if error}
    outputs, forward_ms = np.full((len(found), backbone.plan.output_dim), np.nan, np.float32), 0.0
    if (rows := slots.rows(start, found)) is not None:
        # one image has a graph of its own, whose bfloat16 differs: twice, it has the outputs that it has in any batch
        output = backbone.forward(rows if len(rows) > 1 else np.repeat(rows, 2, axis=0))
        forward_ms = output.forward_ms
        outputs[[error is None for error in found]] = output.logits[: len(rows)]
    return Batch(start, outputs, problems, forward_ms)


def lower_priority() -> None:
    """Let requests, and the forward pass of the batch, come before the current thread."""
    devices.lower_priority(NICENESS)
