"""The page of trainings: a user's own classes come in, and classifiers come out."""

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.routing import BaseRoute

from lineup.engines import zerogpu
from lineup.features.training import html
from lineup.features.training.handlers import Handlers, PageState, Update
from lineup.features.training.routes import AnswerRoute, ArchiveRoute
from lineup.features.training.run import Trainings
from lineup.hub.cache_folder import cache_folder
from lineup.page.code_blocks import code_field
from lineup.page.connections import Connections
from lineup.page.folder_uploads import UploadRoute, Uploads, ZoneTexts, folder_zone
from lineup.page.handover import Handover
from lineup.page.html import status_box
from lineup.page.image_classes import Collections, cards_field
from lineup.page.layout import Page
from lineup.page.templates import read_script
from lineup.page.thumbnails import ThumbnailRoute
from lineup.page.visit import Visit
from lineup.page.wiring import LISTENER
from lineup.service import Service

PATH = "/classes"
NAME = "my-classes"  # of the folder, at first
_ZONE = ZoneTexts(
    "Have a folder already?", "Drop it here, with one sub-folder for each class; or a zip.", "Choose a zip"
)
_HERE = Path(__file__).parent
_VALUES = ("key", "name", "image", "target", "upload", "text", "continued")  # of an event of the classes
# the browser tab keeps the id of its collection, which the server's state may have lost
_JS = """(_, ...others) => {
  let stored = "";
  try { stored = sessionStorage.getItem("lineup-classes") ?? ""; } catch { /* not allowed in this frame */ }
  return [stored, ...others];
}"""
Changes = dict[Any, Any]


class TrainingPage:
    """The components of the page and their events, in the order of the screen."""

    def __init__(self, trainings: Trainings, collections: Collections, uploads: Uploads) -> None:
        self.handlers, self.service = Handlers(trainings, collections, uploads), trainings.service

    def build(self) -> None:
        """Create the components in the current Blocks context."""
        on_zerogpu, settings = zerogpu.on_zerogpu(), self.service.config.training
        gr.HTML(html.render("classes_header.html"))
        self.state, self.stored = gr.State(PageState()), gr.Textbox(visible=False)
        with gr.Row(elem_id="teaching"):
            with gr.Column(scale=7, min_width=300):
                self.zone = folder_zone(settings, html.kept(on_zerogpu), f"/{html.IMAGES_PATH}", _ZONE)
                self.message = gr.HTML(elem_id="classes-message")
                self.classes = cards_field()
            with gr.Column(scale=4, min_width=300, elem_id="learning"):
                self._build_training()
                self.trial = gr.HTML(
                    js_on_load=read_script("camera_stream") + read_script("trial", _HERE), elem_id="trial"
                )
        self.verdict = gr.HTML(js_on_load=read_script("verdict", _HERE), elem_id="verdict")
        self._build_taking(on_zerogpu)

    def _build_training(self) -> None:
        limit = self.service.config.limits.max_compared
        self.backbones = gr.Dropdown(
            self.handlers.trainings.candidates,
            multiselect=True,
            max_choices=limit,
            label="Backbones",
            info=f"Those that learn your classes, up to {limit}; the verdict says which one to take.",
            elem_id="learners",
        )
        with gr.Row():
            self.start = gr.Button("Train", variant="primary", interactive=False, elem_id="train", scale=3)
            self.stop = gr.Button("Stop", visible=False, elem_id="stop-training", scale=1)
        hint = '{{#if value}}<p class="lu-sub">{{value}}</p>{{/if}}'
        self.missing, self.status = gr.HTML(html_template=hint, elem_id="missing"), gr.HTML(elem_id="training-status")

    def _build_taking(self, on_zerogpu: bool) -> None:
        with gr.Column(visible=False, elem_id="taking") as self.taking:
            gr.HTML("<h2>Use it</h2>")
            with gr.Row():
                self.backbone = gr.Dropdown([], label="Backbone", elem_id="taken")
                self.name = gr.Textbox(NAME, label="Name", max_length=60, elem_id="taken-name")
            refused = self.handlers.trainings.adding_problem
            self.add = gr.Button("Add to this page now", variant="primary", visible=not refused, elem_id="add-now")
            if refused:
                gr.HTML(status_box("notice", "It cannot be added to this page", refused))
            elif on_zerogpu:
                gr.HTML(html.render("on_cpu.html"))
            self.added, self.texts = gr.HTML(elem_id="added"), code_field("take-away")
            self.python = gr.Button("Show plain Python", size="sm", elem_id="show-python")

    def wire(self, demo: gr.Blocks) -> None:
        """Register the listeners."""
        inputs = [self.stored, self.state, self.backbones]
        taken = [*inputs, self.backbone, self.name]
        texts = {"inputs": taken, "outputs": [self.texts, self.added], "js": _JS, **LISTENER}
        outputs = [self.classes, self.message, self.missing, self.start, self.stop, self.status, self.backbones]
        outputs += [self.verdict, self.trial, self.taking, self.backbone, self.added]
        listener: dict[str, Any] = {"inputs": inputs, "outputs": outputs, "js": _JS, **LISTENER}
        demo.load(self._listener(self.handlers.open), **listener)
        self.start.click(self._listener(self.handlers.start), **listener)
        self.stop.click(self._listener(self.handlers.stop), **listener)
        self.classes.select(self._event(self.handlers.edit), **listener)
        self.verdict.select(self._event(self.handlers.correct), **listener)
        self.zone.upload(self._folder, **listener)
        self.backbones.input(self._selected, **listener)
        gr.on([self.backbone.change, self.name.change], self._taken(self.handlers.take), **texts)
        self.python.click(self._taken(self.handlers.show_python), **texts)
        self.add.click(self._add, **texts)

    def _listener(self, handler: Callable[[PageState], AsyncIterator[Update]]) -> Callable[..., Any]:
        async def listen(stored: Any, state: PageState, names: Any) -> AsyncIterator[Changes]:
            _read(stored, state, names)
            order = -1
            async for update in handler(state):
                order = state.generations.total()
                yield self._changes(update)
            if order != state.generations.total():  # Gradio sends old values again, or empties the outputs of none
                yield {self.missing: gr.skip()}

        return listen

    def _event(self, handler: Callable[[PageState, str, dict[str, str]], Awaitable[Update]]) -> Callable[..., Any]:
        async def listen(stored: Any, state: PageState, names: Any, event: gr.EventData) -> Changes:
            _read(stored, state, names)
            values = {name: str(getattr(event, name, "")) for name in _VALUES}
            return self._changes(await handler(state, str(getattr(event, "action", "")), values))

        return listen

    async def _folder(self, stored: Any, state: PageState, names: Any, event: gr.EventData) -> Changes:
        _read(stored, state, names)
        values = {**dict.fromkeys(_VALUES, ""), "upload": str(getattr(event, "id", ""))}
        return self._changes(await self.handlers.edit(state, "add-images", values))

    async def _selected(self, stored: Any, state: PageState, names: Any) -> Changes:
        _read(stored, state, names)
        return self._changes(await self.handlers.select(state, list(names or [])))

    def _taken(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        async def listen(stored: Any, state: PageState, names: Any, backbone: Any, name: Any) -> Changes:
            _read(stored, state, names)
            update = await handler(state, str(backbone or ""), str(name or ""))
            return self._changes(update) if update else {self.texts: gr.skip()}

        return listen

    async def _add(self, stored: Any, state: PageState, names: Any, backbone: Any, name: Any) -> AsyncIterator[Changes]:
        _read(stored, state, names)
        async for update in self.handlers.add(state, str(backbone or ""), str(name or "")):
            yield self._changes(update)
        yield {self.texts: gr.skip()}  # a second click would empty the outputs

    def _changes(self, update: Update) -> Changes:
        """Convert an update to values by component, as Gradio expects them."""
        keys = ("classes", "message", "missing", "status", "verdict", "trial", "texts", "added")
        changes: Changes = {getattr(self, key): update[key] for key in keys if key in update}
        if "backbones" in update:  # entries may have been added since
            names = self.handlers.trainings.candidates
            changes[self.backbones] = gr.Dropdown(names, value=update["backbones"])
        if "trained" in update:
            names = update["trained"]
            changes[self.taking] = gr.Column(visible=bool(names))
            changes[self.backbone] = gr.Dropdown(names, value=names[0] if names else None)
            changes[self.added] = ""
        start = {"value": update.get("start"), "interactive": update.get("ready")}
        start = {key: value for key, value in start.items() if value is not None}
        if "running" in update:
            start["visible"] = not update["running"]
            changes[self.stop] = gr.Button(visible=update["running"])
        return {**changes, self.start: gr.Button(**start)} if start else changes or {self.missing: gr.skip()}


def _read(stored: Any, state: PageState, names: Any) -> None:
    """Read the controls, and the id that the browser tab keeps if the server has lost the state of this page."""
    state.names = list(names or []) or state.names  # a selection of the server's may be on its way to the browser
    state.collection = state.collection or str(stored or "")


class LinkPanel:
    """The link from the first page to this one."""

    outputs: Sequence[Any] = ()

    def applies(self, service: Service) -> bool:
        """Return whether there is such a page."""
        return service.config.training.enabled

    def build(self, service: Service) -> None:
        """Create the link."""
        gr.HTML(html.render("classes_link.html"), elem_id="classes-link")

    def wire(self, page: Page) -> None:
        """Do nothing: the link has no events."""

    def refresh(self, service: Service, visit: Visit, path: Path | None, is_final: bool) -> Mapping[Any, Any]:
        """Return no changes."""
        return {}


@functools.lru_cache(maxsize=1)
def _of(service: Service) -> tuple[Trainings, Collections, Uploads]:
    """Return the trainings, collections and uploads of a service, which its page and its routes share."""
    uploads = Uploads(service, cache_folder("class-uploads"), lambda config: config.training)
    return Trainings(service), Collections(service), uploads


def add(demo: gr.Blocks, service: Service, connections: Connections, images: Handover) -> None:
    """Add the page."""
    if service.config.training.enabled:
        with demo.route("Classes", PATH):
            page = TrainingPage(*_of(service))
            page.build()
            page.wire(demo)


def routes(service: Service) -> list[BaseRoute]:
    """Return the routes of uploads, thumbnails, answers and downloads."""
    if not service.config.training.enabled:
        return []
    trainings, collections, uploads = _of(service)
    max_megapixels = service.config.limits.max_megapixels
    return [
        UploadRoute(uploads, f"/{html.IMAGES_PATH}"),
        ThumbnailRoute(PATH, collections.folder, max_megapixels, collections.image, collections.delete_old),
        AnswerRoute(f"/{html.ANSWER_PATH}", trainings),
        ArchiveRoute(f"{PATH}/{{training}}/folder.zip", trainings),
    ]
