"""Reads the samples of a PNG of 16 bits, of which Pillow drops the low bytes of colours.

Pillow's decoder is asked for the bytes of a pixel as if they were channels of 8 bits: once, or for RGB once for the
high and once for the low bytes.
"""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from lineup.images.samples import Samples

_GREY, _RGB, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 4, 6  # colour types
_MAX_NARROW = 2**15  # colours with samples from here on have 16 bits, and 8 of them are enough


def read(file: BinaryIO, image: Image.Image) -> Samples | None:
    """Return the samples of a PNG that Pillow has loaded; None if its 8 bits are all that is needed.

    The chunk sBIT says how many bits the samples had before they were scaled to 16, as the standard demands. Writers
    that do not scale are recognized by their largest sample.
    """
    file.seek(16)
    width, height, depth, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", file.read(13))
    if depth != 16 or (colour_type != _GREY and _highest(image) >= _MAX_NARROW):
        return None
    file.seek(0)
    data = file.read()
    chunks = dict[bytes, bytes]()
    for name, content in _chunks(data):
        chunks[name] = chunks.get(name, b"") + content if name == b"IDAT" else content
    pixels = chunks[b"IDAT"]

    def decoded(mode: str, raw_mode: str) -> np.ndarray:
        return np.asarray(Image.frombytes(mode, (width, height), pixels, "zip", (raw_mode, interlaced)))

    if colour_type == _GREY:
        values = decoded("I;16", "I;16B")[..., None]
    elif colour_type == _GREY_ALPHA:
        values = decoded("RGBA", "RGBA").view(">u2").astype(np.uint16)
    else:
        mode = "RGB" if colour_type == _RGB else "RGBA"
        values = decoded(mode, f"{mode};16B").astype(np.uint16) << 8
        values |= decoded(mode, f"{mode};16L")
    has_alpha = colour_type in (_GREY_ALPHA, _RGB_ALPHA)
    n_bits = max(chunks.get(b"sBIT", b"")[: values.shape[2] - has_alpha], default=0)
    transparent = chunks.get(b"tRNS", b"")
    return Samples(
        values=values,
        bits=16,
        white=_white(n_bits, int(values[..., : values.shape[2] - has_alpha].max())) if 0 < n_bits <= 16 else None,
        stated_by="sBIT",
        has_alpha=has_alpha,
        no_data=np.frombuffer(transparent, ">u2") if len(transparent) == 2 * values.shape[2] else None,
        orientation=image.getexif().get(ExifTags.Base.Orientation, 1),
    )


def _white(n_bits: int, highest: int) -> float:
    return 2**n_bits - 1 if highest < 2**n_bits else 2**16 - 1


def _highest(image: Image.Image) -> int:
    """Return the upper bound of the colours, from their high bytes."""
    colours = np.asarray(image)[..., : 1 if image.mode == "LA" else 3]
    return 256 * int(colours.max()) + 255


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the content of each chunk, up to the last one that is whole."""
    at = 8
    while at + 12 <= len(data):
        (length,), name = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        if not re.fullmatch(b"[A-Za-z]{4}", name):
            return
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length
