"""The picture field, and which files a client may name in it."""

import os
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils
from gradio.exceptions import InvalidPathError
from gradio.utils import get_upload_folder
from gradio_client.utils import is_http_url_like

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
    if not real.is_relative_to(folder) or not real.is_file():
        raise PictureError(_ELSEWHERE)
    return real


_ELSEWHERE = "picture: expected an uploaded file; got a path of another place; upload the picture first"
_gradios_check = processing_utils._check_allowed


def _check_allowed(path: str | Path, check_in_upload_folder: bool) -> None:
    try:
        _gradios_check(path, check_in_upload_folder)
    except InvalidPathError:
        if not check_in_upload_folder:
            raise
        raise gr.Error(_ELSEWHERE, print_exception=False) from None


# Gradio looks at paths before any function of ours: the client would be told nothing, and the log a traceback.
processing_utils._check_allowed = _check_allowed


def refuse_addresses(part: Any) -> None:
    """Let a part take files that were uploaded, but fetch nothing: Gradio would, before any function of ours is called.

    Where a file lies when it is handed on is not its business either: `uploaded` looks.
    """

    async def stay(path: str | Path | None) -> str | None:
        if is_http_url_like(str(path)):
            raise gr.Error(
                "picture: expected an uploaded file; got an address, and nothing is fetched here; upload the picture",
                print_exception=False,
            )
        return None if path is None else str(path)

    part.async_move_resource_to_block_cache = stay


def picture_field(**settings: Any) -> gr.Image:
    """Make an image field that hands on the path of the file as it came.

    Gradio's own preprocessing decodes it at full size, drops transparency, clips 16 bits to 8 and skips
    EXIF rotation in some cases; `lineup.pictures` does it right, once. (A subclass of gr.Image would do
    as well, but Gradio writes a .pyi file beside each one.)
    """
    field = gr.Image(type="filepath", **settings)
    field.preprocess = _preprocess
    return field


def _preprocess(payload: Any) -> Path | None:
    try:
        return None if payload is None else uploaded(payload.path)
    except PictureError as error:
        raise gr.Error(escape(str(error)), print_exception=False) from None
