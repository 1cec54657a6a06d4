"""Registers the event listeners of the page's components."""

from collections.abc import AsyncIterator, Sequence
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


def connect(demo: gr.Blocks, page: Page, panels: Sequence[Panel] = ()) -> None:
    """Register all listeners of the page and of its panels."""
    service, visit_state = page.service, page.visit
    handlers = Handlers(service, page.connections, page.images)

    def changes(update: Update, visit: Visit, path: Path | None) -> Changes:
        values = page.changes(update)
        if "refresh" in update:
            for panel in panels:
                values |= panel.refresh(service, visit, path, is_final=update["refresh"] == "final")
        return values

    async def open_page(visit: Visit, owner: Any, request: gr.Request) -> AsyncIterator[Changes]:
        visit.address, owner = api.address(request), owner if isinstance(owner, str) and owner else new_owner()
        yield {page.owner: owner}
        async for update in handlers.open_page(visit, parse_qs(str(request.query_params)), owner):
            yield changes(update, visit, None)

    async def answer(path: Any, name: Any, others: Any, top_k: Any, visit: Visit) -> AsyncIterator[Changes]:
        async for update in handlers.answer(visit, path, name, others, top_k):
            yield changes(update, visit, path)

    def show_more(path: Any, top_k: Any, visit: Visit) -> Changes:
        return changes(handlers.show_more(visit, top_k), visit, path)

    async def compare_all(path: Any, name: Any, visit: Visit) -> AsyncIterator[Changes]:
        async for update in handlers.compare_all(visit, path, name):
            yield changes(update, visit, path)

    def choose_example(event: gr.SelectData, visit: Visit) -> str:
        try:
            return handlers.choose_example(visit, event.index)
        except ImageError as error:
            raise gr.Error(escape(str(error)), print_exception=False) from None

    extra = [output for panel in panels for output in panel.outputs]
    opening = [page.notice, page.status, page.backbone, page.others, page.top_k, page.image, page.owner, *extra]
    demo.load(open_page, [visit_state, page.owner], opening, **LISTENER)
    # "multiple": a new choice does not wait for the download of the previous one
    gr.on(
        [page.image.change, page.backbone.change, page.others.change, page.retry.click],
        answer,
        [page.image, page.backbone, page.others, page.top_k, visit_state],
        [page.status, page.result, page.retry, page.backbone, page.others, page.table, *extra],
        trigger_mode="multiple",
        **LISTENER,
    )
    # answers are cached with more labels than are shown: no second forward pass
    page.top_k.change(
        show_more, [page.image, page.top_k, visit_state], [page.result, *extra], trigger_mode="always_last", **LISTENER
    )
    selection = [page.status, page.backbone, page.others, page.image]
    page.compare_all.click(compare_all, [page.image, page.backbone, visit_state], selection, **LISTENER)
    if page.examples is not None:
        page.examples.select(choose_example, [visit_state], [page.image], **LISTENER)
    for panel in panels:
        panel.wire(page)
