"""Reads a JPEG whose end marker is missing, if nothing else is."""

import re
from collections import defaultdict
from collections.abc import Callable
from io import BytesIO

from PIL import Image

_END = b"\xff\xd9"
_BITS = b"\xaa" * 64  # begins with a one, where libjpeg continues a truncated scan with zeros
_CONTINUED = _BITS + b"".join(bytes((0xFF, restart)) + _BITS for restart in range(0xD0, 0xD8)) + _END
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_NO_LENGTH = (0x01, *range(0xD0, 0xD9))
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


def read(data: bytes, load: Callable[[BytesIO], Image.Image]) -> Image.Image | None:
    """Return the image of a JPEG without its end marker; None if its last scan is not whole.

    libjpeg makes up the rest of a truncated scan without an error. The scan is whole if the image does not depend on
    what follows it.

    Args:
        data: the file.
        load: decodes a file.
    """
    data = data.rstrip(b"\xff")
    if not _has_all_scans(data):
        return None
    image, other = (load(BytesIO(data + ending)) for ending in (_END, _CONTINUED))
    return image if image.tobytes() == other.tobytes() else None


def _has_all_scans(data: bytes) -> bool:
    """Return whether the scans have every coefficient of every component, down to its last bit."""
    done, components, at = defaultdict[int, set[int]](set), b"", 2
    while at + 4 <= len(data):
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker in _FRAMES:
            components = data[at + 10 : at + 2 + length : 3]
        if marker in _NO_LENGTH:
            at += 2
            continue
        if marker == 0xDA:
            header = data[at + 5 : at + 2 + length]
            first, last, bits = header[-3:] if len(header) >= 3 else (0, 0, 0xFF)
            for component in header[:-3:2]:
                done[component] |= set(range(first, last + 1)) if bits & 15 == 0 else set()
        found = _MARKER.search(data, at + 2 + length) if marker == 0xDA else _MARKER.match(data, at + 2 + length)
        if not found:
            break
        at = found.start()
    return bool(components) and all(len(done[component]) == 64 for component in components)
