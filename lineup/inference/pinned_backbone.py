"""A backbone for features that compute batches of images, such as an evaluation or a linear probe."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lineup.config import Config
from lineup.inference import answer_store
from lineup.inference.execution import Execution
from lineup.inference.postprocessing import checked
from lineup.inference.preprocessing import ImagePath, batch_of, decode_side_px

if TYPE_CHECKING:
    from lineup.registry import Plan
    from lineup.registry.plan import OutputKind


class PinnedBackbone:
    """A loaded backbone that is not evicted before `release` is called.

    The constructor waits for the load: create it outside a turn of the queue, and compute within one.

    Args:
        execution: where it computes.
        config: returns the current config, for its limits.
        name: name of an entry.
        output: what to compute: logits of classes, or features.

    Raises:
        LineupError: when it cannot be loaded.
    """

    def __init__(self, execution: Execution, config: Callable[[], Config], name: str, output: "OutputKind") -> None:
        self._execution, self._config, self.name = execution, config, name
        self._pin = execution.pool.pin(name, output)
        try:
            self._loaded = self._pin.load.result()
        except BaseException:
            self._pin.release()
            raise

    @property
    def plan(self) -> "Plan":
        """The plan, whose `output` is as requested."""
        return self._loaded.plan

    @property
    def fingerprint(self) -> str:
        """Identify everything that decides the outputs, as the key of the answer store; empty if it is unknown."""
        loaded, min_side_px = self._loaded, decode_side_px(self.plan.transform)
        return answer_store.fingerprint(loaded.plan, loaded.path, loaded.engine, loaded.device, min_side_px)

    def outputs(self, images: Sequence[ImagePath]) -> np.ndarray:
        """Return the logits ``(N, classes)`` or features ``(N, embedding_dim)`` of image files, as float32.

        They are one batch: N bounds the memory, and how long requests wait. All come from the same engine.

        Raises:
            ImageError: when an image cannot be read.
            BackboneError: when the forward pass fails or times out, or its outputs are not finite.
        """
        loaded = self._loaded
        batch = batch_of(images, loaded.plan.transform, self._config().limits)  # (N, C, H, W)
        if len(batch) > 1:
            self._pin.reserve_batches(loaded)
        output = self._execution.forward(self.name, loaded.engine, batch)
        return checked(loaded.plan, output.logits, len(batch))

    def release(self) -> None:
        """Allow the eviction of the backbone; to be called once."""
        self._pin.release()

    def __enter__(self) -> "PinnedBackbone":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
