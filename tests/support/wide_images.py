"""Encodes images of more than 8 bits, as cameras, GDAL and microscopes write them, without an image library."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

_TYPES = {"s": 2, "H": 3, "I": 4, "f": 11, "d": 12}


def png(values: np.ndarray, chunks: dict[bytes, bytes] | None = None) -> bytes:
    """Return a 16-bit PNG of ``(H, W, C)`` samples; C is 1 to 4, and chunks come before the pixels."""
    height, width, channels = values.shape
    rows = values.astype(">u2").view(np.uint8).reshape(height, -1)
    differences = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))  # the filter Up
    pixels = zlib.compress(np.hstack([np.full((height, 1), 2, np.uint8), differences]).tobytes())
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    content = {b"IHDR": header, **(chunks or {}), b"IDAT": pixels, b"IEND": b""}
    parts = (name + data for name, data in content.items())
    sized = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(sized)


def tiff(
    values: np.ndarray,
    *,
    order: str = "<",
    photometric: int | None = None,
    compression: int = 1,
    predictor: int = 1,
    planar: bool = False,
    tile: tuple[int, int] | None = None,
    strip_rows: int | None = None,
    extra: Sequence[int] = (),
    bits: int | None = None,
    big: bool = False,
    more: dict[int, tuple[str, Sequence[float] | bytes]] | None = None,
) -> bytes:
    """Return a TIFF of ``(H, W, C)`` samples.

    Args:
        values: unsigned or signed integers, or floats.
        order: the byte order, < or >.
        photometric: 2 for three colours, and 1 otherwise, if None.
        compression: 1 for none, or 8 for Deflate.
        predictor: 1 for none, 2 for integers, 3 for floats.
        planar: stores one channel after the other.
        tile: width and height of tiles, instead of strips.
        strip_rows: rows of each strip; all of them if None.
        extra: the kinds of the channels after the colours: 0 unspecified, 1 or 2 alpha.
        bits: bits per sample, if they are packed.
        big: writes a BigTIFF.
        more: further tags: type and values.
    """
    height, width, channels = values.shape
    n_bits = bits or values.dtype.itemsize * 8
    columns, rows = tile or (width, strip_rows or height)
    planes = [values[..., [index]] for index in range(channels)] if planar else [values]
    blocks = []
    for plane in planes:
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                block = plane[top : top + rows, left : left + columns]
                if tile:
                    missing = rows - block.shape[0], columns - block.shape[1]
                    block = np.pad(block, ((0, missing[0]), (0, missing[1]), (0, 0)))
                data = _packed(block, n_bits) if n_bits % 8 else _predicted(block, predictor, order)
                blocks.append(zlib.compress(data) if compression == 8 else data)
    sample_format = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    where, lengths = (324, 325) if tile else (273, 279)
    tags: dict[int, tuple[str, Sequence[float] | bytes]] = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [n_bits] * channels),
        259: ("H", [compression]),
        262: ("H", [photometric if photometric is not None else 2 if channels - len(extra) == 3 else 1]),
        277: ("H", [channels]),
        284: ("H", [2 if planar else 1]),
        317: ("H", [predictor]),
        339: ("H", [sample_format] * channels),
        where: ("I", [0] * len(blocks)),
        lengths: ("I", [len(block) for block in blocks]),
        **({322: ("I", [columns]), 323: ("I", [rows])} if tile else {278: ("I", [rows])}),
        **({338: ("H", list(extra))} if extra else {}),
        **(more or {}),
    }
    return _file(tags, blocks, where, order, big)


def _packed(block: np.ndarray, n_bits: int) -> bytes:
    """Pack samples without gaps, each row beginning with a whole byte."""
    rows = block.reshape(len(block), -1)
    texts = ("".join(f"{value:0{n_bits}b}" for value in row) for row in rows)
    padded = (text.ljust(-(-len(text) // 8) * 8, "0") for text in texts)
    return b"".join(int(text, 2).to_bytes(len(text) // 8, "big") for text in padded)


def _predicted(block: np.ndarray, predictor: int, order: str) -> bytes:
    if predictor == 3:
        rows, columns, channels = block.shape
        big_endian = np.ascontiguousarray(block, block.dtype.newbyteorder(">")).view(np.uint8)
        by_byte = big_endian.reshape(rows, columns * channels, -1).transpose(0, 2, 1).reshape(rows, -1, channels)
        return np.diff(by_byte, axis=1, prepend=np.zeros_like(by_byte[:, :1])).tobytes()
    if predictor == 2:
        block = np.diff(block, axis=1, prepend=np.zeros_like(block[:, :1]))
    return np.ascontiguousarray(block, block.dtype.newbyteorder(order)).tobytes()


def _file(
    tags: dict[int, tuple[str, Sequence[float] | bytes]], blocks: list[bytes], where: int, order: str, big: bool
) -> bytes:
    start, count, entry, inline, word = (16, "Q", 20, 8, "Q") if big else (8, "H", 12, 4, "I")
    magic = {"<": b"II", ">": b"MM"}[order]
    header = magic + struct.pack(f"{order}HHHQ", 43, 8, 0, 16) if big else magic + struct.pack(f"{order}HI", 42, 8)
    after = start + struct.calcsize(f"={count}") + entry * len(tags) + inline
    sizes = {tag: len(_stored(*value, order)) for tag, value in tags.items()}
    at = after + sum(size for size in sizes.values() if size > inline)
    offsets = []
    for block in blocks:
        offsets.append(at)
        at += len(block)
    tags = {**tags, where: ("I", offsets)}
    entries, elsewhere = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        stored = _stored(kind, values, order)
        entries += struct.pack(f"{order}HH{word}", tag, _TYPES[kind], len(values))
        if len(stored) > inline:
            entries += struct.pack(f"{order}{word}", after + len(elsewhere))
            elsewhere += stored
        else:
            entries += stored.ljust(inline, b"\0")
    return header + struct.pack(f"{order}{count}", len(tags)) + entries + bytes(inline) + elsewhere + b"".join(blocks)


def _stored(kind: str, values: Sequence[float] | bytes, order: str) -> bytes:
    return values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{kind}", *values)
