"""The picture field, and which files a client may name in it."""

import os
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from lineup.errors import PictureError

def uploaded(path: object) -> Path:
    """Return the path of a file that was uploaded to this server.

    A client can put any path into an image field, so only what really lies in the upload
    folder is opened.

    Raises:
        PictureError: when there is no path, or it leads elsewhere.
    """
    if not isinstance(path, str) or not path:
        raise PictureError("picture: expected an uploaded file; there is none; send one")
    real, folder = Path(os.path.realpath(path)), Path(os.path.realpath(get_upload_folder()))
    if not real.is_relative_to(folder):
        raise PictureError("picture: expected an uploaded file; got a path of another place; upload the picture first")
    return real

class PictureInput(gr.Image):
    """An image field that hands on the file as it came.

    Gradio's own decodes it at full size, drops transparency, clips 16 bits to 8 and skips EXIF
    rotation in some cases; `lineup.pictures` does it right, once.
    """

    is_template = True  # tells Gradio to draw it as the gr.Image it is

    def preprocess(self, payload: Any) -> Path | None:
        return None if payload is None else uploaded(payload.path)
    from collections.abc import Callable, Sequence
    from typing import TYPE_CHECKING, Any, Literal

    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component
