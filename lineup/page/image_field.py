"""The image component, and the check of the paths that clients send to it."""

import os
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from lineup.errors import ImageError
from lineup.hub import atomic_write


def resolve_upload(path: object) -> Path:
    """Return the resolved path of an uploaded file.

    A client can send any path. It is resolved first, symbolic links included, and only a file inside Gradio's
    upload folder is accepted.

    Raises:
        ImageError: there is no path, it is outside the upload folder, or the file has been removed.
    """
    if not isinstance(path, str) or not path:
        raise ImageError("image", "an uploaded file", "got none", "send one")
    with suppress(ValueError):  # a path with a null byte
        real, folder = Path(os.path.realpath(path)), Path(os.path.realpath(get_upload_folder()))
        if real.is_relative_to(folder):
            if real.is_file():
                with suppress(OSError):
                    os.utime(real)  # old uploads are removed by their last use
                return real
            raise ImageError("image", "an uploaded file", "it is no longer on the server", "upload it again")
    raise ImageError("image", "an uploaded file", "got a path outside the upload folder", "upload the image first")


def copy_to_uploads(image: Path, sha256: str) -> Path:
    """Copy an image of another page to the upload folder, as if it had been uploaded, and return its path there.

    Args:
        image: the file.
        sha256: the hash of its content: the same image is copied once.

    Raises:
        ImageError: when it cannot be copied.
    """
    path = Path(get_upload_folder()) / sha256 / f"{sha256[:16]}{image.suffix.lower()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            atomic_write.write_bytes(path, image.read_bytes())
        os.utime(path)  # old uploads are removed
    except OSError as error:
        got = f"it cannot be copied ({error.strerror})"
        raise ImageError(image.name, "an image of this evaluation", got, "run the evaluation again") from error
    return path


def image_field(**settings: Any) -> gr.Image:
    """Create an image component that passes on the path of the uploaded file, unprocessed.

    Gradio's preprocessing decodes at full size, drops transparency, clips 16 bits to 8 and skips EXIF rotation
    in some cases; `lineup.images.reading` decodes instead. Not a subclass of gr.Image, since Gradio writes a
    .pyi file next to each subclass.
    """
    field = gr.Image(type="filepath", **settings)
    skip_preprocessing(field)
    return field


def skip_preprocessing(field: gr.Image) -> None:
    """Replace an image component's preprocessing: pass on the path of the uploaded file."""
    field.preprocess = _preprocess


def _preprocess(payload: Any) -> Path | None:
    try:
        return None if payload is None else resolve_upload(payload.path)
    except ImageError as error:
        raise gr.Error(escape(str(error)), print_exception=False) from None
