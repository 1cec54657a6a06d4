"""What happens on the page: each event is a stream of updates, named by the region they are for.

Keys of an update: `notice`, `status` and `result` are HTML, `choices` and `selected` are the dropdown's,
`retry` shows the button that tries again.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineup.errors import BusyError, HubError, LineupError
from lineup.page import render
from lineup.results import Classification
from lineup.service import Service

_log = logging.getLogger(__name__)

POLL_S = 0.2
Update = dict[str, Any]


@dataclass
class Visit:
    """What one visitor's page shows; lives on the server, one for each open page."""

    turn: int = 0  # counts what was asked: an older answer that comes late is dropped
    answer: Classification | None = None


def choices(service: Service) -> list[tuple[str, str]]:
    """Return the dropdown's lines and the names behind them."""
    return [(render.choice(status), status.name) for status in service.backbones()]


async def open_page(service: Service, visit: Visit) -> AsyncIterator[Update]:
    """Tell how the start gets on, until everything is known of every backbone."""
    shown: Update = {}
    while True:
        over = service.looked.is_set()  # asked first: what follows is then the last word
        update: Update = {"choices": choices(service)}
        if service.started.is_set():
            default, selected = service.pool.status(service.config.default_name), service.preselected
            if visit.turn <= 1:  # the visitor has not chosen another one meanwhile
                update["selected"] = selected
            if default.status == "unavailable":
                update["notice"] = render.stand_in(default, selected)
        if visit.turn == 0:
            update["status"] = _before_a_picture(service, service.preselected)
        changed = {key: value for key, value in update.items() if shown.get(key) != value}
        shown |= changed
        if changed:
            yield changed
        if over:
            return
        await asyncio.sleep(POLL_S)


async def answer(
    service: Service, visit: Visit, path: Path | None, name: Any, top_k: int, most: int
) -> AsyncIterator[Update]:
    """Answer on a picture, telling how the backbone gets ready; stop when something newer is asked.

    `most` classes are kept, so that showing up to that many needs no second run.
    """
    visit.turn, visit.answer = visit.turn + 1, None
    turn, found = visit.turn, None
    yield {"retry": False}
    try:
        async for text in _until_loaded(service, name):
            if visit.turn != turn:
                return
            yield {"status": text}
        if visit.turn != turn:
            return
        if path is None:
            update: Update = {"status": _before_a_picture(service, name), "result": ""}
        else:
            yield {"status": render.thinking(name)}
            kept = min(most, service.pool.status(name).num_classes or most)
            found = await asyncio.to_thread(service.classify, path, name, kept)
            update = {"status": "", "result": render.answer(found, top_k)}
    except LineupError as error:
        retry = isinstance(error, HubError | BusyError)
        update = {"status": _problem(service, name, error), "result": "", "retry": retry}
    except Exception:
        _log.exception("an answer failed")
        update = {"status": render.problem("Something went wrong", "The server's log has the details."), "result": ""}
    if visit.turn == turn:
        visit.answer = found
        yield {**update, "choices": choices(service)}


async def _until_loaded(service: Service, name: Any) -> AsyncIterator[str]:
    """Load a backbone, and tell how it gets on whenever that changes."""
    load, shown = service.pool.start(service.known(name)), ""
    while not load.done():
        text = render.waiting(service.pool.status(name))
        if text != shown:
            yield text
        shown = text
        await asyncio.sleep(POLL_S)
    load.result()


def _before_a_picture(service: Service, name: str) -> str:
    status = service.pool.status(name)
    if status.status == "unavailable":
        return render.problem(f"{name} cannot run now", status.reason)
    return render.invitation(status) if status.status == "ready" else render.waiting(status)


def _problem(service: Service, name: Any, error: LineupError) -> str:
    unavailable = name in service.pool.names and service.pool.status(name).status == "unavailable"
    return render.problem(f"{name} cannot run now" if unavailable else "This cannot be answered", str(error))
