"""Registers the event listeners of the page's components.

Every listener runs at once, however many of its events are pending (Gradio drops a click during an earlier one), but
the slider's, which catches up. The newest event wins: the server discards events that come late (`Visit.accept`),
and the browser discards a value for a component that the user has changed since (`proposal`).
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import gradio as gr

from lineup.errors import ImageError
from lineup.page import api
from lineup.page.events import Handlers
from lineup.page.handover import new_owner
from lineup.page.layout import Page
from lineup.page.panels import Changes, Panel
from lineup.page.visit import Update, Visit

# options of every listener: no Gradio spinner, hidden in the API's documentation, no concurrency limit
LISTENER: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
LISTENER |= {"trigger_mode": "multiple"}
ORDER_HEADER = "x-lineup-order"  # the number of an event, set by requests.js


def order_of(request: gr.Request | None) -> int | None:
    """Return the number that the browser gave an event, or None."""
    with suppress(ValueError, AttributeError):
        return int(request.headers[ORDER_HEADER]) if request and ORDER_HEADER in request.headers else None
    return None


async def ending(
    changes: AsyncIterator[Changes], visit: Visit, output: Any, repeated: Sequence[Any] = ()
) -> AsyncIterator[Changes]:
    """Yield changes, then an empty one: when a generator ends, Gradio sends its last value again, which may be old.

    Args:
        changes: of a listener.
        visit: the state of the page.
        output: any of its outputs.
        repeated: outputs whose last value is sent again, unless a newer event has come since: a component in a closed
            accordion has only the last message.
    """
    last: Changes = {}
    order = visit.order
    async for each in changes:
        if new := {key: each[key] for key in repeated if key in each}:
            last, order = last | new, visit.order
        yield each
    yield {output: gr.skip(), **(last if visit.order == order else {})}


def connect(demo: gr.Blocks, page: Page, panels: Sequence[Panel] = ()) -> None:
    """Register all listeners of the page and of its panels."""
    handlers = Handlers(page.service, page.connections, page.images)
    extra = [output for panel in panels for output in panel.outputs]

    def changes(update: Update, visit: Visit, path: Path | None) -> Changes:
        values = page.changes(update)
        if "refresh" in update:
            for panel in panels:
                values |= panel.refresh(page.service, visit, path, is_final=update["refresh"] == "final")
        return values

    _connect_wishes(page)  # first: Gradio runs the listeners of an event one after the other, each to its end
    _connect_answers(page, handlers, changes, extra)
    _connect_opening(demo, page, handlers, changes, extra)
    _connect_choices(page, handlers, changes)
    for panel in panels:
        panel.wire(page)


ToChanges = Callable[[Update, Visit, Path | None], Changes]


def _connect_answers(page: Page, handlers: Handlers, changes: ToChanges, extra: Sequence[Any]) -> None:
    """Connect the components that have a request to its answer."""

    async def shown(updates: AsyncIterator[Update], visit: Visit, path: Any) -> AsyncIterator[Changes]:
        async for update in updates:
            yield changes(update, visit, path)

    def listener(handle: Callable[..., AsyncIterator[Update]]) -> Callable[..., AsyncIterator[Changes]]:
        async def listen(
            path: Any, name: Any, others: Any, top_k: Any, visit: Visit, request: gr.Request | None = None
        ) -> AsyncIterator[Changes]:
            visit.address = api.address(request) if request else visit.address
            updates = handle(visit, path, name, others, top_k, order_of(request))
            async for each in ending(shown(updates, visit, path), visit, page.status, extra):
                yield each

        listen.__name__ = handle.__name__
        return listen

    inputs = [*page.inputs, page.visit]
    outputs = [page.status, page.result, page.retry, page.backbone, page.others, page.table, *extra]
    asking = [page.image.change, page.backbone.change, page.others.change, page.retry.click, page.ask_again.click]
    gr.on(asking, listener(handlers.answer), inputs, outputs, **LISTENER)
    # Answers are cached with more labels than are shown: no second forward pass. "always_last", since a drag has many
    # events; the last one asks for what the components have then.
    page.top_k.change(listener(handlers.show_more), inputs, outputs, **LISTENER | {"trigger_mode": "always_last"})


def _connect_opening(demo: gr.Blocks, page: Page, handlers: Handlers, changes: ToChanges, extra: Sequence[Any]) -> None:
    """Connect the page's opening to the state in its link, and to the progress of the start."""

    async def open_page(visit: Visit, owner: Any, request: gr.Request) -> AsyncIterator[Changes]:
        visit.address, owner = api.address(request), owner if isinstance(owner, str) and owner else new_owner()
        yield {page.owner: owner}

        async def shown() -> AsyncIterator[Changes]:
            proposal: Update = {}
            async for update in handlers.open_page(visit, parse_qs(str(request.query_params)), owner):
                others, new = page.proposed(update)
                is_new = new or not proposal  # the browser waits for the first one, even if it is empty
                # with all values: a later proposal may replace one before the browser has applied it
                proposal = {"wish": 0, **proposal, **new}
                yield changes(others, visit, None) | ({page.opened: proposal} if is_new else {})

        async for each in ending(shown(), visit, page.status, extra):
            yield each

    outputs = [page.notice, page.status, page.backbone, page.others, page.owner, page.opened, *extra]
    demo.load(open_page, [page.visit, page.owner], outputs, **LISTENER)


def _connect_choices(page: Page, handlers: Handlers, changes: ToChanges) -> None:
    """Connect *Compare all* and the examples to what they choose; `wish` is the number of the click."""

    async def compare_all(path: Any, name: Any, wish: Any, visit: Visit) -> AsyncIterator[Changes]:
        async for update in handlers.compare_all(visit, path, name):
            others, inputs = page.proposed(update)
            yield changes(others, visit, path) | ({page.compared: {"wish": wish, **inputs}} if inputs else {})
        yield {page.status: gr.skip()}

    def choose_example(event: gr.SelectData, wish: Any, visit: Visit) -> dict[str, Any]:
        try:
            _, inputs = page.proposed({"image": handlers.choose_example(visit, event.index)})
            return {"wish": wish, **inputs}
        except ImageError as error:
            raise gr.Error(escape(str(error)), print_exception=False) from None

    js = "async (...now) => [...await lineupRequests.withImage('compare-all', ['backbone', 'others'], ...now), null]"
    clicked, outputs = [page.image, page.backbone, page.wish, page.visit], [page.status, page.compared]
    page.compare_all.click(compare_all, clicked, outputs, js=js, **LISTENER)
    if page.examples is not None:
        js = "() => [lineupRequests.awaitImage(), null]"
        page.examples.select(choose_example, [page.wish, page.visit], [page.chosen], js=js, **LISTENER)


def _connect_wishes(page: Page) -> None:
    """Connect the inputs to requests.js, which applies proposals to those that the user has not changed since."""
    for proposal in (page.opened, page.compared, page.chosen):
        proposal.change(None, [proposal, *page.inputs], page.inputs, js="lineupRequests.apply", **LISTENER)
    page.image.input(None, [page.image], [page.image], js="lineupRequests.changed", **LISTENER)
    for component, key in ((page.backbone, "backbone"), (page.others, "others"), (page.top_k, "top_k")):
        component.input(None, None, None, js=f"() => {{ lineupRequests.wish('{key}'); }}", **LISTENER)
        js = f"(value) => {{ lineupRequests.changedTo('{key}', value); }}"
        component.change(None, [component], None, js=js, **LISTENER)
