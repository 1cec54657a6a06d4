"""The server-side state of one open page."""

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
    """The session state behind one open page, held in a gr.State. It can be lost: components have what was asked."""

    order: int = 0  # the highest number of an event so far; the browser numbers them
    generation: int = 0  # request counter: answers to an older request are discarded
    ended: asyncio.Event | None = None  # set once the newest request yields nothing more
    path: Path | None = None  # the image of the newest request
    names: list[str] = field(default_factory=list)  # the requested backbones, in the order chosen
    answers: dict[str, Answer] = field(default_factory=dict)  # received so far, by backbone
    top_k: int = 1  # labels shown per backbone; may change while answers are pending
    example: tuple[str, str] | None = None  # name and file of the example that was chosen last
    # the selection of "Compare all", and why it excludes the other entries
    compare_all_selection: tuple[frozenset[str], Mapping[str, LineupError | str]] = frozenset(), {}
    is_selection_asked: bool = False  # the page's own requests before that, as for the fallback, do not end it
    address: str = ""  # the server's URL as the browser sees it: that of the newest event
    panels: dict[str, Any] = field(default_factory=dict)  # what panels keep between their refreshes, by feature

    @property
    def left_out(self) -> Mapping[str, LineupError | str]:
        """Why *Compare all* excludes the other entries; empty if its selection is not what is asked."""
        selection, reasons = self.compare_all_selection
        return reasons if selection == set(self.names) else {}

    def accept(self, order: int | None) -> bool:
        """Return whether an event is the newest: slow lines and queues reorder events. None: it has no number."""
        if order is None:
            return True
        is_newest = order >= self.order
        self.order = max(order, self.order)
        return is_newest


def choices(service: Service) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the choices of both dropdowns, as pairs of label and value."""
    statuses = service.backbones()
    return (
        [(cards.dropdown_label(status), status.name) for status in statuses],
        [(cards.short_dropdown_label(status), status.name) for status in statuses],
    )


def address(visit: Visit, path: Path | None) -> str:
    """Return the link that restores this state of the page."""
    return visit.address + link.write(visit.names, visit.top_k, visit.example, path)


async def load_progress(service: Service, name: Any) -> AsyncIterator[str]:
    """Load a backbone; yield its progress as HTML whenever it changes."""
    load, shown = service.load(name), ""
    while not load.done():
        text = html.loading(service.status(name))
        if text != shown:
            yield text
        shown = text
        await asyncio.sleep(POLL_S)
    load.result()


def pending(visit: Visit) -> list[str]:
    """Return the requested backbones that have not answered yet."""
    return [name for name in visit.names if name not in visit.answers]


def classifications(visit: Visit) -> dict[str, Classification]:
    """Return the successful answers by backbone, in the order chosen."""
    answers = {name: visit.answers[name] for name in visit.names if name in visit.answers}
    return {name: answer for name, answer in answers.items() if isinstance(answer, Classification)}
