"""The page's HTML: Jinja templates, which escape every value that they insert."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lineup.analysis import multi_label
from lineup.errors import LineupError
from lineup.formatting import duration


def render(name: str, **values: Any) -> str:
    """Render a template of this folder.

    Raises:
        jinja2.UndefinedError: the template uses a value that is not given.
    """
    return _ENVIRONMENT.get_template(name).render(values)


def read_script(name: str, folder: Path = Path(__file__).parents[1]) -> str:
    """Return a script of a folder, by default the page's, for the `js_on_load` of a component."""
    return (folder / f"{name}.js").read_text(encoding="utf-8")


def renderer(folder: Path) -> Callable[..., str]:
    """Return a function like `render` for the templates of a feature, which may import those of this folder."""
    environment = _ENVIRONMENT.overlay(loader=FileSystemLoader([folder, Path(__file__).parent]))
    return lambda name, **values: environment.get_template(name).render(values)


def percent(share: float) -> str:
    """Format a share from 0 to 1: 97.3%."""
    return f"{share:.1%}" if share >= 0.001 else "< 0.1%"


def data_uri(jpeg: bytes) -> str:
    """Return a JPEG as a data: URI: a file per answer would fill the disk."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def explained(reason: LineupError | str) -> tuple[str, str]:
    """Return an error's cause and remedy, and the detail for the operator: where, and what was expected."""
    if isinstance(reason, str) or not (reason.got and (reason.expected or reason.remedy)):
        return str(reason), ""
    text = f"{reason.got}; {reason.remedy}" if reason.remedy else reason.got
    if "." not in text.split(" ")[0]:  # do not capitalize a host or file name
        text = text[:1].upper() + text[1:]
    return f"{text}.", ": ".join(filter(None, (reason.where, reason.expected and f"expected {reason.expected}")))


def name_parts(text: str) -> list[str]:
    """Split a name where a line may break: ``vit_tiny.in1k`` → ``["vit_", "tiny.", "in1k"]``."""
    return re.split(r"(?<=[._/:-])(?=\w)", text)


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_ENVIRONMENT.filters |= {"percent": percent, "data_uri": data_uri, "explained": explained}
_ENVIRONMENT.filters |= {"name_parts": name_parts, "duration": duration}
_ENVIRONMENT.filters["above_half"] = multi_label.sentence
_ENVIRONMENT.tests["error"] = lambda answer: isinstance(answer, LineupError)
