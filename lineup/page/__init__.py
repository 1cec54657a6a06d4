"""The page: it wires, and leaves computing to the service, events to `events` and drawing to `render`."""

from collections.abc import AsyncIterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import gradio as gr

from lineup.errors import PictureError
from lineup.page import api, events, render
from lineup.page.guard import guard
from lineup.page.layout import lay_out
from lineup.page.link import most_shown
from lineup.service import Service
from lineup.visitors import WORK

CSS = Path(__file__).with_name("style.css")
JS = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
Changes = dict[Any, Any]

THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.indigo,
    secondary_hue=gr.themes.colors.violet,
    neutral_hue=gr.themes.colors.slate,
    radius_size=gr.themes.sizes.radius_lg,
    # fonts of the visitor's own machine: nothing is fetched from elsewhere
    font=["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
).set(body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400")


def build(service: Service) -> gr.Blocks:
    """Build the page. Nothing is loaded by it: `service.start` does that."""
    with gr.Blocks(title=service.config.title, analytics_enabled=False) as demo:
        visit = gr.State(events.Visit())
        parts = lay_out(service)
        _wire(service, demo, parts, visit)
        api.add(service)
    guard(demo)
    demo.api_open = False  # what goes past the queue; to say it by `queue` builds the whole server once more: 0.1 s
    return demo


def _wire(service: Service, demo: gr.Blocks, parts: Any, visit: gr.State) -> None:
    """Let what a visitor does change what the parts show."""
    most = most_shown(service)

    async def open_page(visit: events.Visit, request: gr.Request) -> AsyncIterator[Changes]:
        visit.address = api.address(request)
        async for update in events.open_page(service, visit, parse_qs(str(request.query_params))):
            yield _shown(parts, update)

    async def answer(path: Any, name: Any, others: Any, wanted: Any, visit: events.Visit) -> AsyncIterator[Changes]:
        async for update in events.answer(service, visit, path, name, others, whole(wanted), most):
            yield _shown(parts, update)

    async def measure(path: Any, visit: events.Visit) -> AsyncIterator[Changes]:
        async for update in events.measure(service, visit, path):
            yield _shown(parts, update)

    def show_more(path: Any, wanted: Any, visit: events.Visit) -> Changes:
        return _shown(parts, events.show_more(service, visit, path, whole(wanted)))

    def whole(wanted: Any) -> int:  # the number field of a slider can be emptied
        return int(wanted) if isinstance(wanted, int | float) and 1 <= wanted <= most else service.config.top_k

    def choose_example(event: gr.SelectData, visit: events.Visit) -> str:
        try:
            return events.choose_example(service, visit, event.index)
        except PictureError as error:
            raise gr.Error(escape(str(error)), print_exception=False) from None

    async def compare_all(path: Any, name: Any, visit: events.Visit) -> AsyncIterator[Changes]:
        async for update in events.compare_all(service, visit, path, name):
            yield _shown(parts, update)

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "concurrency_limit": None}
    at_start = [parts.notice, parts.status, parts.backbone, parts.others, parts.top_k, parts.picture, parts.plot]
    demo.load(open_page, [visit], at_start, **quiet)
    code = [parts.python, parts.client, parts.curl, parts.link]
    # all that compute are of one kind, so that the server can count who waits; one is computed at a time
    # "multiple": who changes his mind does not wait for a download that he no longer wants
    gr.on(
        [parts.picture.change, parts.backbone.change, parts.others.change, parts.retry.click],
        answer,
        [parts.picture, parts.backbone, parts.others, parts.top_k, visit],
        [parts.status, parts.result, parts.retry, parts.backbone, parts.others, parts.figures, parts.plot, *code],
        trigger_mode="multiple",
        concurrency_id=WORK,
        **quiet,
    )
    # an answer is kept with more labels than are shown, so the network does not run again
    parts.top_k.change(
        show_more, [parts.picture, parts.top_k, visit], [parts.result, *code], trigger_mode="always_last", **quiet
    )
    chosen = [parts.status, parts.backbone, parts.others, parts.picture]
    parts.compare_all.click(compare_all, [parts.picture, parts.backbone, visit], chosen, **quiet)
    told = [parts.measured, parts.plot, parts.backbone, parts.others]
    measuring = parts.measure.click(measure, [parts.picture, visit], told, concurrency_id=WORK, **quiet)
    parts.stop.click(render.stopped, None, [parts.measured], cancels=[measuring], **quiet)
    parts.link.change(None, [parts.link], None, js="(link) => lineup.show(link)", **quiet)
    if parts.examples is not None:
        parts.examples.select(choose_example, [visit], [parts.picture], **quiet)


def _shown(parts: Any, update: events.Update) -> Changes:
    """Turn an update into what Gradio takes: a value for each part that changes."""
    changes: Changes = {}
    for place, (part, key) in enumerate([(parts.backbone, "selected"), (parts.others, "others")]):
        change = {"value": update[key]} if key in update else {}
        if "choices" in update:
            change["choices"] = update["choices"][place]
        if change:
            changes[part] = gr.Dropdown(**change)
    if "retry" in update:
        changes[parts.retry] = gr.Button(visible=update["retry"])
    apart = ("selected", "others", "choices", "retry")
    return changes | {getattr(parts, key): value for key, value in update.items() if key not in apart}
