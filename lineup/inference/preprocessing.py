"""What one answer takes: the image, decoded and prepared once for all who look at it, and logits read as labels."""

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
from lineup.errors import ImageError
from lineup.images.reading import open_image

if TYPE_CHECKING:
    from lineup.registry import Plan, Transform

DECODED = 2  # times the pixels that a transform resizes to: enough for it to lose nothing that matters

T = TypeVar("T")
ImagePath = str | os.PathLike[str]


class PreparedImage:
    """An image before several backbones: decoded once, and prepared once for those who prepare it alike."""

    def __init__(self, image: ImagePath, limits: Limits, plans: Callable[[], Sequence["Plan | None"]]) -> None:
        self._image, self._limits, self._plans = image, limits, plans
        self._batches: dict[object, tuple[np.ndarray, float]] = {}

    def check(self) -> None:
        """Say at once, before anything is loaded for it, that there is no file.

        Raises:
            ImageError: when there is none.
        """
        if not Path(self._image).is_file():
            raise ImageError(Path(self._image).name, "an image", "there is no such file", "check the path")

    @cached_property
    def min_side_px(self) -> int:
        """Return how many pixels of the shorter side are enough for all; 0 while one's transform is unknown."""
        asked = [plan.transform.resize_px if plan else 0 for plan in self._plans()]
        return DECODED * max(asked) if all(asked) else 0

    @cached_property
    def decoded(self) -> tuple[Image.Image, float]:
        """Return the image, and the milliseconds that it took to decode."""
        limits = self._limits
        return timed(
            partial(open_image, self._image, limits.max_megapixels, self.min_side_px, max_mb=limits.max_upload_mb)
        )

    def forget(self) -> None:
        """Drop the decoded image; whoever still needs it decodes it again."""
        self.__dict__.pop("decoded", None)

    def prepared(self, transform: "Transform") -> tuple[np.ndarray, float]:
        """Return the batch ``(1, 3, H, W)`` of a transform, and the milliseconds that it took to make."""
        if transform.key not in self._batches:
            self._batches[transform.key] = timed(partial(transform, self.decoded[0]))
        return self._batches[transform.key]


def jpeg(image: Image.Image) -> bytes:
    """Return an image in the few bytes that may lie in a visitor's session for as long as his page is open."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """Return what a call returns, and the milliseconds it took."""
    started = time.perf_counter()
    value = call()
    return value, (time.perf_counter() - started) * 1e3
