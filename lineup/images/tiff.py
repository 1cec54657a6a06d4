"""Reads the TIFF files that Pillow clips or rejects: wide, signed and float samples, and bands besides colours.

These are what GDAL, microscopes and cameras write: strips or tiles, interleaved or planar, of any byte order, with or
without compression and prediction. libtiff decompresses each strip as an 8-bit image of its bytes, through Pillow; the
rest is arithmetic. All others are left to Pillow.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO

import numpy as np
from PIL import Image, TiffImagePlugin

from lineup.images.formats import UnreadableKind
from lineup.images.guards import TILE_LENGTH, TILE_WIDTH, MeteredFile
from lineup.images.samples import Samples
from lineup.images.tiff_tags import (
    BANDS,
    BITS,
    BLACK_IS_ZERO,
    COMPRESSION,
    FILL_ORDER,
    LENGTH,
    ORIENTATION,
    PHOTOMETRIC,
    PLANAR,
    PREDICTOR,
    RANGE_TAGS,
    STRIP_BYTES,
    STRIP_ROWS,
    STRIPS,
    TILE_BYTES,
    TILES,
    WHITE_IS_ZERO,
    WIDTH,
    Layout,
    Tags,
    layout_of,
    read_tags,
    unreadable,
)

# of a size, bytes of samples, and whether it is that of a tile: raises an ImageError if it is over the limits
CheckSize = Callable[[tuple[int, int], int, bool], None]


def read(file: MeteredFile, check_size: CheckSize) -> Samples | None:
    """Return the samples of a TIFF; None if the file is no TIFF, or Pillow reads it in full.

    Raises:
        UnreadableKind: for a camera raw file, and for samples or bands that are no image.
        ValueError: for tags that contradict one another, and for a file that is cut off.
    """
    file.seek(0)
    tags = read_tags(file)
    if tags is None:
        return None
    layout = layout_of(tags)
    return None if layout is None else _samples(file, tags, layout, check_size)


def is_read(file: MeteredFile) -> bool:
    """Return whether `read` would return samples, by the tags.

    Raises:
        UnreadableKind: as `read` does.
    """
    file.seek(0)
    tags = read_tags(file)
    return tags is not None and layout_of(tags) is not None


def kind(file: MeteredFile) -> UnreadableKind | None:
    """Describe a TIFF that cannot be read; None if the file is no TIFF, or its tags cannot be read."""
    with suppress(Exception):  # tags of an unknown variant may fail in any way
        file.seek(0)
        if tags := read_tags(file):
            return unreadable(tags)
    return None


def _samples(file: MeteredFile, tags: Tags, layout: Layout, check_size: CheckSize) -> Samples:
    (width, height), itemsize = layout.size, layout.dtype.itemsize
    is_planar = tags.number(PLANAR, 1) == 2
    check_size(layout.size, width * height * itemsize * (len(layout.used) if is_planar else layout.bands), False)
    values = np.zeros((height, width, len(layout.used)), layout.dtype.newbyteorder("="))
    for top, left, plane, block in _blocks(file, tags, layout, is_planar, check_size):
        rows, columns = values[top : top + len(block), left : left + block.shape[1]].shape[:2]
        block = block[:rows, :columns]
        if is_planar:
            values[top : top + rows, left : left + columns, layout.used.index(plane)] = block[..., 0]
        else:
            values[top : top + rows, left : left + columns] = block[..., layout.used]
    stated = ((name, tags.largest(high), tags.largest(low)) for name, high, low in RANGE_TAGS)
    name, white, black = next((each for each in stated if each[1] is not None), ("", None, None))
    return Samples(
        values=values,
        bits=layout.bits,
        white=white,
        black=None if layout.dtype.kind == "u" else black,
        stated_by=name,
        has_alpha=layout.has_alpha,
        premultiplied=layout.premultiplied,
        inverted=tags.number(PHOTOMETRIC, -1) == WHITE_IS_ZERO,
        no_data=tags.no_data(),
        orientation=tags.number(ORIENTATION, 1),
        notes=layout.notes,
    )


def _blocks(
    file: MeteredFile,
    tags: Tags,
    layout: Layout,
    is_planar: bool,
    check_size: CheckSize,
) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """Yield each strip or tile: its top row, left column, plane, and samples ``(rows, columns, bands)``."""
    (width, height), is_tiled = layout.size, TILE_WIDTH in tags
    if is_tiled:
        columns, rows = tags.number(TILE_WIDTH, 0), tags.number(TILE_LENGTH, 0)
    else:
        columns, rows = width, min(tags.number(STRIP_ROWS, height), height)
    if min(columns, rows) < 1:
        raise ValueError("its strips or tiles have no size")
    bands = 1 if is_planar else layout.bands
    check_size((columns, rows), columns * rows * layout.dtype.itemsize * bands, True)
    across, down = math.ceil(width / columns), math.ceil(height / rows)
    offsets = tags.numbers(TILES if is_tiled else STRIPS)
    lengths = tags.numbers(TILE_BYTES if is_tiled else STRIP_BYTES)
    if not lengths and len(offsets) == 1:
        lengths = (2**31,)  # up to the end of the file
    n_blocks = across * down * (layout.bands if is_planar else 1)
    if min(len(offsets), len(lengths)) < n_blocks:
        raise ValueError("it has fewer strips or tiles than its size needs")
    file.reads += 2 * n_blocks
    for index in range(n_blocks):
        plane, place = divmod(index, across * down)
        if lengths[index] == 0 or plane not in layout.used:  # GDAL writes no tile that is empty
            continue
        top, left = place // across * rows, place % across * columns
        n_rows = rows if is_tiled else min(rows, height - top)
        file.seek(offsets[index])
        stored = file.read(lengths[index])
        row_bytes = math.ceil(columns * bands * layout.bits / 8)
        unpacked = _unpacked(stored, tags, row_bytes, n_rows)
        yield top, left, plane, _values(unpacked, layout, bands, columns, tags.number(PREDICTOR, 1))


def _unpacked(stored: bytes, tags: Tags, row_bytes: int, rows: int) -> np.ndarray:
    """Return the decompressed bytes ``(rows, row_bytes)`` of a strip or tile."""
    compression, fill_order = tags.number(COMPRESSION, 1), tags.number(FILL_ORDER, 1)
    if compression == 1 and fill_order == 1:
        if len(stored) < row_bytes * rows:
            raise ValueError("its last bytes are missing")
        return np.frombuffer(stored, np.uint8, row_bytes * rows).reshape(rows, row_bytes)
    page = TiffImagePlugin.ImageFileDirectory_v2()  # an 8-bit image of one strip, in memory
    values = {WIDTH: row_bytes, LENGTH: rows, BITS: 8, COMPRESSION: compression, PHOTOMETRIC: BLACK_IS_ZERO}
    values |= {FILL_ORDER: fill_order, STRIPS: 0, BANDS: 1, STRIP_ROWS: rows, STRIP_BYTES: len(stored)}
    for tag, value in values.items():
        page[tag] = value
    content = BytesIO()
    page.save(content)
    content.seek(0, 2)
    content.write(stored)
    image = Image.frombytes("L", (row_bytes, rows), content.getvalue(), "libtiff", ("L", "", 0, 0))
    return np.asarray(image)


def _values(unpacked: np.ndarray, layout: Layout, bands: int, columns: int, predictor: int) -> np.ndarray:
    """Return the samples ``(rows, columns, bands)`` of decompressed bytes ``(rows, row_bytes)``."""
    rows, dtype = len(unpacked), layout.dtype
    if layout.bits % 8:
        return _of_packed_bits(unpacked, layout.bits, columns * bands).reshape(rows, columns, bands)
    if predictor == 3:  # differences of bytes, the most significant ones first
        differences = unpacked.reshape(rows, -1, bands)
        by_byte = np.cumsum(differences, axis=1, dtype=np.uint8).reshape(rows, dtype.itemsize, columns * bands)
        stored = np.ascontiguousarray(by_byte.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
    else:
        stored = np.ascontiguousarray(unpacked).view(dtype)
    values = stored.reshape(rows, columns, bands).astype(dtype.newbyteorder("="), copy=False)
    if predictor == 2:
        integers = values.view(f"u{dtype.itemsize}")
        return np.cumsum(integers, axis=1, dtype=integers.dtype).view(values.dtype)
    return values


def _of_packed_bits(unpacked: np.ndarray, n_bits: int, n_samples: int) -> np.ndarray:
    """Return samples ``(rows, n_samples)`` uint16 that are packed without gaps, the most significant bit first."""
    values = np.empty((len(unpacked), n_samples), np.uint16)
    for row, data in enumerate(unpacked):
        bits = np.unpackbits(data, count=n_bits * n_samples).reshape(n_samples, n_bits)
        padded = np.pad(bits, ((0, 0), (16 - n_bits, 0)))
        values[row] = np.packbits(padded, axis=1).view(">u2")[:, 0]
    return values
