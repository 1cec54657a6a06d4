"""Bounds the work and memory that a malicious file can cost Pillow before its size is known.

These settings and readers of Pillow 12.3 are global to the process. Each answers one kind of file that
tests/support/bad_images.py generates. `python benchmarks/patches.py 2 frames exif`: one such PNG takes 63 MB instead of
3.2 GB to open, and one such WebP 62 MB and 1 ms instead of 5.9 GB and 9 s.

- An animated PNG or GIF allocates the frame that its headers declare before its size can be checked
  (PIL/PngImagePlugin.py:964, PIL/GifImagePlugin.py:366): readers without frame disposal. Where Pillow names these
  attributes otherwise, the readers are Pillow's own.
- EXIF with thousands of tags of the same bytes is copied for each tag (PIL/Image.py:4135, `Exif.load`).
- Pillow warns of images of 89 megapixels and rejects twice as many, whatever the config allows (PIL/Image.py:3565).
"""

import inspect
import io
import logging
import struct
import warnings
from typing import BinaryIO

from PIL import GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from lineup.images.image_bytes import ImageBytes, ImageSource, size_of

_log = logging.getLogger(__name__)

_MAX_HEADER_READS = 1000  # valid headers need a few hundred
_MAX_EXIF_BYTES = 2**16  # the size limit of a JPEG segment
_MAX_TAG_VALUES = 2**16  # per TIFF tag, such as one offset per row
# TIFF magic → struct layouts of the IFD offset, the entry count, and an entry (tag, type, number of values)
_TIFF_LAYOUTS = {
    b"II*\0": ("<4xL", "<H", "<HHL4x"),
    b"MM\0*": (">4xL", ">H", ">HHL4x"),
    b"II+\0": ("<8xQ", "<Q", "<HHQ8x"),
}
_STRIPS, _COLORS, TILE_WIDTH, TILE_LENGTH, _TILES = 273, 320, 322, 323, 324  # TIFF tags


class _Gif(GifImagePlugin.GifImageFile):
    """GIF reader without frame disposal, for which Pillow allocates memory while it opens the file."""

    dispose_extent = property(lambda self: None, lambda self, extent: None)


class _Png(PngImagePlugin.PngImageFile):
    """PNG reader without frame disposal: 100 bytes could allocate gigabytes before the size can be checked."""

    dispose_op = property(lambda self: None, lambda self, disposal: None)


def _limit_exif() -> None:
    """Ignore oversized EXIF, which some formats load when they are opened; log it if this Pillow loads it otherwise."""
    load = Image.Exif.load
    if list(inspect.signature(load).parameters) != ["self", "data"]:
        _log.warning("this version of Pillow loads EXIF differently: oversized EXIF of images is not ignored")
        return

    def load_limited(self: Image.Exif, data: bytes) -> None:
        load(self, data if len(data) <= _MAX_EXIF_BYTES else b"")

    Image.Exif.load = load_limited  # type: ignore[method-assign]


FIRST_FRAME = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": _Png,
    "GIF": _Gif,
}  # readers of multi-frame formats, for the first frame only


class MeteredFile(io.BufferedReader):
    """Image file with a budget of reads and bytes: forged lengths and offsets make Pillow loop."""

    def __init__(self, image: ImageSource) -> None:
        # BufferedReader reads from a BytesIO as it does from a raw file
        super().__init__(io.BytesIO(image.content) if isinstance(image, ImageBytes) else io.FileIO(image))
        self.reads, self.bytes = _MAX_HEADER_READS, 5 * size_of(image) + 2**16

    def content(self) -> bytes:
        """Return the whole file, whatever is left of the budget; the position is lost."""
        self.seek(0)
        return super().read()

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.reads, self.bytes = self.reads - 1, self.bytes - len(data)
        if self.reads < 0 or self.bytes < 0:
            raise ValueError("it has more parts than an image needs")
        return data


def check_tags(file: BinaryIO) -> None:
    """Reject a TIFF with duplicate tags (libtiff uses the first, Pillow the last) or with tags of too many values.

    Raises:
        UnidentifiedImageError: for an unknown TIFF variant.
        ValueError: for invalid tags.
    """
    header = file.read(16)
    if not header.startswith((b"II", b"MM")):
        return
    if header[:4] not in _TIFF_LAYOUTS:
        raise UnidentifiedImageError
    offset, count, entry = (struct.Struct(layout) for layout in _TIFF_LAYOUTS[header[:4]])
    file.seek(offset.unpack_from(header)[0])
    entries = file.read(entry.size * min(*count.unpack(file.read(count.size)), _MAX_HEADER_READS))
    tags = {tag: (kind, length) for tag, kind, length in entry.iter_unpack(entries)}
    opaque = (1, 2, 7)  # types that Pillow does not convert
    if len(tags) * entry.size < len(entries) or any(
        (length > _MAX_TAG_VALUES and (kind not in opaque or tag in (_STRIPS, _TILES, _COLORS)))
        or (kind not in (3, 4, 16) and tag in (TILE_WIDTH, TILE_LENGTH))
        for tag, (kind, length) in tags.items()
    ):
        raise ValueError("its tags are not those of an image")


# Pillow's bound rejects images that a config allows, and does not state their size; open_image enforces the config's.
Image.MAX_IMAGE_PIXELS = None
_limit_exif()
for _kind, _reader in FIRST_FRAME.items():
    Image.register_open(f"FIRST {_kind}", _reader, Image.OPEN[_kind][1])
warnings.filterwarnings("ignore", module=r"PIL\.")  # problems of a file are reported to the client, not logged
