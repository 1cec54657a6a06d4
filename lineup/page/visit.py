"""What one open page shows, kept on the server for as long as it is open."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineup.errors import LineupError
from lineup.page import cards, html, link
from lineup.results import Answer, Classification
from lineup.service import Service

POLL_S = 0.1
Update = dict[str, Any]


@dataclass
class Visit:
    """What one visitor's page shows; lives on the server, one for each open page."""

    turn: int = 0  # counts what was asked: an older answer that comes late is dropped
    names: list[str] = field(default_factory=list)  # the backbones that were asked, in the order chosen
    found: dict[str, Answer] = field(default_factory=dict)  # what they answered so far
    top_k: int = 1  # how many classes of each are shown; may change while some are still to answer
    example: tuple[str, str] | None = None  # name and file of the last one that was clicked
    # by "Compare all", and why not others
    all_chosen: tuple[frozenset[str], Mapping[str, LineupError | str]] = frozenset(), {}
    address: str = "http://127.0.0.1:7860/"  # under which the visitor sees this server


def choices(service: Service) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the lines of both dropdowns, and the names behind them."""
    found = service.backbones()
    return [(cards.choice(each), each.name) for each in found], [
        (cards.short_choice(each), each.name) for each in found
    ]


def address(visit: Visit, path: Path | None) -> str:
    """Return the address under which the page shows this again."""
    return visit.address + link.write(visit.names, visit.top_k, visit.example, path)


async def until_loaded(service: Service, name: Any) -> AsyncIterator[str]:
    """Load a backbone, and tell how it gets on whenever that changes."""
    load, shown = service.load(name), ""
    while not load.done():
        text = html.waiting(service.status(name))
        if text != shown:
            yield text
        shown = text
        await asyncio.sleep(POLL_S)
    load.result()


def missing(visit: Visit) -> list[str]:
    return [name for name in visit.names if name not in visit.found]


def answered(visit: Visit) -> dict[str, Classification]:
    found = {name: visit.found[name] for name in visit.names if name in visit.found}
    return {name: each for name, each in found.items() if isinstance(each, Classification)}
