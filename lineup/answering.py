"""What one answer takes: the picture, decoded and prepared once for all who look at it, and logits read as labels."""

import os
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from lineup.config import Limits
from lineup.engine import softmax
from lineup.errors import BackboneError, PictureError
from lineup.pictures import open_picture
from lineup.pool import Loaded
from lineup.results import Classification, Milliseconds, Prediction

if TYPE_CHECKING:
    from lineup.registry import Plan, Transform

DECODED = 2  # times the pixels that a transform resizes to: enough for it to lose nothing that matters

T = TypeVar("T")
Picture = str | os.PathLike[str]


class Sitting:
    """A picture before several backbones: decoded once, and prepared once for those who prepare it alike."""

    def __init__(self, picture: Picture, limits: Limits, plans: Callable[[], Sequence["Plan | None"]]) -> None:
        self._picture, self._limits, self._plans = picture, limits, plans
        self._batches: dict[object, tuple[np.ndarray, float]] = {}

    def check(self) -> None:
        """Say at once, before anything is loaded for it, that there is no file.

        Raises:
            PictureError: when there is none.
        """
        if not Path(self._picture).is_file():
            raise PictureError(f"{Path(self._picture).name}: expected a picture; there is no such file; check the path")

    @cached_property
    def enough_px(self) -> int:
        """Return how many pixels of the shorter side are enough for all; 0 while one's transform is unknown."""
        asked = [plan.transform.resized_px if plan else 0 for plan in self._plans()]
        return DECODED * max(asked) if all(asked) else 0

    @cached_property
    def decoded(self) -> tuple[Image.Image, float]:
        """Return the picture, and the milliseconds that it took to decode."""
        limits = self._limits
        return timed(
            partial(open_picture, self._picture, limits.max_megapixels, self.enough_px, max_mb=limits.max_upload_mb)
        )

    def forget(self) -> None:
        """Drop the decoded picture; whoever still needs it decodes it again."""
        self.__dict__.pop("decoded", None)

    def prepared(self, transform: "Transform") -> tuple[np.ndarray, float]:
        """Return the batch ``(1, 3, H, W)`` of a transform, and the milliseconds that it took to make."""
        if transform.key not in self._batches:
            self._batches[transform.key] = timed(partial(transform, self.decoded[0]))
        return self._batches[transform.key]


def jpeg(picture: Image.Image) -> bytes:
    """Return a picture in the few bytes that may lie in a visitor's session for as long as his page is open."""
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and the milliseconds it took."""
    started = time.perf_counter()
    value = call()
    return value, (time.perf_counter() - started) * 1e3


def classification(
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
