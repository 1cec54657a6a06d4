"""Finds out from the tags of a TIFF what its samples are, and names what is not read."""

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import TiffImagePlugin

from lineup.images.formats import UnreadableKind
from lineup.images.guards import MeteredFile

_SUBFILE, _MAKE, _SUB_IFDS, ORIENTATION, _DNG_VERSION, _NO_DATA = 254, 271, 330, 274, 50706, 42113
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, BANDS, PLANAR = 256, 257, 258, 259, 262, 266, 277, 284
STRIPS, STRIP_ROWS, STRIP_BYTES, TILES, TILE_BYTES = 273, 278, 279, 324, 325
PREDICTOR, _EXTRA, _SAMPLE_FORMAT = 317, 338, 339
RANGE_TAGS = (("SMaxSampleValue", 341, 340), ("MaxSampleValue", 281, 280))
WHITE_IS_ZERO, BLACK_IS_ZERO, _RGB, _YCBCR, _SENSOR = 0, 1, 2, 6, (32803, 34892)  # photometric interpretations
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4  # sample formats
_FORMAT_NAMES = {_SIGNED: "signed", _FLOAT: "float", 5: "complex", 6: "complex"}
_LOSSLESS = {1: "none", 5: "LZW", 8: "Deflate", 32946: "Deflate", 32773: "PackBits", 34925: "LZMA", 50000: "ZSTD"}
_OTHER_COMPRESSIONS = {
    6: "old-style JPEG",
    7: "JPEG",
    34712: "JPEG 2000",
    34887: "LERC",
    50001: "WebP",
    50002: "JPEG XL",
}
_NOT_IN_LIBTIFF = {34712, 34887, 50001, 50002}  # as it is built for Pillow
_SPACES = {3: "palette", 5: "CMYK", _YCBCR: "YCbCr", 8: "CIELab", 9: "ICCLab", 10: "ITULab"}
_SPACES |= {32844: "LogL", 32845: "LogLuv"}
_TO_8_BITS = "save it as 8-bit RGB, such as with: gdal_translate -ot Byte -scale in.tif out.png"
_CHOOSE_BANDS = "choose three bands for red, green and blue: gdal_translate -b 3 -b 2 -b 1 in.tif out.tif"


class Tags:
    """The tags of a TIFF's first page, of whatever type they are."""

    def __init__(self, directory: TiffImagePlugin.ImageFileDirectory_v2) -> None:
        self._directory, self.prefix = directory, directory.prefix

    def __contains__(self, tag: int) -> bool:
        return tag in self._directory

    def numbers(self, tag: int, default: int | None = None) -> tuple[int, ...]:
        """Return the integers of a tag; the default, or none, without it."""
        value = self._directory.get(tag)
        if value is None or value == ():
            return () if default is None else (default,)
        return tuple(map(int, value)) if isinstance(value, tuple | bytes) else (int(value),)

    def number(self, tag: int, default: int) -> int:
        """Return the first integer of a tag."""
        return self.numbers(tag, default)[0]

    def largest(self, tag: int) -> float | None:
        """Return the largest of the numbers that a tag has for each band; None if it has none."""
        value = self._directory.get(tag)
        values = value if isinstance(value, tuple) else () if value is None else (value,)
        return max(map(float, values), default=None) if all(math.isfinite(each) for each in values) else None

    def text(self, tag: int) -> str:
        """Return the text of a tag; empty without it."""
        return str(self._directory.get(tag, "")).strip("\0 ")

    def no_data(self) -> float | None:
        """Return GDAL's value of pixels without data, or None."""
        with suppress(ValueError):
            return float(self.text(_NO_DATA))
        return None


@dataclass(frozen=True)
class Layout:
    """What the samples of the first page are, and where."""

    size: tuple[int, int]  # width, height
    bands: int
    used: tuple[int, ...]  # the bands that are read: one or three colours, and alpha
    has_alpha: bool
    premultiplied: bool
    bits: int
    dtype: np.dtype[Any]  # of the values, in the byte order of the file if they have whole bytes
    notes: tuple[str, ...]


def read_tags(file: MeteredFile) -> Tags | None:
    """Return the tags of the first page; None if the file is no TIFF.

    Raises:
        UnreadableKind: for a camera raw file.
        ValueError: when tags are missing.
    """
    header = file.read(16)
    if not header.startswith((b"II*\0", b"MM\0*", b"II+\0")):
        return None
    directory = TiffImagePlugin.ImageFileDirectory_v2(header if header[2] == 43 else header[:8])
    file.seek(directory.next)
    directory.load(file)
    tags = Tags(directory)
    if not (WIDTH in tags and LENGTH in tags and (STRIPS in tags or TILES in tags)):
        raise ValueError("its tags are not those of an image")
    if (
        header[8:10] == b"CR"  # Canon's CR2
        or _DNG_VERSION in tags
        or tags.number(PHOTOMETRIC, -1) in _SENSOR
        or (_SUB_IFDS in tags and tags.number(_SUBFILE, 0) & 1)  # the first page is a thumbnail
    ):
        camera = tags.text(_MAKE).title()[:40]
        got = f"it is a camera raw file{f' of {camera}' if camera.isprintable() and camera else ''}"
        raise UnreadableKind(got, "develop it in a photo editor, and save it as JPEG")
    return tags


def layout_of(tags: Tags) -> Layout | None:
    """Return the layout of a page; None if Pillow reads all of it."""
    bits, bands, extra = tags.numbers(BITS, 1), tags.number(BANDS, 1), tags.numbers(_EXTRA)
    formats, photometric = tags.numbers(_SAMPLE_FORMAT, _UNSIGNED), tags.number(PHOTOMETRIC, -1)
    is_plain = max(bits) <= 8 and set(formats) <= {_UNSIGNED, _UNDEFINED}
    n_alpha = sum(kind in (1, 2) for kind in extra)
    usual = bands - n_alpha == 1
    if photometric == _RGB:
        usual = bands in (3, 4) and len(extra) < 2 and set(bits) == {8}
    compression = tags.number(COMPRESSION, 1)
    if compression in _NOT_IN_LIBTIFF or (compression == 1 and photometric == _YCBCR):
        raise unreadable(tags)
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, _RGB) or (is_plain and usual):
        return None
    dtype = _dtype(tags.prefix, set(bits), set(formats))
    n_values = bands - (len(extra) if photometric == _RGB else n_alpha)  # bands that are no alpha
    n_values = 3 if photometric == _RGB and n_values > 3 else n_values
    if dtype is None or compression not in _LOSSLESS or not 0 < n_values <= bands <= 10_000:
        raise unreadable(tags)
    if n_values not in (1, 3):
        raise UnreadableKind(f"it is a TIFF with {bands} bands, and does not say which are colours", _CHOOSE_BANDS)
    notes = () if photometric == _RGB or n_values == 1 else ("its three bands are taken as red, green and blue",)
    if bands - n_alpha > n_values:
        notes = (f"of its {bands} bands, the first three are red, green and blue, and the others are ignored",)
    alpha = [bands - len(extra) + index for index, kind in enumerate(extra) if kind in (1, 2)][:1]
    return Layout(
        size=(tags.number(WIDTH, 0), tags.number(LENGTH, 0)),
        bands=bands,
        used=(*range(n_values), *alpha),
        has_alpha=bool(alpha),
        premultiplied=1 in extra,
        bits=bits[0],
        dtype=dtype,
        notes=notes,
    )


def _dtype(prefix: bytes, bits: set[int], formats: set[int]) -> np.dtype[Any] | None:
    """Return the dtype of samples; None if there is none."""
    if len(bits) != 1 or len(formats) != 1:
        return None
    [n_bits], [sample_format] = bits, formats
    kind = {_UNSIGNED: "u", _SIGNED: "i", _FLOAT: "f", _UNDEFINED: "u"}.get(sample_format, "")
    if kind == "u" and n_bits < 16 and n_bits != 8:
        return np.dtype(np.uint16)  # packed
    if (kind, n_bits) not in {(kind, bits) for kind in "uif" for bits in (8, 16, 32, 64)} - {("f", 8)}:
        return None
    return np.dtype(f"{'<' if prefix == b'II' else '>'}{kind}{n_bits // 8}")


def unreadable(tags: Tags) -> UnreadableKind:
    """Describe a TIFF by its tags."""
    bits = "/".join(map(str, sorted(set(tags.numbers(BITS, 1)))))
    formats = " and ".join(_FORMAT_NAMES.get(each, "") for each in sorted(set(tags.numbers(_SAMPLE_FORMAT, 1))))
    photometric, compression = tags.number(PHOTOMETRIC, -1), tags.number(COMPRESSION, 1)
    space = {_RGB: "RGB", WHITE_IS_ZERO: "grey", BLACK_IS_ZERO: "grey", **_SPACES}.get(photometric, "unknown colours")
    how = {**_LOSSLESS, **_OTHER_COMPRESSIONS}.get(compression, f"number {compression}")
    bands = tags.number(BANDS, 1)
    kind = f"{bands} {'band' if bands == 1 else 'bands'} of {bits} bits{formats and f', {formats}'}, {space}"
    return UnreadableKind(f"it is a TIFF of a kind that is not read ({kind}, compression {how})", _TO_8_BITS)
