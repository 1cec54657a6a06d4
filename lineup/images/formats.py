"""Allowlist of image formats and their size limits; to add a format, add a line to FORMATS."""

from dataclasses import dataclass

from lineup.errors import unique_names


@dataclass(frozen=True)
class Format:
    """File suffixes and limits of a Pillow format; FORMATS is keyed by Pillow's format name.

    `max_megapixels` overrides limits.max_megapixels in two cases: upwards for a single-scan JPEG that is decoded at
    reduced size, and downwards for a run-length encoded BMP, which Pillow decodes byte by byte in Python.
    """

    suffixes: tuple[str, ...]
    max_megapixels: int | None = None


class UnreadableKind(Exception):
    """A file is whole, but of a kind that is not read.

    Args:
        got: what it is, as a clause: ``it is a HEIC image``.
        remedy: how to convert it.
    """

    def __init__(self, got: str, remedy: str) -> None:
        super().__init__(got, remedy)
        self.got, self.remedy = got, remedy


FORMATS = unique_names(
    "FORMATS",
    [
        ("JPEG", Format((".jpg", ".jpeg"), max_megapixels=200)),
        ("PNG", Format((".png",))),
        ("WEBP", Format((".webp",))),
        ("GIF", Format((".gif",))),
        ("BMP", Format((".bmp",), max_megapixels=4)),
        ("TIFF", Format((".tif", ".tiff"))),
        ("AVIF", Format((".avif",))),
        ("PPM", Format((".ppm", ".pgm", ".pbm", ".pnm"))),
    ],
)
SUFFIXES = tuple(suffix for known in FORMATS.values() for suffix in known.suffixes)
