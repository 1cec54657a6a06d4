"""Reads picture files: whatever comes in, an upright RGB picture or one clear error comes out."""

import os
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from lineup.errors import PictureError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
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


def open_picture(path: str | os.PathLike[str], max_megapixels: int = 40) -> Image.Image:
    """Read the first frame of a picture file, upright, RGB, 8 bits, transparency over white.

    Raises:
        PictureError: when the file is missing, is no picture, is damaged, or is too large.
    """
    name = Path(path).name
    try:
        # Pillow raises nearly anything on damaged files (struct.error, SyntaxError, …): no list is complete
        with Image.open(path, formats=FORMATS) as picture:
            _check_size(picture, name, max_megapixels)
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
        raise PictureError(_too_large(name, "far more", max_megapixels)) from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PictureError(
            f"{name}: expected a whole picture; it is damaged or cut off ({reason}); save or send it again"
        ) from None


def _check_size(picture: Image.Image, name: str, max_megapixels: int) -> None:
    megapixels = picture.width * picture.height / 1e6  # from the header: nothing is decoded yet
    if megapixels > max_megapixels:
        size = f"{picture.width} × {picture.height} = {megapixels:.0f}"
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
    """Scale 16-bit greys (0 to 65535), and floats of 0 to 1, to 8 bits; Pillow would clip them to white."""
    scale = 255.0 if picture.mode == "F" else 1 / 257
    return picture.convert("F").point(lambda value: value * scale + 0).convert("L")
