"""Decodes an image once, and preprocesses it once per distinct transform."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from PIL import Image

from lineup.config import Limits
from lineup.errors import ImageError
from lineup.images.image_bytes import ImageBytes, ImageSource
from lineup.images.reading import open_image

if TYPE_CHECKING:
    from lineup.registry import Plan, Transform

DECODE_SCALE = 2  # an image is decoded at no less than this times the size that a transform resizes to

T = TypeVar("T")


def decode_side_px(transform: "Transform") -> int:
    """Return the shorter side that is enough for a transform, as `min_side_px` of `open_image`; 0 if unknown."""
    return DECODE_SCALE * transform.resize_px


def _open(image: ImageSource, min_side_px: int, limits: Limits) -> Image.Image:
    return open_image(image, limits.max_megapixels, min_side_px, max_mb=limits.max_upload_mb)


class PreparedImage:
    """An image for several backbones: decoded once, and transformed once for those with the same transform."""

    def __init__(self, image: ImageSource, limits: Limits, plans: Callable[[], Sequence["Plan | None"]]) -> None:
        self.image, self._limits, self._plans = image, limits, plans
        self._batches: dict[object, tuple[np.ndarray, float]] = {}
        self.decode_ms = 0.0  # of the last decoding
        self.notes: tuple[str, ...] = ()  # what was inferred while decoding

    def check(self) -> None:
        """Check that the file exists, before anything is loaded for it.

        Raises:
            ImageError: when it does not.
        """
        if not isinstance(self.image, ImageBytes) and not Path(self.image).is_file():
            raise ImageError(Path(self.image).name, "an image", "there is no such file", "check the path")

    @cached_property
    def min_side_px(self) -> int:
        """Return the shorter side that is enough for all transforms; 0 while one is unknown."""
        sides_px = [decode_side_px(plan.transform) if plan else 0 for plan in self._plans()]
        return max(sides_px, default=0) if all(sides_px) else 0

    @cached_property
    def decoded(self) -> Image.Image:
        """Return the image, and set `decode_ms` and `notes`."""
        image, self.decode_ms = timed(partial(_open, self.image, self.min_side_px, self._limits))
        self.notes = image.info.get("notes", ())
        return image

    def release(self) -> None:
        """Free the decoded image, which may have 120 MB; it is decoded again if needed."""
        self.__dict__.pop("decoded", None)

    def batch_for(self, transform: "Transform") -> tuple[np.ndarray, float]:
        """Return the batch ``(1, C, H, W)`` float32 of a transform, and the milliseconds of preprocessing."""
        if transform.key not in self._batches:
            self._batches[transform.key] = timed(partial(transform, self.decoded))
        return self._batches[transform.key]


def batch_of(images: Iterable[ImageSource], transform: "Transform", limits: Limits) -> np.ndarray:
    """Return the batch ``(N, C, H, W)`` float32 of image files; one decoded image at a time is in memory.

    Raises:
        ImageError: when one cannot be read.
    """
    return transform.batch(_open(image, decode_side_px(transform), limits) for image in images)


def jpeg(image: Image.Image) -> bytes:
    """Encode an image as JPEG: small enough to keep in the session state of each open page."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """Return the result of a call, and its milliseconds."""
    started = time.perf_counter()
    value = call()
    return value, (time.perf_counter() - started) * 1e3
