"""The link that brings back what the page shows: ``?backbone=a&backbone=b&top_k=5&example=maze``."""

import filecmp
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lineup.service import Service


def max_shown(service: Service) -> int:
    """Return how many classes the page can be asked for."""
    return max(20, service.config.top_k)


def write(names: Sequence[str], top_k: int, example: tuple[str, str] | None, image: Path | None) -> str:
    """Return the query for a state.

    `example` is the name and the file of the one that was chosen last; it is left out where the
    image is another one, since a visitor's own cannot be in a link.
    """
    pairs = [("backbone", name) for name in names] + [("top_k", str(top_k))]
    if image and example and filecmp.cmp(image, example[1], shallow=False):
        pairs.append(("example", example[0]))
    return "?" + urlencode(pairs)


def read(service: Service, query: Mapping[str, Sequence[str]]) -> tuple[dict[str, Any], list[str]]:
    """Return what a query asks for, and what in it this page does not have.

    Keys of the first: `selected` and `others` are names, `top_k` is a number, `example` an index.
    """
    found: dict[str, Any] = {}
    wrong = []
    names = list(dict.fromkeys(query.get("backbone", ())))
    known = [name for name in names if name in service.names]
    if names != known:
        wrong.append(f"this line-up has no {', '.join(name for name in names if name not in known)}")
    if known:
        most = service.config.limits.max_compared
        found |= {"selected": known[0], "others": known[1:most]}
        if known[most:]:
            wrong.append(f"it names {len(known)} backbones, and at most {most} are compared")
    for text in query.get("top_k", ())[:1]:
        if text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= max_shown(service):
            found["top_k"] = int(text)
        else:
            wrong.append(f"its top_k is {text[:20]!r}, and not a number from 1 to {max_shown(service)}")
    for name in query.get("example", ())[:1]:
        if place := [index for index, example in enumerate(service.examples) if example.name == name]:
            found["example"] = place[0]
        else:
            wrong.append(f"there is no example {name[:100]!r}")
    return found, wrong
