"""What happens on the page: each event is a stream of updates, named by the region they are for.

Keys of an update: `notice`, `status`, `result`, `figures` and `measured` are HTML, `choices` are the lines of
both dropdowns, `selected`, `others`, `top_k` and `picture` are values, `retry` shows the button that tries
again, `plot` is a chart, `python`, `client` and `curl` are code, and `link` is the page's address.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from lineup import snippets
from lineup.errors import BusyError, GoneError, HubError, LineupError, PictureError
from lineup.page import figures, link, render
from lineup.page.work import on_thread, visitor
from lineup.results import Classification
from lineup.service import Answer, Service
from lineup.standings import row
from lineup.visitors import Fickle

_log = logging.getLogger(__name__)

POLL_S = 0.1
RUNS = 3  # of each backbone when the line-up is measured: the first one is slow, the median is not
Update = dict[str, Any]


@dataclass
class Visit:
    """What one visitor's page shows; lives on the server, one for each open page."""

    turn: int = 0  # counts what was asked: an older answer that comes late is dropped
    names: list[str] = field(default_factory=list)  # the backbones that were asked, in the order chosen
    found: dict[str, Answer] = field(default_factory=dict)  # what they answered so far
    top_k: int = 1  # how many classes of each are shown; may change while some are still to answer
    example: tuple[str, str] | None = None  # name and file of the last one that was clicked
    all_chosen: tuple[frozenset[str], Mapping[str, str]] = frozenset(), {}  # by "Compare all", and why not others
    address: str = "http://127.0.0.1:7860/"  # under which the visitor sees this server


def choices(service: Service) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the lines of both dropdowns, and the names behind them."""
    found = service.backbones()
    return [(render.choice(each), each.name) for each in found], [
        (render.short_choice(each), each.name) for each in found
    ]


async def compare_all(service: Service, visit: Visit, path: Path | None, name: Any) -> AsyncIterator[Update]:
    """Choose all that can be compared, the current backbone first, and the first example where there is no image."""
    turn = visit.turn
    if not service.looked.is_set():
        yield {"status": render.checking()}
    names, left_out = await on_thread(partial(service.comparable_all, name))
    if visit.turn != turn:  # meanwhile another backbone or image was chosen: both stay
        names, left_out = await on_thread(partial(service.comparable_all, (visit.names or [name])[0]))
    visit.all_chosen = frozenset(names), left_out
    update: Update = {"selected": names[0], "others": names[1:]}
    if path is None and service.examples and visit.turn == turn:
        with suppress(PictureError):  # an example that lies elsewhere: the page says so when it is clicked
            update["picture"] = await on_thread(partial(choose_example, service, visit, 0))
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
            shown["picture"] = await on_thread(partial(choose_example, service, visit, linked["example"]))
        except PictureError as error:
            wrong.append(str(error))
    notice = render.wrong_link(wrong) if wrong else ""
    yield {**shown, "notice": notice, "plot": chart(service, visit)}
    while True:
        over = service.looked.is_set()  # asked first: what follows is then the last word
        update: Update = {"choices": choices(service)}
        if service.started.is_set() and "selected" not in linked:
            default, selected = service.pool.status(service.config.default_name), service.preselected
            if not visit.names or visit.names[0] in (default.name, selected):  # nobody has chosen another one meanwhile
                update["selected"] = selected
            if default.status == "unavailable":
                update["notice"] = notice + render.stand_in(default, selected)
        if visit.turn == 0:
            update["status"] = _before_a_picture(service, linked.get("selected", service.preselected))
        changed = {key: value for key, value in update.items() if shown.get(key) != value}
        shown |= changed
        if changed:
            yield changed
        if over:
            await asyncio.to_thread(
                import_module, "lineup.page.plot"
            )  # altair: the first answer should not wait for it
            return
        await asyncio.sleep(POLL_S)


async def answer(
    service: Service, visit: Visit, path: Path | None, name: Any, others: Any, top_k: int, most: int
) -> AsyncIterator[Update]:
    """Answer on a picture with one backbone or more, as they get ready; stop when something newer is asked.

    `most` classes are kept, so that showing up to that many needs no second run.
    """
    visit.turn, visit.names, visit.found, visit.top_k = visit.turn + 1, [], {}, top_k
    turn, rendered, told = visit.turn, -1, ""
    try:
        rest = [each for each in others if each != name] if isinstance(others, list) else []
        visit.names = service.comparable([name, *rest])
        if visit.all_chosen[0] != set(visit.names):
            visit.all_chosen = frozenset(), {}
        yield {"retry": False, "link": address(visit, path)}
        if visit.turn != turn:
            return
        if path is None:
            async for text in _until_loaded(service, name):
                if visit.turn != turn:
                    return
                yield {"status": text}
            update: Update = {"status": _before_a_picture(service, name)}
        else:
            async for _ in _answering(service, visit, path, top_k, most):
                if visit.turn != turn:
                    return
                text = render.getting_on([service.pool.status(each) for each in _missing(visit)])
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
        update = {"status": render.problem("Something went wrong", "The server's log has the details.")}
    if visit.turn == turn:
        empty = {"result": "", "figures": "", "python": "", "client": "", "curl": ""}
        yield {**empty, **update, "choices": choices(service), "link": address(visit, path)}


def show_more(service: Service, visit: Visit, path: Path | None, top_k: int) -> Update:
    """Show more or fewer classes of the answers that are there."""
    visit.top_k = top_k
    update: Update = {"link": address(visit, path)}
    if _answered(visit) and not _missing(visit):
        update |= {"result": result(service, visit), **taken_along(service, visit)}
    return update


def result(service: Service, visit: Visit) -> str:
    """Render what was found so far: one backbone's answer, or a card for each and the verdict."""
    if len(visit.names) > 1:
        found = service.comparison(visit.names, visit.found, visit.all_chosen[1])
        return render.comparison(visit.names, found, visit.top_k)
    return "".join(render.answer(each, visit.top_k) for each in _answered(visit).values())


def taken_along(service: Service, visit: Visit) -> Update:
    """Return the code that gives the same answers elsewhere."""
    scripts = []
    for name, each in _answered(visit).items():
        if plan := service.pool.plan(name):
            scripts.append(snippets.python(plan.recipe, each.first(visit.top_k)))
    return {
        "python": "\n\n".join(filter(None, scripts)),
        "client": snippets.client(visit.address, visit.names, visit.top_k),
        "curl": snippets.curl(visit.address, visit.names, visit.top_k),
    }


def address(visit: Visit, path: Path | None) -> str:
    """Return the address under which the page shows this again."""
    return visit.address + link.write(visit.names, visit.top_k, visit.example, path)


async def measure(service: Service, visit: Visit, path: Path | None) -> AsyncIterator[Update]:
    """Run on the picture what has not run yet, or everything once more, and tell how it gets on."""
    if path is None:
        yield {"measured": render.problem("There is no picture yet", "Choose one first: each backbone runs on it.")}
        return
    able = [status.name for status in service.backbones() if status.status != "unavailable"]
    ran = {name: timing.runs for name in able if (timing := service.timing(name))}
    names = [name for name in able if ran.get(name, 0) < RUNS] or able
    failed, asks = [], visitor(service)
    for place, name in enumerate(names):
        try:
            async for text in _until_loaded(service, name):
                yield {"measured": render.measuring(place, len(names), text)}
            yield {"measured": render.measuring(place, len(names), render.thinking(name))}
            for _ in range(RUNS):
                await on_thread(partial(service.classify, path, name, 1, asks))
        except PictureError as error:
            yield {"measured": render.problem("This picture cannot be read", str(error))}
            return
        except LineupError as error:
            failed.append(str(error))
        yield {"plot": chart(service, visit)}
    yield {"measured": render.measured(len(names) - len(failed), failed), "choices": choices(service)}


def chart(service: Service, visit: Visit) -> Any:
    """Draw every backbone that has run, or return None before one has."""
    rows = [row(status, service.timing(status.name)) for status in service.backbones()]
    if all(each["median_ms"] is None for each in rows):
        return None
    from lineup.page import plot  # altair takes a while to import

    return plot.chart(rows, visit.names)


async def _answering(service: Service, visit: Visit, path: Path, top_k: int, most: int) -> AsyncIterator[None]:
    """Let answers come into the visit, and look up now and then."""
    turn, names, found, left = visit.turn, visit.names, visit.found, threading.Event()
    asks = Fickle(visitor(service), lambda: visit.turn != turn or left.is_set())

    def work() -> None:
        with suppress(GoneError):
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
    update: Update = {"retry": any(map(_may_work_later, failed)), "plot": chart(service, visit)}
    if len(visit.names) == 1 and failed:
        return {**update, "status": _problem(service, visit.names[0], failed[0])}
    rows = [
        row(service.pool.status(name), service.timing(name), visit.found[name])  # in the order chosen
        for name in visit.names
    ]
    update |= {"status": "", "result": result(service, visit), **taken_along(service, visit)}
    return {**update, "figures": figures.table(rows) if len(rows) > 1 else ""}


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


def _missing(visit: Visit) -> list[str]:
    return [name for name in visit.names if name not in visit.found]


def _answered(visit: Visit) -> dict[str, Classification]:
    found = {name: visit.found[name] for name in visit.names if name in visit.found}
    return {name: each for name, each in found.items() if isinstance(each, Classification)}


def _may_work_later(error: LineupError) -> bool:
    return isinstance(error, HubError | BusyError)


def _before_a_picture(service: Service, name: str) -> str:
    status = service.pool.status(name)
    if status.status == "unavailable":
        return render.problem(f"{name} cannot run now", status.reason)
    return render.invitation(status) if status.status == "ready" else render.waiting(status)


def _problem(service: Service, name: Any, error: LineupError) -> str:
    unavailable = name in service.pool.names and service.pool.status(name).status == "unavailable"
    return render.problem(f"{name} cannot run now" if unavailable else "This cannot be answered", str(error))
