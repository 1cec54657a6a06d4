"""The image field, and which files a client may name in it."""

import os
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from lineup.errors import ImageError


def uploaded(path: object) -> Path:
    """Return the path of a file that was uploaded to this server.

    A client can put any path into an image field, so only what really lies in the upload
    folder is opened.

    Raises:
        ImageError: when there is no path, or it leads elsewhere.
    """
    if not isinstance(path, str) or not path:
        raise ImageError("image", "an uploaded file", "there is none", "send one")
    with suppress(ValueError):  # a path with a zero in it
        real, folder = Path(os.path.realpath(path)), Path(os.path.realpath(get_upload_folder()))
        if real.is_relative_to(folder) and real.is_file():
            return real
    raise ImageError("image", "an uploaded file", "got a path of another place", "upload the image first")


def image_field(**settings: Any) -> gr.Image:
    """Make an image field that hands on the path of the file as it came.

    Gradio's own preprocessing decodes it at full size, drops transparency, clips 16 bits to 8 and skips
    EXIF rotation in some cases; `lineup.images.reading` does it right, once. (A subclass of gr.Image would do
    as well, but Gradio writes a .pyi file beside each one.)
    """
    field = gr.Image(type="filepath", **settings)
    hand_on_the_file(field)
    return field


def hand_on_the_file(field: gr.Image) -> None:
    """Let an image field hand on the path of the file as it came."""
    field.preprocess = _preprocess


def _preprocess(payload: Any) -> Path | None:
    try:
        return None if payload is None else uploaded(payload.path)
    except ImageError as error:
        raise gr.Error(escape(str(error)), print_exception=False) from None
