"""Decodes untrusted image files to upright RGB images.

Pillow trusts the sizes and offsets in a file's headers. The limits here prevent a small file from exhausting
memory or taking minutes (decompression bombs); `tests/support/bad_images.py` generates such files.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from lineup.errors import ImageError, brief
from lineup.images.formats import FORMATS
from lineup.images.guards import FIRST_FRAME, TILE_LENGTH, TILE_WIDTH, MeteredFile, check_tags

MAX_ASPECT_RATIO = 20  # longer side : shorter side

_READERS = [f"FIRST {kind}" if kind in FIRST_FRAME else kind for kind in FORMATS]
_USE_KNOWN_FORMAT = f"use one of {', '.join(FORMATS)}"
_SMALLER = "make it smaller and try again"
_MAX_SCANS = 100  # of a progressive JPEG, each a pass over all pixels; encoders write about ten
_TRANSPOSE = {  # EXIF orientation → transposition that makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(
    path: str | os.PathLike[str], max_megapixels: int = 40, min_side_px: int = 0, max_mb: int = 0
) -> Image.Image:
    """Decode the first frame of an image file to upright 8-bit RGB, with transparency composited over white.

    Colour profiles are ignored, as in training pipelines, so that broken ones do no harm.

    Args:
        path: path of the file.
        max_megapixels: limit of the decoded size. A JPEG may have 200 megapixels if its reduced size is within it.
        min_side_px: allows a JPEG to be decoded at 1/2, 1/4 or 1/8 scale, in a fraction of the time, as long as its
            shorter side keeps this many pixels. 0 decodes at full resolution.
        max_mb: limit of the file size, in millions of bytes; 0 for no limit.

    Raises:
        ImageError: when the file is missing, not an image, damaged or too large.
    """
    name = Path(path).name
    with _image_errors(name):
        size_mb = Path(path).stat().st_size / 1e6
        if 0 < max_mb < size_mb:
            raise ImageError(name, f"at most {max_mb} MB", f"got {size_mb:.1f}", _SMALLER)
        with MeteredFile(path) as file:
            check_tags(file)
            with Image.open(file, formats=_READERS) as image:
                _draft(image, file, name, max_megapixels, min_side_px)
                file.reads += 4 * image.width * image.height  # an RLE BMP is read byte by byte
                image.load()
                # ImageOps.exif_transpose also rewrites the EXIF, and fails on malformed tags that cameras write
                transpose = _TRANSPOSE.get(image.getexif().get(ExifTags.Base.Orientation, 1))
                return _rgb(image if transpose is None else image.transpose(transpose))


def check_header(path: str | os.PathLike[str]) -> None:
    """Check that a file begins as an image does; `open_image` may find it damaged or too large nevertheless.

    Raises:
        ImageError: when it does not.
    """
    with _image_errors(Path(path).name), MeteredFile(path) as file:
        check_tags(file)
        with Image.open(file, formats=_READERS):
            pass


@contextmanager
def _image_errors(name: str) -> Iterator[None]:
    """Translate any exception of a file's reading into an `ImageError`."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(name, "an image", "there is no such file", "check the path") from None
    except UnidentifiedImageError:
        raise ImageError(name, "an image", "this file is not one that can be read", _USE_KNOWN_FORMAT) from None
    except Exception as error:  # on damaged files Pillow raises almost any: struct.error, SyntaxError, …
        # the message of an OSError would reveal the folder
        reason = getattr(error, "strerror", None) or brief(error, max_chars=1000)
        raise ImageError(
            name, "a whole image", f"it is damaged or cut off ({reason})", "save or send it again"
        ) from None


def _draft(image: ImageFile.ImageFile, file: BinaryIO, name: str, max_megapixels: int, min_side_px: int) -> None:
    """Set the decoding scale of a JPEG, and reject images over the limits before decoding."""
    size, limit = image.size, max_megapixels
    short, long = sorted(size)
    if long > MAX_ASPECT_RATIO * short:  # resizing by the shorter side would exhaust memory
        raise ImageError(name, f"sides of at most {MAX_ASPECT_RATIO} to 1", f"got {long} × {short} pixels", "crop it")
    known = FORMATS.get(image.format or "")
    format_limit = known.max_megapixels if known and known.max_megapixels else limit
    if image.format == "JPEG":
        if _is_single_scan(image, file):
            limit = max(limit, format_limit) if min_side_px else limit
        elif Path(file.name).read_bytes().count(b"\xff\xda") > _MAX_SCANS:
            raise ValueError("it has more scans than an image needs")
    elif image.format == "BMP" and image.info["compression"] in (1, 2):
        limit = min(limit, format_limit)
    tags = getattr(image, "tag_v2", {})
    tile = tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1)  # of a TIFF; tiles are decoded whole
    _check_megapixels(tile, tile, name, limit)
    _check_megapixels(size, size, name, limit)
    if min_side_px:
        image.draft(None, (min_side_px, min_side_px))  # a no-op for other formats
    _check_megapixels(image.size, size, name, max_megapixels)


def _is_single_scan(image: ImageFile.ImageFile, file: BinaryIO) -> bool:
    """Return whether a JPEG can be decoded row by row; with several scans libjpeg buffers all coefficients."""
    if image.info.get("progressive"):
        return False
    components = len(image.getbands())
    file.seek(-6 - 2 * components, os.SEEK_CUR)  # Pillow has just read the header of the first scan
    return file.read(3) == struct.pack(">HB", 6 + 2 * components, components)


def _check_megapixels(decoded: tuple[int, int], size: tuple[int, int], name: str, limit: int) -> None:
    if decoded[0] * decoded[1] > limit * 1e6:
        got = f"{size[0] * size[1] / 1e6:.1f} ({size[0]} × {size[1]} pixels)"
        raise ImageError(name, f"at most {limit} megapixels", f"got {got}", _SMALLER)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.has_transparency_data:
        # a direct conversion to RGB would reveal the colours of transparent pixels
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(background, image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale greyscale of more than 8 bits to 8 bits, where Pillow would clip.

    Float and 32-bit integer files do not define white, so it is inferred from the maximum value:
    the smallest of 1, 255 and 65535 (integers: 65535) that is not below it, else the maximum itself.
    """
    extrema: Any = image.getextrema()
    maximum = extrema[1]
    whites = (1, 255, 65535) if image.mode == "F" else (65535,)
    scale = 255 / next((white for white in whites if maximum <= white), maximum)
    return image.convert("F").point(lambda value: value * scale + 0).convert("L")
