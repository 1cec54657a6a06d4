"""Decodes untrusted image files to upright RGB images.

Pillow trusts the sizes and offsets in a file's headers. The limits here prevent a small file from exhausting
memory or taking minutes (decompression bombs); `tests/support/bad_images.py` generates such files.
"""

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from lineup.errors import ImageError, brief
from lineup.images import netpbm, open_jpeg, other_formats, samples, tiff, wide_png
from lineup.images.formats import FORMATS, UnreadableKind
from lineup.images.guards import FIRST_FRAME, TILE_LENGTH, TILE_WIDTH, MeteredFile, check_tags
from lineup.images.image_bytes import ImageBytes, ImageSource, name_of, size_of

MAX_ASPECT_RATIO = 20  # longer side : shorter side
MAX_SAMPLE_BYTES = 6  # per pixel at the limit of megapixels: 16-bit RGB; an image of more bytes has fewer pixels

_READERS = [f"FIRST {kind}" if kind in FIRST_FRAME else kind for kind in FORMATS]
_USE_KNOWN_FORMAT = f"use one of {', '.join(FORMATS)}"
_SMALLER = "make it smaller and try again"
_MAGIC = re.compile(rb"\x89PNG\r|GIF8|RIFF.{4}WEBP|.{4}ftypavi[fs]", re.DOTALL)  # of formats that are read
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


def open_image(source: ImageSource, max_megapixels: int = 40, min_side_px: int = 0, max_mb: int = 0) -> Image.Image:
    """Decode the first frame of an image file to upright 8-bit RGB, with transparency composited over white.

    Colour profiles are ignored, as in training pipelines, so that broken ones do no harm.

    Args:
        source: path of the file, or its content.
        max_megapixels: limit of the decoded size. A JPEG may have 200 megapixels if its reduced size is within it.
        min_side_px: allows a JPEG to be decoded at 1/2, 1/4 or 1/8 scale, in a fraction of the time, as long as its
            shorter side keeps this many pixels. 0 decodes at full resolution.
        max_mb: limit of the file size, in millions of bytes; 0 for no limit.

    Returns:
        The image; its ``info["notes"]`` says what was inferred, as a tuple of sentences.

    Raises:
        ImageError: when the file is missing, not an image, damaged or too large.
    """
    name = name_of(source)
    with _image_errors(source):
        _check_file_size(source, max_mb)
        with MeteredFile(source) as file:
            check_tags(file)
            image, orientation, notes = _decoded(file, name, max_megapixels, min_side_px)
            transpose = _TRANSPOSE.get(orientation)
            upright = image if transpose is None else image.transpose(transpose)
            upright.info = {"notes": notes}  # without the texts of the file, whose names it may choose
            return upright


def _decoded(
    file: MeteredFile, name: str, max_megapixels: int, min_side_px: int
) -> tuple[Image.Image, int, tuple[str, ...]]:
    """Return an image as it is stored, its EXIF orientation, and notes."""
    check = partial(_check_samples, name, max_megapixels)
    found = tiff.read(file, check) or netpbm.read(file, check)
    if found is None:
        file.seek(0)
        with Image.open(file, formats=_READERS) as opened:
            _draft(opened, file, name, max_megapixels, min_side_px)
            file.reads += 4 * opened.width * opened.height  # an RLE BMP is read byte by byte
            image = _loaded(opened, file, min_side_px)
            found = wide_png.read(file, image) if opened.format == "PNG" else None
            if found is None:
                # ImageOps.exif_transpose also rewrites the EXIF, and fails on malformed tags that cameras write
                return _rgb(image), image.getexif().get(ExifTags.Base.Orientation, 1), ()
    rgb, notes = samples.to_image(found)
    return rgb, found.orientation, notes


def _loaded(image: ImageFile.ImageFile, file: MeteredFile, min_side_px: int) -> Image.Image:
    """Decode an image; a JPEG may lack its end marker.

    Raises:
        OSError: when it is cut off, and others when it is damaged.
    """
    try:
        image.load()
        return image
    except OSError:
        if image.format != "JPEG":
            raise

        def load(content: BytesIO) -> ImageFile.ImageFile:
            again = Image.open(content, formats=_READERS)
            again.draft(None, (min_side_px, min_side_px)) if min_side_px else None
            again.load()
            return again

        file.seek(0)
        if whole := open_jpeg.read(file.read(), load):
            return whole
        raise


def read_file(source: ImageSource, max_mb: int = 0) -> bytes:
    """Return the content of an image file as it is, for a process that decodes it.

    Args:
        source: path of the file, or its content.
        max_mb: as for `open_image`.

    Raises:
        ImageError: when the file is missing or too large.
    """
    with _image_errors(source):
        _check_file_size(source, max_mb)
        return source.content if isinstance(source, ImageBytes) else Path(source).read_bytes()


def _check_file_size(source: ImageSource, max_mb: int) -> None:
    size_mb = size_of(source) / 1e6
    if 0 < max_mb < size_mb:
        raise ImageError(name_of(source), f"at most {max_mb} MB", f"got {size_mb:.1f}", _SMALLER)


def check_header(source: ImageSource) -> None:
    """Check that a file begins as an image does; `open_image` may find it damaged or too large nevertheless.

    Raises:
        ImageError: when it does not.
    """
    with _image_errors(source), MeteredFile(source) as file:
        check_tags(file)
        if not (tiff.is_read(file) or netpbm.is_read(file)):
            file.seek(0)
            with Image.open(file, formats=_READERS):
                pass


def exif_of(source: ImageSource) -> dict[int, Any]:
    """Return the EXIF tags of a JPEG, with those of the shot; empty if it has none, or they are malformed.

    Other formats may have to be decoded for theirs.
    """
    with suppress(Exception), MeteredFile(source) as file, Image.open(file, formats=("JPEG",)) as image:
        exif = image.getexif()
        return {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    return {}


@contextmanager
def _image_errors(source: ImageSource) -> Iterator[None]:
    """Translate any exception of a file's reading into an `ImageError`."""
    name = name_of(source)
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(name, "an image", "there is no such file", "check the path") from None
    except UnreadableKind as kind:
        raise ImageError(name, "an image", kind.got, kind.remedy) from None
    except Exception as error:  # on damaged files Pillow raises almost any: struct.error, SyntaxError, …
        if found := _kind(source, error):
            raise ImageError(name, "an image", found.got, found.remedy) from None
        # the message of an OSError would reveal the folder
        reason = getattr(error, "strerror", None) or brief(error, max_chars=1000)
        if isinstance(error, UnidentifiedImageError):
            reason = "its header cannot be read"
        raise ImageError(
            name, "a whole image", f"it is damaged or cut off ({reason})", "save or send it again"
        ) from None


def _kind(source: ImageSource, error: Exception) -> UnreadableKind | None:
    """Return what a file is instead of a damaged image."""
    if isinstance(error, OSError) and error.errno is not None:  # it could not be read at all
        return None
    with MeteredFile(source) as file:
        head = file.read(other_formats.N_BYTES)
        found = other_formats.recognized(head)
        if found or not isinstance(error, UnidentifiedImageError) or _MAGIC.match(head):
            return found
        return tiff.kind(file) or UnreadableKind("this file is not one that can be read", _USE_KNOWN_FORMAT)


def _draft(image: ImageFile.ImageFile, file: MeteredFile, name: str, max_megapixels: int, min_side_px: int) -> None:
    """Set the decoding scale of a JPEG, and reject images over the limits before decoding."""
    size, limit = image.size, max_megapixels
    _check_aspect_ratio(size, name)
    known = FORMATS.get(image.format or "")
    format_limit = known.max_megapixels if known and known.max_megapixels else limit
    if image.format == "JPEG":
        if _is_single_scan(image, file):
            limit = max(limit, format_limit) if min_side_px else limit
        elif file.content().count(b"\xff\xda") > _MAX_SCANS:
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


def _check_aspect_ratio(size: tuple[int, int], name: str) -> None:
    short, long = sorted(size)
    if long > MAX_ASPECT_RATIO * short:  # resizing by the shorter side would exhaust memory
        raise ImageError(name, f"sides of at most {MAX_ASPECT_RATIO} to 1", f"got {long} × {short} pixels", "crop it")


def _check_samples(name: str, max_megapixels: int, size: tuple[int, int], n_bytes: int, is_part: bool = False) -> None:
    """Reject an image, or a tile of one, with samples of so many bytes over the limits."""
    if not is_part:
        _check_aspect_ratio(size, name)
    _check_megapixels(size, size, name, max_megapixels)
    pixels = size[0] * size[1]
    if n_bytes > MAX_SAMPLE_BYTES * max_megapixels * 1e6:
        limit = MAX_SAMPLE_BYTES * max_megapixels * pixels / n_bytes
        expected = f"at most {limit:.0f} megapixels of {n_bytes / pixels:.0f} bytes each"
        raise ImageError(name, expected, f"got {pixels / 1e6:.1f} ({size[0]} × {size[1]} pixels)", _SMALLER)


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        # a direct conversion to RGB would reveal the colours of transparent pixels
        image = image.convert("RGBA")
        background = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(background, image)
    return image.convert("RGB")
