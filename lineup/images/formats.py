"""Which image formats may be opened, and the bounds of each: a fork adds a format as one line of FORMATS."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """A format that Pillow reads, by the name that Pillow has for it.

    `max_megapixels` replaces limits.max_megapixels in one case: for a JPEG in a single scan, of which only a part
    is decoded; and for a run-length encoded BMP, which Pillow decodes byte by byte in Python.
    """

    suffixes: tuple[str, ...]
    max_megapixels: int | None = None


FORMATS: dict[str, Format] = {
    "JPEG": Format((".jpg", ".jpeg"), max_megapixels=200),
    "PNG": Format((".png",)),
    "WEBP": Format((".webp",)),
    "GIF": Format((".gif",)),
    "BMP": Format((".bmp",), max_megapixels=4),
    "TIFF": Format((".tif", ".tiff")),
    "AVIF": Format((".avif",)),
}
SUFFIXES = tuple(suffix for each in FORMATS.values() for suffix in each.suffixes)
