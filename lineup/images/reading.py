"""Reads image files: whatever comes in, an upright RGB image or one clear error comes out.

The files are strangers', and Pillow believes what their headers say. The bounds here keep a small file from filling
the memory or taking minutes; `tests/support/bad_images.py` makes such files.
"""

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from lineup.errors import ImageError, brief
from lineup.images.formats import FORMATS
from lineup.images.guards import FIRST_FRAME, TILE_LENGTH, TILE_WIDTH, MeteredFile, check_tags

MAX_ASPECT_RATIO = 20  # how many times longer than its other side an image may be

_ADVICE = f"use one of {', '.join(FORMATS)}"
_SMALLER = "make it smaller and try again"
_MAX_SCANS = 100  # of a JPEG, each a pass over all its pixels; honest ones have about ten
_TURNS = {
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
    """Read the first frame of an image file, upright, RGB, 8 bits, transparency over white.

    Colour profiles are ignored, as training pipelines do: broken ones do no harm.

    Args:
        path: the file.
        max_megapixels: how large it may be. A JPEG may have 200 if what is decoded of it keeps to this.
        min_side_px: a JPEG may come out smaller, by 2, 4 or 8, as long as its shorter side keeps so many
            pixels: it is decoded in a fraction of the time. 0 asks for all of it.
        max_mb: how long the file may be, in millions of bytes; 0 for any length.

    Raises:
        ImageError: when the file is missing, is no image, is damaged, or is too large.
    """
    name = Path(path).name
    try:
        size_mb = Path(path).stat().st_size / 1e6
        if 0 < max_mb < size_mb:
            raise ImageError(name, f"at most {max_mb} MB", f"got {size_mb:.1f}", _SMALLER)
        # Pillow raises nearly anything on damaged files (struct.error, SyntaxError, …): no list is complete
        with MeteredFile(path) as file:
            check_tags(file)
            with Image.open(
                file, formats=[f"FIRST {kind}" if kind in FIRST_FRAME else kind for kind in FORMATS]
            ) as image:
                _draft(image, file, name, max_megapixels, min_side_px)
                file.reads += 4 * image.width * image.height  # a run-length encoded BMP is read byte by byte
                image.load()
                # Pillow's exif_transpose also writes the EXIF anew, and fails on tags that cameras get wrong
                turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
                return _rgb(image if turn is None else image.transpose(turn))
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(name, "an image", "there is no such file", "check the path") from None
    except UnidentifiedImageError:
        raise ImageError(name, "an image", "this file is not one that can be read", _ADVICE) from None
    except Exception as error:
        # an OSError's text would name the folder
        reason = getattr(error, "strerror", None) or brief(error, most=1000)
        raise ImageError(
            name, "a whole image", f"it is damaged or cut off ({reason})", "save or send it again"
        ) from None


def _draft(image: ImageFile.ImageFile, file: BinaryIO, name: str, max_megapixels: int, min_side_px: int) -> None:
    """Set how far a JPEG is decoded; refuse what is too large, before anything is decoded."""
    size, most = image.size, max_megapixels
    short, long = sorted(size)
    if long > MAX_ASPECT_RATIO * short:  # resized until the shorter side fits, a thread of pixels fills the memory
        raise ImageError(
            name, f"sides of at most {MAX_ASPECT_RATIO} to 1", f"got {long} × {short} pixels", "cut a part out of it"
        )
    known = FORMATS.get(image.format or "")
    bound = known.max_megapixels if known and known.max_megapixels else most
    if image.format == "JPEG":
        if _in_one_scan(image, file):
            most = max(most, bound) if min_side_px else most
        elif Path(file.name).read_bytes().count(b"\xff\xda") > _MAX_SCANS:
            raise ValueError("it has more scans than an image needs")
    elif image.format == "BMP" and image.info["compression"] in (1, 2):
        most = min(most, bound)
    tags = getattr(image, "tag_v2", {})
    tile = tags.get(TILE_WIDTH, 1), tags.get(TILE_LENGTH, 1)  # of a TIFF: each is decoded whole
    _check_megapixels(tile, tile, name, most)
    _check_megapixels(size, size, name, most)
    if min_side_px:
        image.draft(None, (min_side_px, min_side_px))  # other formats ignore it
    _check_megapixels(image.size, size, name, max_megapixels)


def _in_one_scan(image: ImageFile.ImageFile, file: BinaryIO) -> bool:
    """Tell whether a JPEG is decoded row by row; of one in several scans libjpeg keeps all coefficients."""
    if image.info.get("progressive"):
        return False
    components = len(image.getbands())
    file.seek(-6 - 2 * components, os.SEEK_CUR)  # Pillow has just read the header of the first scan
    return file.read(3) == struct.pack(">HB", 6 + 2 * components, components)


def _check_megapixels(decoded: tuple[int, int], size: tuple[int, int], name: str, most: int) -> None:
    if decoded[0] * decoded[1] > most * 1e6:
        got = f"{size[0] * size[1] / 1e6:.1f} ({size[0]} × {size[1]} pixels)"
        raise ImageError(name, f"at most {most} megapixels", f"got {got}", _SMALLER)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.has_transparency_data:
        # converted straight to RGB, the colours hidden under transparent pixels would show
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale wider greys to 8 bits: Pillow would clip them to white.

    Nothing in a file of floats or 32-bit integers says what white is, so the brightest value decides
    whether it was meant to be 1, 255, 65535 or itself.
    """
    extrema: Any = image.getextrema()
    top = extrema[1]
    whites = (1, 255, 65535) if image.mode == "F" else (65535,)
    scale = 255 / next((white for white in whites if top <= white), top)
    return image.convert("F").point(lambda value: value * scale + 0).convert("L")
