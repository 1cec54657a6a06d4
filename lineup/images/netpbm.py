"""Reads the Netpbm formats: PBM, PGM, PPM, PAM and PFM.

Pillow decodes several of them sample by sample in Python, which takes half a minute for the image of a camera.
"""

import re
from collections.abc import Callable

import numpy as np

from lineup.images.guards import MeteredFile
from lineup.images.samples import Samples

CheckSize = Callable[[tuple[int, int], int, bool], None]  # as in lineup.images.tiff

_MAX_HEADER_BYTES = 4096  # with comments
_TOKEN = rb"(?:\s|#[^\r\n]*[\r\n])+([+-]?[\d.]+(?:[eE][+-]?\d+)?)"
_N_NUMBERS = {b"P1": 2, b"P4": 2}  # in the header: width, height, and mostly the largest value
_PAM_LINE = re.compile(rb"\s*(WIDTH|HEIGHT|DEPTH|MAXVAL)\s+(\d+)")
_BANDS = {b"P3": 3, b"P6": 3, b"PF": 3}


def read(file: MeteredFile, check_size: CheckSize) -> Samples | None:
    """Return the samples of a file; None if it is in another format.

    Raises:
        ValueError: when its header is invalid, or samples are missing.
    """
    if not is_read(file):
        return None
    file.seek(0)
    head = file.read(_MAX_HEADER_BYTES)
    magic = head[:2]
    (width, height, limit), bands, start = _pam(head) if magic == b"P7" else _header(head)
    is_float = magic in (b"PF", b"Pf")
    if min(width, height) < 1 or not 1 <= bands <= 4 or not (is_float or 0 < limit < 2**16):
        raise ValueError("its header is not that of an image")
    dtype = np.dtype(("<f4" if limit < 0 else ">f4") if is_float else "u1" if limit < 256 else ">u2")
    size = int(width), int(height)
    check_size(size, size[0] * size[1] * bands * dtype.itemsize, False)
    file.seek(start)
    values = _values(magic, file.read(), (size[1], size[0], bands), dtype)
    if not is_float and values.max() > limit:
        raise ValueError("it has values above its largest one")
    bits = 32 if is_float else max(8, int(limit).bit_length())
    return Samples(
        values=values[::-1] if is_float else values,  # a PFM begins at the bottom
        bits=bits if bits == 8 or is_float else 16,
        white=None if is_float or limit == 65535 else limit,
        stated_by="header",
        has_alpha=bands in (2, 4),
        inverted=magic in (b"P1", b"P4"),
    )


def is_read(file: MeteredFile) -> bool:
    """Return whether a file begins as a Netpbm image does."""
    file.seek(0)
    return bool(re.match(rb"P[1-6Ff][\s#]|P7\n", file.read(3)))


def _header(head: bytes) -> tuple[tuple[float, float, float], int, int]:
    """Return width, height and the largest value, the number of bands, and where the samples begin."""
    magic = head[:2]
    n_numbers = _N_NUMBERS.get(magic, 3)
    found = re.match(rb"P." + _TOKEN * n_numbers + rb"(?:[^\S\r\n]*#[^\r\n]*)?\s", head)
    if not found:
        raise ValueError("its header is not that of an image")
    numbers = [float(number) for number in found.groups()]
    return (numbers[0], numbers[1], numbers[2] if n_numbers == 3 else 1), _BANDS.get(magic, 1), found.end()


def _pam(head: bytes) -> tuple[tuple[float, float, float], int, int]:
    end = head.index(b"ENDHDR\n")
    found = (_PAM_LINE.match(line) for line in head[:end].splitlines())
    numbers = {match[1]: int(match[2]) for match in found if match}
    width, height, bands, limit = (numbers.get(name, 0) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
    return (width, height, limit), bands, end + len(b"ENDHDR\n")


def _values(magic: bytes, data: bytes, shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Return the samples ``(H, W, bands)``."""
    height, width, bands = shape
    if magic in (b"P1", b"P2", b"P3"):
        text = re.sub(rb"#[^\r\n]*", b" ", data)
        if magic == b"P1":  # the digits need no space between them
            digits = np.frombuffer(b"".join(text.split())[: height * width], np.uint8) - ord("0")
            return digits.reshape(shape)
        if not re.fullmatch(rb"[\d\s]*", text):
            raise ValueError("it has samples that are not numbers")
        # without `count`, which would return uninitialized memory for missing samples
        return np.fromstring(text.decode("ascii"), np.int64, sep=" ")[: height * width * bands].reshape(shape)
    if magic == b"P4":
        packed = np.frombuffer(data, np.uint8, count=height * -(-width // 8)).reshape(height, -1)
        return np.unpackbits(packed, axis=1, count=width)[..., None]
    values = np.frombuffer(data, dtype, count=int(np.prod(shape))).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)
