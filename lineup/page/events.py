"""What happens on the page: each event is a stream of updates, named by the component they are for.

Keys of an update: `notice`, `status`, `result` and `figures` are HTML, `choices` are the lines of both dropdowns,
`selected`, `others`, `top_k` and `image` are values, `retry` shows the button that tries again, and `refresh`
asks the panels what they show now: "final" once no more answers come, else "partial".
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from lineup.errors import WENT_WRONG, BusyError, ClientDisconnected, HubError, ImageError, LineupError
from lineup.inference.queue import CancellableClient
from lineup.page import cards, comparison_table, html, link
from lineup.page.threads import on_thread, visitor
from lineup.page.visit import POLL_S, Update, Visit, answered, choices, missing, until_loaded
from lineup.service import Service

_log = logging.getLogger(__name__)


async def compare_all(service: Service, visit: Visit, path: Path | None, name: Any) -> AsyncIterator[Update]:
    """Choose all that can be compared, the current backbone first, and the first example where there is no image."""
    turn = visit.turn
    if not service.probed.is_set():
        yield {"status": html.checking()}
    names, left_out = await on_thread(partial(service.comparable_all, name))
    if visit.turn != turn:  # meanwhile another backbone or image was chosen: both stay
        names, left_out = await on_thread(partial(service.comparable_all, (visit.names or [name])[0]))
    visit.all_chosen = frozenset(names), left_out
    update: Update = {"selected": names[0], "others": names[1:]}
    if path is None and service.examples and visit.turn == turn:
        with suppress(ImageError):  # an example that lies elsewhere: the page says so when it is clicked
            update["image"] = await on_thread(partial(choose_example, service, visit, 0))
    yield update


def choose_example(service: Service, visit: Visit, index: int) -> str:
    """Return the file of an example, and remember that it is the one that was chosen."""
    path = service.example_path(index)
    visit.example = service.examples[index].name, path
    return path


async def open_page(service: Service, visit: Visit, query: Mapping[str, Sequence[str]]) -> AsyncIterator[Update]:
    """Restore what the link says, then tell how the start gets on, until everything is known of every backbone."""
    linked, wrong = link.read(service, query)
    shown = {key: value for key, value in linked.items() if key != "example"}
    if "example" in linked:
        try:
            shown["image"] = await on_thread(partial(choose_example, service, visit, linked["example"]))
        except ImageError as error:
            wrong.append(str(error))
    notice = cards.wrong_link(wrong) if wrong else ""
    yield {**shown, "notice": notice, "refresh": "final"}
    while True:
        over = service.probed.is_set()  # asked first: what follows is then the last word
        update: Update = {"choices": choices(service)}
        if service.opened.is_set() and "selected" not in linked:
            default, selected = service.status(service.config.default_name), service.preselected
            if not visit.names or visit.names[0] in (default.name, selected):  # nobody has chosen another one meanwhile
                update["selected"] = selected
            if default.status == "unavailable":
                update["notice"] = notice + cards.fallback(default, selected)
        if visit.turn == 0:
            update["status"] = _before_an_image(service, linked.get("selected", service.preselected))
        changed = {key: value for key, value in update.items() if shown.get(key) != value}
        shown |= changed
        if changed:
            yield changed
        if over:
            return
        await asyncio.sleep(POLL_S)


async def answer(
    service: Service, visit: Visit, path: Path | None, name: Any, others: Any, top_k: int, most: int
) -> AsyncIterator[Update]:
    """Answer on an image with one backbone or more, as they get ready; stop when something newer is asked.

    `most` classes are kept, so that showing up to that many needs no second run.
    """
    visit.turn, visit.names, visit.found, visit.top_k = visit.turn + 1, [], {}, top_k
    turn, rendered, told = visit.turn, -1, ""
    try:
        rest = [each for each in others if each != name] if isinstance(others, list) else []
        visit.names = service.comparable([name, *rest])
        if visit.all_chosen[0] != set(visit.names):
            visit.all_chosen = frozenset(), {}
        yield {"retry": False, "refresh": "partial"}
        if visit.turn != turn:
            return
        if path is None:
            async for text in until_loaded(service, name):
                if visit.turn != turn:
                    return
                yield {"status": text}
            update: Update = {"status": _before_an_image(service, name)}
        else:
            async for _ in _answering(service, visit, path, top_k, most):
                if visit.turn != turn:
                    return
                text = cards.getting_on([service.status(each) for each in missing(visit)])
                news = {"status": text} if text != told else {}
                if len(visit.found) != rendered:  # a card more: the crops are not drawn for every byte that comes
                    news["result"] = result(service, visit)
                told, rendered = text, len(visit.found)
                if news:
                    yield news
            if visit.turn != turn:
                return
            update = _finished(service, visit)
    except LineupError as error:
        update = {"status": _problem(service, name, error), "retry": _may_work_later(error)}
    except Exception:
        _log.exception("an answer failed")
        update = {"status": html.problem("This cannot be answered", WENT_WRONG)}
    if visit.turn == turn:
        empty = {"result": "", "figures": ""}
        yield {**empty, **update, "choices": choices(service), "refresh": "final"}


def show_more(service: Service, visit: Visit, top_k: int) -> Update:
    """Show more or fewer classes of the answers that are there."""
    visit.top_k = top_k
    if answered(visit) and not missing(visit):
        return {"result": result(service, visit), "refresh": "final"}
    return {"refresh": "partial"}


def result(service: Service, visit: Visit) -> str:
    """Render what was found so far: one backbone's answer, or a card for each and the verdict."""
    if len(visit.names) > 1:
        found = service.comparison(visit.names, visit.found, visit.all_chosen[1])
        return cards.comparison(visit.names, found, visit.top_k)
    return "".join(cards.answer(each, visit.top_k) for each in answered(visit).values())


async def _answering(service: Service, visit: Visit, path: Path, top_k: int, most: int) -> AsyncIterator[None]:
    """Let answers come into the visit, and look up now and then."""
    turn, names, found, left = visit.turn, visit.names, visit.found, threading.Event()
    asks = CancellableClient(visitor(service), lambda: visit.turn != turn or left.is_set())

    def work() -> None:
        with suppress(ClientDisconnected):
            found.update(service.answers(path, names, top_k, most, asks))

    working = on_thread(work)
    try:
        while not working.done():
            yield
            await asyncio.wait({working}, timeout=POLL_S)
        await working
    finally:
        left.set()


def _finished(service: Service, visit: Visit) -> Update:
    failed = [each for each in visit.found.values() if isinstance(each, LineupError)]
    update: Update = {"retry": any(map(_may_work_later, failed))}
    if len(visit.names) == 1 and failed:
        return {**update, "status": _problem(service, visit.names[0], failed[0])}
    rows = service.rows({name: visit.found[name] for name in visit.names})  # in the order chosen
    update |= {"status": "", "result": result(service, visit)}
    return {**update, "figures": comparison_table.table(rows) if len(rows) > 1 else ""}


def _may_work_later(error: LineupError) -> bool:
    return isinstance(error, HubError | BusyError)


def _before_an_image(service: Service, name: str) -> str:
    status = service.status(name)
    if status.status == "unavailable":
        return html.problem(f"{name} cannot run now", status.problem or "")
    return html.invitation(status) if status.status == "ready" else html.waiting(status)


def _problem(service: Service, name: Any, error: LineupError) -> str:
    unavailable = name in service.names and service.status(name).status == "unavailable"
    return html.problem(f"{name} cannot run now" if unavailable else "This cannot be answered", error)
