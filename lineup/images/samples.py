"""Converts samples of more than 8 bits to 8-bit RGB: which value is white is what the file says, or is inferred.

Cameras, microscopes and satellites write 10, 12 or 14 bits into files of 16. Such an image is nearly black where white
is taken as 65535, and a backbone then answers something else. A file that does not state its range is therefore read by
its largest value, and a note says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lineup.images.formats import UnreadableKind

_WHITES = [2**bits - 1 for bits in (8, 10, 11, 12, 14, 16)]  # the depths of files and sensors; satellites have 11
_ODD_WHITES = [2**bits - 1 for bits in (9, 13, 15)]  # unusual depths: only if the largest value is all of it
_MAX_OVERSHOOT = 0.1  # how far below 0, as a share of white, noise and resampling reach; signed data go further
_NO_DATA = np.float64(1e30)  # float32 files mark pixels without data by about -3.4e38; a plain float would overflow
_ROUNDING = 1.002  # floats of 16 bits round 4095 up to 4096
_CHUNK = 2**20  # samples that are converted at once, to bound the memory
_ADVICE = "save an image that has some"


@dataclass(frozen=True)
class Samples:
    """The samples of an image as its file has them, and what the file says of them.

    Attributes:
        values: ``(H, W, C)``, any dtype of integers or floats; C is 1 or 3, and one more with alpha.
        bits: bits per sample; 16 or more are the size of a container, whose values may need fewer.
        white: the value of white by the file's tags, None if they do not say; so is `black`.
        black: the value of black.
        stated_by: the name of the tag that says so.
        has_alpha: whether the last channel is alpha.
        premultiplied: whether the colours are multiplied by alpha.
        inverted: whether the smallest value is white.
        no_data: the value, or one per channel, of pixels without data.
        orientation: as in EXIF.
        notes: what was decided while reading.
    """

    values: np.ndarray
    bits: int
    white: float | None = None
    black: float | None = None
    stated_by: str = ""
    has_alpha: bool = False
    premultiplied: bool = False
    inverted: bool = False
    no_data: float | np.ndarray | None = None
    orientation: int = 1
    notes: tuple[str, ...] = ()

    @property
    def natural_white(self) -> float:
        """White if the samples fill their container: 1 for floats."""
        if self.values.dtype.kind == "f":
            return 1.0
        return float(2 ** (self.bits - (self.values.dtype.kind == "i")) - 1)


@dataclass(frozen=True)
class _Extrema:
    """What the known pixels are like.

    Attributes:
        low, high: their extrema.
        all_known: whether there are no others.
        replicated: whether they are uint16 and multiples of 257: 8 bits, scaled to 16.
    """

    low: float
    high: float
    all_known: bool
    replicated: bool


@np.errstate(all="ignore")  # damaged floats
def to_image(samples: Samples) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert samples to an 8-bit RGB image, with transparency and pixels without data as white.

    Returns:
        The image, and notes: what was inferred, or is unusual.

    Raises:
        UnreadableKind: when no pixel has a value.
    """
    extrema = _extrema(samples)
    black, white, note = _range(samples, extrema)
    notes = (*samples.notes, *([note] if note else []))
    if not extrema.all_known:
        notes += ("pixels without a value are white",)
    image = np.empty((*samples.values.shape[:2], 3), np.uint8)
    for rows, colours, alpha in _chunks(samples):
        share = np.clip((colours.astype(np.float64) - black) / ((white - black) or 1), 0, 1)
        share = 1 - share if samples.inverted else share
        if alpha is not None:
            opacity = np.clip(alpha / _alpha_white(samples, white), 0, 1)
            share = (share if samples.premultiplied else share * opacity) + 1 - opacity
        share = np.where(_known(samples, colours)[..., None], np.nan_to_num(share), 1)
        # values that fill their container are truncated, as Pillow does
        image[rows] = np.minimum(share * 255 + (0.5 if note else 0), 255)
    return Image.fromarray(image), notes


def _chunks(samples: Samples) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
    """Yield rows, their colours ``(rows, W, 1 or 3)``, and their alpha ``(rows, W, 1)`` if there is any."""
    height, width, channels = samples.values.shape
    step = max(1, _CHUNK // (width * channels))
    for start in range(0, height, step):
        rows = slice(start, start + step)
        chunk = samples.values[rows]
        yield (rows, chunk[..., :-1], chunk[..., -1:]) if samples.has_alpha else (rows, chunk, None)


def _known(samples: Samples, colours: np.ndarray) -> np.ndarray:
    """Return which pixels ``(rows, W)`` have a value in at least one channel."""
    known = np.ones(colours.shape, bool)
    if colours.dtype.kind == "f":
        known &= np.abs(colours) < _NO_DATA  # False for NaN
    if samples.no_data is not None:
        known &= colours != samples.no_data
    return np.any(known, axis=-1)


def _extrema(samples: Samples) -> _Extrema:
    lows, highs, all_known, replicated = [], [], True, samples.values.dtype == np.uint16
    for _, colours, _ in _chunks(samples):
        known = _known(samples, colours)
        all_known &= bool(known.all())
        values = colours if known.all() else colours[known]
        if values.dtype.kind == "f":
            values = values[np.abs(values) < _NO_DATA]
        elif replicated:
            replicated = not (values % 257).any()
        if values.size:
            lows.append(float(values.min()))
            highs.append(float(values.max()))
    if not lows:
        raise UnreadableKind("none of its pixels has a value", _ADVICE)
    return _Extrema(min(lows), max(highs), all_known, replicated)


def _range(samples: Samples, extrema: _Extrema) -> tuple[float, float, str]:
    """Return the values of black and white, and a note unless they are the usual ones."""
    low, high, natural = extrema.low, extrema.high, samples.natural_white
    if samples.white is not None and high <= samples.white:
        black = samples.black if samples.black is not None else low if _is_signed(low, samples.white) else 0.0
        usual = samples.bits <= 8 or (black, samples.white) == (0, natural)
        note = "" if usual else f"black is {black:g} and white {samples.white:g}, as its {samples.stated_by} says"
        return black, samples.white, note
    white = natural
    is_container = samples.bits >= 16  # else the size of the samples is a statement
    is_float = samples.values.dtype.kind == "f"
    if is_container and not extrema.replicated:
        white = _white_of(high, natural, is_float)
    is_measurement = low > high / 2 and (
        white == high != natural or (is_float and white > _WHITES[0])
    )  # such as kelvins
    if _is_signed(low, white if high > 0 else 0) or (is_measurement and low < high):
        note = f"its values go from {low:g} to {high:g}: these are shown as black and white"
        return low, high, note
    if white == natural and (is_container or samples.bits <= 8):
        return 0.0, white, ""
    bits = f" of {int(white).bit_length()} bits" if white in _WHITES + _ODD_WHITES or not is_container else ""
    container = f" in a file of {samples.bits} bits" if is_container else ""
    return 0.0, white, f"its values{bits}{container} go up to {high:g}: white is taken as {white:g}"


def _is_signed(low: float, white: float) -> bool:
    return low < -_MAX_OVERSHOOT * white


def _white_of(high: float, natural: float, is_float: bool) -> float:
    """Return the smallest usual value of white that is not below the largest value, else that value itself.

    A uniformly dark image is thus not stretched to full contrast: an integer has at least 8 bits, and a float in
    [0, 1] stays in it, unless it would be black throughout.
    """
    if not is_float and high in _ODD_WHITES:
        return high
    whites = ([natural] if is_float else []) + [white for white in _WHITES if is_float or white < natural]
    whites += [natural] if natural <= _WHITES[-1] else []
    tolerance = _ROUNDING if is_float else 1
    white = next((white for white in whites if high <= white * tolerance), high)
    if is_float and (0 < high < 1 / 255 or (white > 1 and high < white / 4)):  # by no convention
        return high
    return white


def _alpha_white(samples: Samples, white: float) -> float:
    high = samples.values[..., -1].max()
    return white if high <= white else max(samples.natural_white, float(high))
