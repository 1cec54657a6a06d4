"""The description of the API, as OpenAPI 3.1 and as a page that needs nothing from elsewhere."""

import functools
import re
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup, escape

from lineup.page.templates import renderer

_FOLDER = Path(__file__).parent
_render = renderer(_FOLDER / "templates")


@functools.cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((_FOLDER / "openapi.yaml").read_text(encoding="utf-8"))
    return document


def document(root_path: str = "") -> dict[str, Any]:
    """Return the description of a server whose paths begin with `root_path`."""
    return {**_document(), "servers": [{"url": root_path or "/"}]}


def page(address: str, names: list[str]) -> str:
    """Render the description as HTML.

    Args:
        address: the server's, without a slash at its end.
        names: those of the backbones.
    """
    found = _document()
    operations = [
        (path, method.upper(), operation)
        for path, item in found["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    ]
    parameters = found["components"]["parameters"]

    def resolved(parameter: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = parameters[parameter["$ref"].rpartition("/")[2]] if "$ref" in parameter else parameter
        return found

    tags = [(tag, [each for each in operations if tag["name"] in each[2]["tags"]]) for tag in found["tags"]]
    values = {"document": found, "tags": tags, "resolved": resolved, "address": address, "names": names}
    return _render("rest_docs.html", text=_text, **values)


def _text(markdown: str) -> Markup:
    """Render what the descriptions have of Markdown: code between backticks, and emphasis between asterisks."""
    code = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(markdown)))
    return Markup(re.sub(r"\*([^*<]+)\*(?!/)", r"<em>\1</em>", code))
