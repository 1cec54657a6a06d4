"""Connects the page's components to its events."""

from collections.abc import AsyncIterator, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import gradio as gr

from lineup.errors import ImageError
from lineup.inference.queue import WORK
from lineup.page import api, events
from lineup.page.layout import Page
from lineup.page.link import max_shown
from lineup.page.panels import Changes, Panel
from lineup.page.visit import Update, Visit

# every event of the page: without Gradio's own spinner, not in the API's documentation, as many at once as come
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}


def connect(demo: gr.Blocks, page: Page, panels: Sequence[Panel] = ()) -> None:
    """Connect every event of the page and of its panels."""
    service, visit_state = page.service, page.visit
    most = max_shown(service)

    def shown(update: Update, visit: Visit, path: Path | None) -> Changes:
        changes = page.changes(update)
        if "refresh" in update:
            for panel in panels:
                changes |= panel.refresh(service, visit, path, is_final=update["refresh"] == "final")
        return changes

    def whole(wanted: Any) -> int:  # the number field of a slider can be emptied
        return int(wanted) if isinstance(wanted, int | float) and 1 <= wanted <= most else service.config.top_k

    async def open_page(visit: Visit, request: gr.Request) -> AsyncIterator[Changes]:
        visit.address = api.address(request)
        async for update in events.open_page(service, visit, parse_qs(str(request.query_params))):
            yield shown(update, visit, None)

    async def answer(path: Any, name: Any, others: Any, wanted: Any, visit: Visit) -> AsyncIterator[Changes]:
        async for update in events.answer(service, visit, path, name, others, whole(wanted), most):
            yield shown(update, visit, path)

    def show_more(path: Any, wanted: Any, visit: Visit) -> Changes:
        return shown(events.show_more(service, visit, whole(wanted)), visit, path)

    async def compare_all(path: Any, name: Any, visit: Visit) -> AsyncIterator[Changes]:
        async for update in events.compare_all(service, visit, path, name):
            yield shown(update, visit, path)

    def choose_example(event: gr.SelectData, visit: Visit) -> str:
        try:
            return events.choose_example(service, visit, event.index)
        except ImageError as error:
            raise gr.Error(escape(str(error)), print_exception=False) from None

    below = [output for panel in panels for output in panel.outputs]
    at_start = [page.notice, page.status, page.backbone, page.others, page.top_k, page.image, *below]
    demo.load(open_page, [visit_state], at_start, **QUIET)
    # all that compute share a concurrency id, so that the server can count who waits; one is computed at a time
    # "multiple": whoever chooses again does not wait for a download that is no longer wanted
    gr.on(
        [page.image.change, page.backbone.change, page.others.change, page.retry.click],
        answer,
        [page.image, page.backbone, page.others, page.top_k, visit_state],
        [page.status, page.result, page.retry, page.backbone, page.others, page.figures, *below],
        trigger_mode="multiple",
        concurrency_id=WORK,
        **QUIET,
    )
    # an answer is kept with more labels than are shown, so the network does not run again
    page.top_k.change(
        show_more, [page.image, page.top_k, visit_state], [page.result, *below], trigger_mode="always_last", **QUIET
    )
    chosen = [page.status, page.backbone, page.others, page.image]
    page.compare_all.click(compare_all, [page.image, page.backbone, visit_state], chosen, **QUIET)
    if page.examples is not None:
        page.examples.select(choose_example, [visit_state], [page.image], **QUIET)
    for panel in panels:
        panel.wire(page)
