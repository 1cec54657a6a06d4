"""Which images show nearly the same: copies that were resized or compressed again, and shots of a burst."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from lineup.images.image_bytes import ImageSource
from lineup.images.reading import exif_of, open_image

SIDE_PX = 16  # of what is compared
MIN_CORRELATION = 0.985  # of near duplicates
COPY_CORRELATION = 0.998  # of copies that were only resized or compressed again
BURST_GAP_S = 2.0  # between two shots
MAX_AT_ONCE = 30  # shots at one time; more come from a clock that was not set
_ROWS = 1024  # that are compared at once
_MIN_CONTRAST = 2.0  # standard deviation of the brightness, 0 to 255, below which an image shows nothing


@dataclass(frozen=True)
class Appearance:
    """What an image is compared by.

    Attributes:
        pixels: brightness of ``SIDE_PX × SIDE_PX`` pixels, as a vector of mean 0 and length 1, float32; zeros for an
            image of one colour, which is like no other.
        camera: maker and model; empty if unknown.
        taken_s: when it was taken, in seconds; None if unknown.
    """

    pixels: np.ndarray
    camera: str = ""
    taken_s: float | None = None


def appearance(source: ImageSource, max_megapixels: int) -> Appearance:
    """Read how an image file looks, and when it was taken.

    Raises:
        ImageError: when it cannot be read.
    """
    image = open_image(source, max_megapixels, min_side_px=2 * SIDE_PX).convert("L")
    small = image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32).ravel()
    pixels = pixels - pixels.mean() if pixels.std() > _MIN_CONTRAST else np.zeros_like(pixels)
    camera, taken_s = _taken(exif_of(source))
    return Appearance(pixels / max(float(np.linalg.norm(pixels)), 1e-9), camera, taken_s)


def near_duplicates(appearances: Sequence[Appearance | None]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield each image that looks nearly the same as later ones: its index, their indices, and the correlations.

    Args:
        appearances: of all images; None is like no other.
    """
    empty = np.zeros(SIDE_PX * SIDE_PX, np.float32)
    pixels = np.stack([each.pixels if each else empty for each in appearances] or [empty])
    for start in range(0, len(pixels), _ROWS):
        correlations = pixels[start : start + _ROWS] @ pixels[start:].T
        for row in np.flatnonzero(np.count_nonzero(correlations >= MIN_CORRELATION, axis=1) > 1):  # not only itself
            later = correlations[row, row + 1 :]
            if len(found := np.flatnonzero(later >= MIN_CORRELATION)):
                yield int(start + row), start + row + 1 + found, later[found]


def bursts(appearances: Sequence[Appearance | None]) -> Iterator[tuple[int, int]]:
    """Yield pairs of indices of shots that one camera, which is known, took at most BURST_GAP_S after each other."""
    known = [
        (each.camera, each.taken_s, index)
        for index, each in enumerate(appearances)
        if each and each.camera and each.taken_s
    ]
    n_at_once = Counter(shot[:2] for shot in known)
    shots = sorted(shot for shot in known if n_at_once[shot[:2]] <= MAX_AT_ONCE)
    for (camera, taken_s, index), (next_camera, next_s, next_index) in pairwise(shots):
        if camera == next_camera and next_s - taken_s <= BURST_GAP_S:
            yield index, next_index


def _taken(exif: dict[int, Any]) -> tuple[str, float | None]:
    """Return the camera, and when an image was taken, as EXIF says."""
    base = ExifTags.Base
    camera = " ".join(str(exif[tag]).strip("\0 ") for tag in (base.Make, base.Model) if exif.get(tag))
    try:
        taken = datetime.strptime(str(exif[base.DateTimeOriginal]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        fraction = str(exif.get(base.SubsecTimeOriginal, "")).strip("\0 ")
        return camera, taken.timestamp() + float(f"0.{fraction}" if fraction.isdigit() else 0)
    except (KeyError, ValueError, OverflowError, OSError):
        return camera, None
