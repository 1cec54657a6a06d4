"""Looks at what a client sent before Gradio does: which files it names, and whether an error says something."""

import functools
import logging
from typing import Any
from urllib.parse import unquote

import gradio as gr

from lineup.errors import ImageError, brief
from lineup.page.image_field import hand_on_the_file, uploaded

_log = logging.getLogger(__name__)

_ADDRESS = "image: expected an uploaded file; got an address, and nothing is fetched here; upload the image"
_ODD = "request: expected the fields of this endpoint; got others; see /gradio_api/info"


def guard(demo: gr.Blocks) -> None:
    """Let all events of a page, public and private, take uploaded files only, and fail with a sentence.

    Gradio makes a part anew for a visitor once its settings change, so what is set on a part does not last; and it
    fetches addresses and copies files before a function of ours is called.
    """
    preprocess, process = demo.preprocess_data, demo.process_api

    @functools.wraps(preprocess)
    async def preprocess_data(block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False) -> Any:
        for part, value in zip(block_fn.inputs, inputs, strict=False):
            _check(value)
            now = state[part._id] if state is not None and not part.stateful and part._id in state else part
            if isinstance(now, gr.Image):
                hand_on_the_file(now)
        return await preprocess(block_fn, inputs, state, explicit_call)

    @functools.wraps(process)
    async def process_api(*args: Any, **kwargs: Any) -> Any:
        try:
            return await process(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:  # ours are gr.Error by now: this is Gradio's, at an odd request
            _log.warning("refused: %s: %s", type(error).__name__, brief(error))
            _log.debug("refused", exc_info=True)
            raise gr.Error(_ODD, print_exception=False) from None

    demo.preprocess_data, demo.process_api = preprocess_data, process_api


def _check(value: Any) -> None:
    """Refuse a value that names, somewhere in it, a file that was not uploaded."""
    if isinstance(value, list):
        for each in value:
            _check(each)
    elif isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str):
            if path.lower().startswith(("http:", "https:")):
                _, upload, place = path.partition("/gradio_api/file=")
                if not upload:
                    raise gr.Error(_ADDRESS, print_exception=False)
                path = value["path"] = unquote(place)  # so MCP clients name what they uploaded
            try:
                uploaded(path)
            except ImageError as error:
                raise gr.Error(str(error), print_exception=False) from None
        for each in value.values():
            _check(each)
