"""The page: it wires, and leaves computing to the service, events to `events` and drawing to `render`."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from lineup.page import api, events, render
from lineup.page.picture import picture_field
from lineup.service import Service

CSS = Path(__file__).with_name("style.css")
JS = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
SHOWN_AT_MOST = 20  # classes that the slider can ask for

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
    config = service.config
    with gr.Blocks(title=config.title, analytics_enabled=False) as demo:
        visit = gr.State(events.Visit())
        gr.HTML(render.header(config.title, config.description))
        notice = gr.HTML(elem_id="notice")
        with gr.Row(elem_id="stage"):
            with gr.Column(scale=5, min_width=300):
                picture = picture_field(
                    label="Picture",
                    sources=["upload", "webcam", "clipboard"],
                    webcam_options=gr.WebcamOptions(mirror=False),  # a mirrored picture is another picture
                    height=380,
                    buttons=["fullscreen"],
                    elem_id="picture",
                    placeholder="Drop a picture here, paste one, or click to choose",
                )
                gallery = _gallery(service)
            with gr.Column(scale=6, min_width=300):
                backbone = gr.Dropdown(
                    choices=events.choices(service),
                    value=service.preselected,
                    label="Backbone",
                    info="Type to search. Each choice tells parameters, download size and whether it is ready.",
                    elem_id="backbone",
                )
                most = max(SHOWN_AT_MOST, config.top_k)
                top_k = gr.Slider(1, most, value=config.top_k, step=1, label="Labels to show", elem_id="top-k")
                status = gr.HTML(elem_id="status")
                retry = gr.Button("Try again", visible=False, size="sm", elem_id="retry")
                result = gr.HTML(elem_id="result")

        def shown(update: events.Update) -> dict[Any, Any]:
            parts = {"notice": notice, "status": status, "result": result}
            values: dict[Any, Any] = {parts[key]: value for key, value in update.items() if key in parts}
            dropdown = {"choices": "choices", "selected": "value"}
            if changes := {dropdown[key]: value for key, value in update.items() if key in dropdown}:
                values[backbone] = gr.Dropdown(**changes)
            if "retry" in update:
                values[retry] = gr.Button(visible=update["retry"])
            return values

        async def open_page(visit: events.Visit) -> AsyncIterator[dict[Any, Any]]:
            async for update in events.open_page(service, visit):
                yield shown(update)

        async def answer(path: Any, name: Any, wanted: Any, visit: events.Visit) -> AsyncIterator[dict[Any, Any]]:
            async for update in events.answer(service, visit, path, name, whole(wanted), most):
                yield shown(update)

        def show(wanted: Any, visit: events.Visit) -> Any:
            return render.answer(visit.answer, whole(wanted)) if visit.answer else gr.skip()

        def whole(wanted: Any) -> int:  # the number field of a slider can be emptied
            return int(wanted) if isinstance(wanted, int | float) and 1 <= wanted <= most else config.top_k

        def choose(event: gr.SelectData) -> str:
            return service.example_path(event.index)

        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        demo.load(open_page, [visit], [notice, status, backbone], **quiet)
        asked, outputs = [picture, backbone, top_k, visit], [status, result, retry, backbone]
        # "multiple": who changes his mind does not wait for a download that he no longer wants
        gr.on([picture.change, backbone.change, retry.click], answer, asked, outputs, trigger_mode="multiple", **quiet)
        # an answer is kept with more labels than are shown, so the network does not run again
        top_k.change(show, [top_k, visit], [result], trigger_mode="always_last", **quiet)
        if gallery is not None:
            gallery.select(choose, None, [picture], **quiet)
        api.add(service)
    return demo.queue(api_open=False, default_concurrency_limit=None)


def _gallery(service: Service) -> gr.Gallery | None:
    if not service.examples:
        return None
    return gr.Gallery(
        [(example.picture, example.caption) for example in service.examples],
        label="Examples",
        columns=4,
        fit_columns=False,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )
