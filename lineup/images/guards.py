"""Bounds what a file can make Pillow do before its size is known."""

import io
import os
import struct
import warnings
from typing import Any, BinaryIO

from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

_HEADER_READS = 1000  # honest headers need some hundred
_MAX_EXIF_BYTES = 2**16  # a JPEG's segment holds no more
_MAX_TAG_VALUES = 2**16  # in one tag of a TIFF: the offset of each row, say
# how a TIFF starts → how it says where its tags are, how many, and of each: which, its type, its length
_TIFF = {
    b"II*\0": ("<4xL", "<H", "<HHL4x"),
    b"MM\0*": (">4xL", ">H", ">HHL4x"),
    b"II+\0": ("<8xQ", "<Q", "<HHQ8x"),
}
_STRIPS, _COLORS, TILE_WIDTH, TILE_LENGTH, _TILES = 273, 320, 322, 323, 324  # tags of it


class _Gif(GifImagePlugin.GifImageFile):
    """A GIF of which only the first frame is wanted: to wipe it, Pillow makes room while it opens the file."""

    dispose_extent = property(lambda self: None, lambda self, extent: None)


class _Png(PngImagePlugin.PngImageFile):
    """The same of a PNG: 100 bytes could claim gigabytes, before anybody can ask for the size."""

    dispose_op = property(lambda self: None, lambda self, disposal: None)


def _load_exif(exif: Image.Exif, data: bytes, load: Any = Image.Exif.load) -> None:
    """Ignore EXIF that is too long: thousands of tags can claim the same bytes, and Pillow copies them for each."""
    load(exif, data if len(data) <= _MAX_EXIF_BYTES else b"")


FIRST_FRAME = {"JPEG": JpegImagePlugin.JpegImageFile, "PNG": _Png, "GIF": _Gif}  # of several frames


class MeteredFile(io.BufferedReader):
    """An image file that can be read only so often: lengths and offsets that lie make Pillow go in circles."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(io.FileIO(path))
        self.reads, self.bytes = _HEADER_READS, 5 * os.fstat(self.fileno()).st_size + 2**16

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.reads, self.bytes = self.reads - 1, self.bytes - len(data)
        if self.reads < 0 or self.bytes < 0:
            raise ValueError("it has more parts than an image needs")
        return data


def check_tags(file: BinaryIO) -> None:
    """Refuse a TIFF with tags that repeat (libtiff believes the first, Pillow the last) or hold endless numbers."""
    head = file.read(16)
    if not head.startswith((b"II", b"MM")):
        return
    if head[:4] not in _TIFF:
        raise UnidentifiedImageError
    where, count, entry = (struct.Struct(layout) for layout in _TIFF[head[:4]])
    file.seek(where.unpack_from(head)[0])
    entries = file.read(entry.size * min(*count.unpack(file.read(count.size)), _HEADER_READS))
    tags = {tag: (kind, length) for tag, kind, length in entry.iter_unpack(entries)}
    opaque = (1, 2, 7)  # types that Pillow keeps as they are
    if len(tags) * entry.size < len(entries) or any(
        (length > _MAX_TAG_VALUES and (kind not in opaque or tag in (_STRIPS, _TILES, _COLORS)))
        or (kind not in (3, 4, 16) and tag in (TILE_WIDTH, TILE_LENGTH))
        for tag, (kind, length) in tags.items()
    ):
        raise ValueError("its tags are not those of an image")


Image.MAX_IMAGE_PIXELS = None  # the limit is the caller's
Image.Exif.load = _load_exif  # type: ignore[assignment, method-assign]  # some formats read it while they are opened
for _kind, _reader in FIRST_FRAME.items():
    Image.register_open(f"FIRST {_kind}", _reader, Image.OPEN[_kind][1])
warnings.filterwarnings("ignore", module=r"PIL\.")  # what is wrong with a file is told to whoever sent it
