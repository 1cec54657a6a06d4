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
    ],
)
SUFFIXES = tuple(suffix for known in FORMATS.values() for suffix in known.suffixes)
