"""The page: it wires, and leaves computing to the service and drawing to `render`."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from lineup.errors import LineupError
from lineup.page import api, render
from lineup.page.picture import PictureInput
from lineup.results import Classification
from lineup.service import Service

_log = logging.getLogger(__name__)

CSS = Path(__file__).with_name("style.css")
POLL_S = 0.2
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


@dataclass
class Visit:
    """What one visitor's page shows; lives on the server, one for each open page."""

    turn: int = 0  # counts what was asked: an older answer that comes late is dropped
    answer: Classification | None = None


def build(service: Service) -> gr.Blocks:
    """Build the page. Nothing is loaded by it: `service.start` does that."""
    config = service.config
    most = max(SHOWN_AT_MOST, config.top_k)
    with gr.Blocks(title=config.title, analytics_enabled=False, fill_width=False) as demo:
        visit = gr.State(Visit())
        gr.HTML(render.header(config.title, config.description))
        notice = gr.HTML(elem_id="notice")
        with gr.Row(elem_id="stage"):
            with gr.Column(scale=5, min_width=300):
                picture = PictureInput(
                    label="Picture",
                    type="filepath",
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
                    choices=_choices(service),
                    value=service.preselected,
                    label="Backbone",
                    info="Type to search. Each choice tells parameters, download size and whether it is ready.",
                    elem_id="backbone",
                )
                top_k = gr.Slider(1, most, value=config.top_k, step=1, label="Labels to show", elem_id="top-k")
                status = gr.HTML(elem_id="status")
                again = gr.Button("Try again", visible=False, size="sm", elem_id="again")
                result = gr.HTML(elem_id="result")
        _wire(service, demo, visit, notice, picture, gallery, backbone, top_k, status, again, result)
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


def _choices(service: Service) -> list[tuple[str, str]]:
    return [(render.choice(status), status.name) for status in service.backbones()]


def _wire(
    service: Service,
    demo: gr.Blocks,
    visit: gr.State,
    notice: gr.HTML,
    picture: PictureInput,
    gallery: gr.Gallery | None,
    backbone: gr.Dropdown,
    top_k: gr.Slider,
    status: gr.HTML,
    again: gr.Button,
    result: gr.HTML,
) -> None:
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    async def open_page(visit: Visit) -> AsyncIterator[dict[Any, Any]]:
        """Tell how the start gets on, until everything is known of every backbone."""
        shown: dict[Any, Any] = {}
        decided = False
        while True:
            known = service.looked.is_set()  # asked first: what follows is then the last word
            update: dict[Any, Any] = {"choices": _choices(service)}
            if service.started.is_set() and not decided:
                decided = True
                if service.preselected != service.config.default_name or service.default_problem:
                    update["notice"] = render.stand_in(
                        service.pool.status(service.config.default_name), service.pool.status(service.preselected)
                    )
                if visit.turn <= 1:  # the visitor has not chosen another one meanwhile
                    update["value"] = service.preselected
            if visit.turn == 0:
                update["status"] = _before_a_picture(service, service.preselected)
            changed = {key: value for key, value in update.items() if shown.get(key) != value}
            shown |= changed
            if changed:
                yield _page_update(changed)
            if known:
                return
            await asyncio.sleep(POLL_S)

    def _page_update(changed: dict[str, Any]) -> dict[Any, Any]:
        update: dict[Any, Any] = {}
        if "notice" in changed:
            update[notice] = changed["notice"]
        if "status" in changed:
            update[status] = changed["status"]
        if "choices" in changed or "value" in changed:
            update[backbone] = gr.Dropdown(**{key: changed[key] for key in ("choices", "value") if key in changed})
        return update

    async def answer(path: Path | None, name: Any, wanted: int, visit: Visit) -> AsyncIterator[dict[Any, Any]]:
        """Answer on a picture, telling how the backbone gets ready; stop when something newer is asked."""
        visit.turn += 1
        turn, visit.answer = visit.turn, None
        yield {again: gr.Button(visible=False)}
        try:
            async for shown in _until_loaded(service, name):
                if visit.turn != turn:
                    return
                yield {status: shown}
            if path is None:
                yield {status: _before_a_picture(service, name), result: "", backbone: _refreshed(service)}
                return
            yield {status: render.thinking(name)}
            found = await asyncio.to_thread(service.classify, path, name, most)
        except LineupError as error:
            if visit.turn == turn:
                broken = service.pool.status(name).status == "unavailable" if name in service.pool.names else False
                title = f"{name} cannot run now" if broken else "This cannot be answered"
                yield {
                    status: render.problem(title, str(error)),
                    result: "",
                    again: gr.Button(visible=True),
                    backbone: _refreshed(service),
                }
            return
        except Exception:
            _log.exception("an answer failed")
            if visit.turn == turn:
                yield {
                    status: render.problem("Something went wrong", "The server's log has the details."),
                    result: "",
                    again: gr.Button(visible=True),
                }
            return
        if visit.turn == turn:
            visit.answer = found
            yield {status: "", result: render.answer(found, wanted), backbone: _refreshed(service)}

    def show(wanted: int, visit: Visit) -> Any:
        """Show more or fewer labels of the answer that is there: the network does not run again."""
        return render.answer(visit.answer, int(wanted)) if visit.answer else gr.skip()

    most = int(top_k.maximum)
    outputs = [status, result, again, backbone]
    asked = [picture, backbone, top_k, visit]
    demo.load(open_page, [visit], [notice, status, backbone], concurrency_limit=None, **quiet)
    gr.on([picture.change, backbone.change, again.click], answer, asked, outputs, trigger_mode="multiple", **quiet)
    top_k.change(show, [top_k, visit], [result], trigger_mode="always_last", **quiet)
    if gallery is not None:

        def choose(event: gr.SelectData) -> str:
            return service.example_path(event.index)

        gallery.select(choose, None, [picture], **quiet)


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


def _refreshed(service: Service) -> Any:
    return gr.Dropdown(choices=_choices(service))
