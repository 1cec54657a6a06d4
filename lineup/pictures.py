"""Reads picture files: whatever comes in, an upright RGB picture or one clear error comes out."""

import os
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, UnidentifiedImageError

from lineup.errors import PictureError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
LONGEST = 20  # how many times longer than its other side a picture may be
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")

_ADVICE = f"use one of {', '.join(FORMATS)}"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_picture(path: str | os.PathLike[str], max_megapixels: int = 40, enough_px: int = 0) -> Image.Image:
    """Read the first frame of a picture file, upright, RGB, 8 bits, transparency over white.

    Args:
        path: the file.
        max_megapixels: how large it may be.
        enough_px: a JPEG may come out smaller, by 2, 4 or 8, as long as its shorter side keeps so many
            pixels: it is decoded in a fraction of the time. 0 asks for all of it.

    Raises:
        PictureError: when the file is missing, is no picture, is damaged, or is too large.
    """
    name = Path(path).name
    try:
        # Pillow raises nearly anything on damaged files (struct.error, SyntaxError, …): no list is complete
        with Image.open(path, formats=FORMATS) as picture:
            _check_size(picture, name, max_megapixels)
            if enough_px:
                picture.draft(None, (enough_px, enough_px))  # other formats ignore it
            picture.load()
            # Pillow's exif_transpose also writes the EXIF anew, and fails on tags that cameras get wrong
            turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
            return _rgb(picture if turn is None else picture.transpose(turn))
    except PictureError:
        raise
    except FileNotFoundError:
        raise PictureError(f"{name}: expected a picture; there is no such file; check the path") from None
    except UnidentifiedImageError:
        raise PictureError(f"{name}: expected a picture; this file is not one that can be read; {_ADVICE}") from None
    except Image.DecompressionBombError:
        raise PictureError(_too_large(name, "several times that", max_megapixels)) from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(
            f"{name}: expected a whole picture; it is damaged or cut off ({reason}); save or send it again"
        ) from None


def _check_size(picture: Image.Image, name: str, max_megapixels: int) -> None:
    short, long = sorted(picture.size)
    if long > LONGEST * short:  # resized until the shorter side fits, a thread of pixels fills the memory
        raise PictureError(
            f"{name}: expected sides of at most {LONGEST} to 1; got {long} × {short} pixels; cut a part out of it"
        )
    megapixels = picture.width * picture.height / 1e6  # from the header: nothing is decoded yet
    if megapixels > max_megapixels:
        size = f"{megapixels:.1f} ({picture.width} × {picture.height} pixels)"
        raise PictureError(_too_large(name, size, max_megapixels))


def _too_large(name: str, size: str, max_megapixels: int) -> str:
    return f"{name}: expected at most {max_megapixels} megapixels; got {size}; make it smaller and try again"


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture)
    if picture.has_transparency_data:
        # converted straight to RGB, the colours hidden under transparent pixels would show
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale wider greys to 8 bits: Pillow would clip them to white.

    Nothing in a file of floats or 32-bit integers says what white is, so the brightest value decides
    whether it was meant to be 1, 255, 65535 or itself.
    """
    extrema: Any = picture.getextrema()
    top = extrema[1]
    whites = (1, 255, 65535) if picture.mode == "F" else (65535,)
    scale = 255 / next((white for white in whites if top <= white), top)
    return picture.convert("F").point(lambda value: value * scale + 0).convert("L")
