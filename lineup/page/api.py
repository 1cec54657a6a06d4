"""The named endpoints, for Gradio's clients, plain HTTP and MCP."""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from gradio import FileData

from lineup.errors import INTERNAL_ERROR, LineupError
from lineup.page.connections import Connections
from lineup.page.image_field import resolve_upload
from lineup.service import Service

_log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])


def visible_errors(function: F) -> F:
    """Return the message of a LineupError to the client, and keep any other error in the log."""

    @functools.wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except LineupError as error:
            raise gr.Error(str(error), print_exception=False) from None
        except Exception:
            _log.exception("%s failed", function.__name__)
            raise gr.Error(INTERNAL_ERROR, print_exception=False) from None

    return guarded  # type: ignore[return-value]


def add(service: Service, connections: Connections) -> None:
    """Add the endpoints to the Blocks that is open."""

    @visible_errors
    async def classify(image: FileData, backbone: str | None = None, top_k: int | None = None) -> dict[str, Any]:
        """Classify an image with one backbone of the line-up.

        Args:
            image: the image, as a data: URI (data:image/jpeg;base64,…) or as an upload; other addresses are refused.
            backbone: a name that the tool backbones lists; the default one if left out.
            top_k: how many labels to return, most probable first; the config's top_k if left out.
        """
        path = uploaded(image)
        answer = await connections.run(lambda cancelled: service.classify(path, backbone, top_k, cancelled))
        return answer.to_json()

    @visible_errors
    async def compare(image: FileData, backbones: list[str] | None = None, top_k: int | None = None) -> dict[str, Any]:
        """Classify an image with several backbones of the line-up, and say how far they agree.

        Args:
            image: the image, as a data: URI (data:image/jpeg;base64,…) or as an upload; other addresses are refused.
            backbones: names that the tool backbones lists, each once; the first available ones if left out.
            top_k: how many labels of each to return, most probable first; the config's top_k if left out.
        """
        path = uploaded(image)
        comparison = await connections.run(lambda cancelled: service.compare(path, backbones, top_k, cancelled))
        return comparison.to_json()

    @visible_errors
    async def backbones() -> list[dict[str, Any]]:
        """List the backbones of the line-up: what they are, and whether they can answer now."""
        return [status.to_json() for status in service.backbones()]

    gr.api(classify, api_name="classify", concurrency_limit=None)
    gr.api(compare, api_name="compare", concurrency_limit=None)
    gr.api(backbones, api_name="backbones", concurrency_limit=None)


def address(request: gr.Request) -> str:
    """Return the address of this server as the browser sees it, whatever proxy is in between."""
    return str(request.headers.get("referer") or request.request.base_url).partition("?")[0]


def uploaded(image: Any) -> Path:
    """Return the file of an image argument; raises ImageError as `resolve_upload` does."""
    return resolve_upload(image.get("path") if isinstance(image, dict) else getattr(image, "path", None))
