"""Validates the file paths in a request before Gradio uses them, and replaces Gradio's own errors.

Gradio 6.31 fetches URLs and copies files in `Blocks.preprocess_data` (gradio/blocks.py:2125); it has no hook before.
`python benchmarks/patches.py 3 paths`: the check takes 0.08 ms per image. A page whose Gradio would not call it, or
with other arguments, does not start.
"""

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import gradio as gr

from lineup.errors import ImageError, LineupError, brief
from lineup.page.connections import Connections
from lineup.page.image_field import resolve_upload, skip_preprocessing

_log = logging.getLogger(__name__)

_URL = "image: expected an uploaded file; got a URL, and URLs are not fetched; upload the image"
_MALFORMED = "request: expected the fields of this endpoint; got others; see /gradio_api/info"


def restrict_inputs(demo: gr.Blocks, connections: Connections) -> None:
    """Restrict all events of a page, public and private, to uploaded files, and give their errors a message.

    Each event that ends is reported to `connections`.

    It patches `preprocess_data`, because Gradio fetches URLs and copies files before it calls an event's function,
    and because a setting on a component does not last: Gradio copies the component for a session that changes it.

    Raises:
        LineupError: this version of Gradio would not call the check, or with other arguments.
    """
    preprocess, process = demo.preprocess_data, demo.process_api
    _require_parameters(preprocess, ["block_fn", "inputs", "state", "explicit_call"])
    _require_parameters(process, ["block_fn", "inputs", "state"])
    code = getattr(inspect.unwrap(process), "__code__", None)
    if code is None or "preprocess_data" not in code.co_names:
        raise _unknown_gradio("Blocks.process_api calls preprocess_data", "it does not")

    @functools.wraps(preprocess)
    async def preprocess_data(block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False) -> Any:
        for block, value in zip(block_fn.inputs, inputs, strict=False):
            _check(value)
            changed = state is not None and not block.stateful and block._id in state
            component = state[block._id] if changed else block
            if isinstance(component, gr.Image):
                skip_preprocessing(component)
            elif "preprocess" in vars(block):  # a setting of the page's
                component.preprocess = block.preprocess
        return await preprocess(block_fn, inputs, state, explicit_call)

    @functools.wraps(process)
    async def process_api(*args: Any, **kwargs: Any) -> Any:
        is_last_step = True
        try:
            output = await process(*args, **kwargs)
            is_last_step = not output["is_generating"]
            return output
        except gr.Error:
            raise
        except Exception as error:  # our errors are gr.Error here; this is Gradio's own, for a malformed request
            _log.warning("rejected: %s: %s", type(error).__name__, brief(error))
            _log.debug("rejected", exc_info=True)
            raise gr.Error(_MALFORMED, print_exception=False) from None
        finally:
            if is_last_step:
                connections.ended(kwargs.get("event_id"))

    demo.preprocess_data, demo.process_api = preprocess_data, process_api


def _require_parameters(method: Callable[..., Any], expected: list[str]) -> None:
    names = list(inspect.signature(method).parameters)
    if names[: len(expected)] != expected:
        raise _unknown_gradio(f"Blocks.{method.__name__} takes {', '.join(expected)}", f"it takes {', '.join(names)}")


def _unknown_gradio(condition: str, got: str) -> LineupError:
    remedy = "install the version in constraints.txt; the paths in requests could not be checked"
    return LineupError("gradio", f"a version whose {condition}", f"in {gr.__version__} {got}", remedy)


def _check(value: Any) -> None:
    """Raise gr.Error when a value contains, at any depth, a path of a file that was not uploaded."""
    if isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str):
            if path.lower().startswith(("http:", "https:")):
                _, separator, quoted = path.partition("/gradio_api/file=")
                if not separator:
                    raise gr.Error(_URL, print_exception=False)
                path = value["path"] = unquote(quoted)  # MCP clients send the URL of an upload
            try:
                resolve_upload(path)
            except ImageError as error:
                raise gr.Error(str(error), print_exception=False) from None
        for item in value.values():
            _check(item)
