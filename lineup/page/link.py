"""The link that restores the state of the page: ``?backbone=a&backbone=b&top_k=5&example=maze``."""

import filecmp
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lineup.service import Service


def max_top_k(service: Service) -> int:
    """Return the largest top_k that the page and its links accept."""
    return max(20, service.config.top_k)


def shows_example(image: Path | None, example: tuple[str, str] | None) -> bool:
    """Return whether an image has the content of an example, given as its name and file."""
    try:
        return bool(image and example and filecmp.cmp(image, example[1], shallow=False))
    except OSError:  # the upload was removed
        return False


def write(names: Sequence[str], top_k: int, example: tuple[str, str] | None, image: Path | None) -> str:
    """Return the query string for a state of the page.

    Args:
        names: the backbones, the selected one first.
        top_k: how many labels are shown.
        example: name and file of the example that was chosen last.
        image: the file that is shown. Where it is not the example, the query has no image, since uploads
            cannot be linked to.
    """
    pairs = [("backbone", name) for name in names] + [("top_k", str(top_k))]
    if example and shows_example(image, example):
        pairs.append(("example", example[0]))
    return "?" + urlencode(pairs)


def read(service: Service, query: Mapping[str, Sequence[str]]) -> tuple[dict[str, Any], list[str]]:
    """Parse a query; return the valid part of its state, and a sentence for each problem.

    The state's keys: `selected` is a name, `others` are names, `top_k` is a number, `example` is an index.
    """
    state: dict[str, Any] = {}
    problems = []
    names = list(dict.fromkeys(query.get("backbone", ())))
    known = [name for name in names if name in service.names]
    if names != known:
        problems.append(f"this line-up has no {', '.join(name for name in names if name not in known)}")
    if known:
        max_compared = service.config.limits.max_compared
        state |= {"selected": known[0], "others": known[1:max_compared]}
        if known[max_compared:]:
            problems.append(f"it names {len(known)} backbones, and at most {max_compared} are compared")
    for text in query.get("top_k", ())[:1]:
        if text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= max_top_k(service):
            state["top_k"] = int(text)
        else:
            problems.append(f"its top_k is {text[:20]!r}, not a number from 1 to {max_top_k(service)}")
    for name in query.get("example", ())[:1]:
        if indices := [index for index, example in enumerate(service.examples) if example.name == name]:
            state["example"] = indices[0]
        else:
            problems.append(f"there is no example {name[:100]!r}")
    return state, problems
