"""The page of evaluations: a folder of images comes in, and a verdict on the backbones comes out."""

import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import gradio as gr
from starlette.routing import Route

from lineup.analysis.evaluation import Report
from lineup.engines import zerogpu
from lineup.features.evaluation import api_panel, html
from lineup.features.evaluation.downloads import DownloadRoute
from lineup.features.evaluation.exploring_panel import ExploringSection, LabellingSection
from lineup.features.evaluation.handlers import Handlers, PageState, Update
from lineup.features.evaluation.run import Evaluations
from lineup.page.code_blocks import code_field
from lineup.page.connections import Connections, on_thread
from lineup.page.folder_uploads import UploadRoute, Uploads, folder_zone
from lineup.page.handover import Handover
from lineup.page.html import status_box
from lineup.page.label_meanings import meanings_field
from lineup.page.layout import Page
from lineup.page.run_address import run_field, run_of
from lineup.page.templates import read_script
from lineup.page.thumbnails import ThumbnailRoute
from lineup.page.visit import Visit
from lineup.page.wiring import LISTENER
from lineup.service import Service

PATH = "/evaluate"
ON_ZEROGPU = (
    "The images run in GPU calls of at most a minute, on your quota.",
    "When it is used up, the evaluation stops, and can be resumed. This Space keeps no results: download them.",
)
_HERE = Path(__file__).parent
Changes = dict[Any, Any]


class Section(Protocol):
    """A part of the page below the verdict; the constructor takes no arguments.

    Attributes:
        outputs: the components whose values `refresh` returns.
    """

    outputs: Sequence[Any]

    def build(self) -> None:
        """Create the components in the current Blocks context, hidden."""

    def wire(self, page: "EvaluationPage") -> None:
        """Register the listeners; `page` has the service, the evaluations and the `state` component."""

    def refresh(self, report: Report | None, state: PageState) -> Changes:
        """Return what changes with a report, on a thread; None when there is no report any more."""


SECTIONS: list[type[Section]] = [LabellingSection, ExploringSection]  # below the verdict, in the order of the screen


class EvaluationPage:
    """The components of the page and their events, in the order of the screen."""

    def __init__(self, service: Service, evaluations: Evaluations, uploads: Uploads, images: Handover) -> None:
        self.service, self.evaluations, self.uploads, self.images = service, evaluations, uploads, images
        self.handlers = Handlers(service, evaluations, uploads)

    def build(self) -> None:
        """Create the components in the current Blocks context."""
        settings, limits = self.service.config.evaluation, self.service.config.limits
        gr.HTML(html.header())
        self.state = gr.State(PageState())
        if zerogpu.on_zerogpu():
            gr.HTML(status_box("notice", *ON_ZEROGPU))
        kept = html.kept(zerogpu.on_zerogpu())
        self.zone = folder_zone(settings, kept)
        self.backbones = gr.Dropdown(
            self.service.names,
            multiselect=True,
            max_choices=limits.max_compared,
            label="Backbones",
            info=f"Those to compare, up to {limits.max_compared}.",
            elem_id="evaluated",
        )
        self.mapping = meanings_field()
        with gr.Row(elem_id="evaluation-buttons"):
            self.start = gr.Button(html.START, variant="primary", interactive=False, elem_id="start", scale=3)
            self.stop = gr.Button("Stop", visible=False, elem_id="stop-evaluation", scale=1)
            self.delete = gr.Button("Delete", visible=False, elem_id="delete-evaluation", scale=1)
        self.status = gr.HTML(elem_id="evaluation-status")
        self.scoring = gr.Radio(
            [("the best of your labels", "among"), ("the best of all classes", "anywhere")],
            value="among",
            label="An answer is right if the image's label is",
            visible=False,
            elem_id="scoring",
        )
        self.verdict = gr.HTML(elem_id="verdict")
        self.downloads = code_field("downloads")
        self.run = run_field()
        self.sections = [section() for section in SECTIONS]
        for section in self.sections:
            section.build()

    def wire(self, demo: gr.Blocks) -> None:
        """Register the listeners."""
        for section in self.sections:
            section.wire(self)
        inputs = [self.state, self.backbones, self.scoring]
        outputs = [self.mapping, self.status, self.verdict, self.downloads, self.run, self.backbones, self.scoring]
        outputs += [self.start, self.stop, self.delete]
        outputs += [output for section in self.sections for output in section.outputs]
        listener: dict[str, Any] = {"inputs": inputs, "outputs": outputs, **LISTENER}
        demo.load(self._listener(self.handlers.open), **listener)
        self.backbones.input(self._listener(self.handlers.select), **listener)
        self.start.click(self._listener(self.handlers.start), **listener)
        self.stop.click(self._listener(self.handlers.stop), **listener)
        self.delete.click(self._listener(self.handlers.delete), **listener)
        self.scoring.input(self._listener(self.handlers.score), **listener)
        self.zone.upload(self._upload, **listener)
        self.mapping.select(self._choose, **listener)

    def _listener(self, handler: Callable[[PageState], AsyncIterator[Update]]) -> Callable[..., Any]:
        async def listen(state: PageState, names: Any, scoring: Any, request: gr.Request) -> AsyncIterator[Changes]:
            self._read(state, names, scoring, request, is_load=handler == self.handlers.open)
            async for changes in self._shown(state, handler(state)):
                yield changes

        return listen

    async def _upload(
        self, state: PageState, names: Any, scoring: Any, request: gr.Request, event: gr.EventData
    ) -> AsyncIterator[Changes]:
        self._read(state, names, scoring, request)
        async for changes in self._shown(state, self.handlers.upload(state, str(event.id))):
            yield changes

    async def _choose(
        self, state: PageState, names: Any, scoring: Any, request: gr.Request, event: gr.EventData
    ) -> AsyncIterator[Changes]:
        self._read(state, names, scoring, request)
        async for changes in self._shown(state, self.handlers.choose(state, str(event.label), event.meaning)):
            yield changes

    async def _shown(self, state: PageState, updates: AsyncIterator[Update]) -> AsyncIterator[Changes]:
        """Yield updates as values by component.

        When a listener ends, Gradio sends its last values again, which may be old, or empties all outputs if it had
        none: then the last ones change nothing.
        """
        order = -1
        async for update in updates:
            order = state.generations.total()
            yield await self._changes(state, update)
        if order != state.generations.total():
            yield {self.status: gr.skip()}

    def _read(self, state: PageState, names: Any, scoring: Any, request: gr.Request, is_load: bool = False) -> None:
        """Read the controls; the address, too, if the server has lost the state of this page."""
        state.names, state.scoring = list(names or []), str(scoring or "among")
        self.restore(state, request, is_load)

    def restore(self, state: PageState, request: gr.Request, is_load: bool = False) -> None:
        """Read the address if the server has lost the state of this page."""
        if not (state.upload or state.evaluation) and (run := run_of(request)):
            state.evaluation = run
            if not is_load:
                gr.Info("The server had lost the state of this page, and found the evaluation by its address.")

    async def _changes(self, state: PageState, update: Update) -> Changes:
        """Convert an update to values by component, as Gradio expects them."""
        texts = ("mapping", "status", "verdict", "downloads", "run")
        changes: Changes = {getattr(self, key): update[key] for key in texts if key in update}
        if "backbones" in update:  # entries may have been added since
            changes[self.backbones] = gr.Dropdown(self.service.names, value=update["backbones"])
        if "scoring" in update:
            scoring = update["scoring"]
            changes[self.scoring] = gr.Radio(value=scoring, visible=True) if scoring else gr.Radio(visible=False)
        start: dict[str, Any] = {}
        if "running" in update:
            start["visible"] = not update["running"]
            changes[self.stop] = gr.Button(visible=update["running"])
        if "exists" in update:
            changes[self.delete] = gr.Button(visible=update["exists"])
        if "ready" in update:
            start["interactive"] = update["ready"]
        if "start" in update:
            start["value"] = update["start"]
        if start:
            changes[self.start] = gr.Button(**start)
        if "report" in update:
            changes |= await on_thread(self.refreshed, update["report"], state)
        return changes

    def refreshed(self, report: Report | None, state: PageState) -> Changes:
        """Return what the sections below the verdict show."""
        return {key: value for section in self.sections for key, value in section.refresh(report, state).items()}


class LinkPanel:
    """The link from the first page to this one."""

    outputs: Sequence[Any] = ()

    def applies(self, service: Service) -> bool:
        """Return whether there is such a page."""
        return service.config.evaluation.enabled

    def build(self, service: Service) -> None:
        """Create the link."""
        gr.HTML(html.link(), js_on_load=read_script("link", _HERE), elem_id="evaluate-link")

    def wire(self, page: Page) -> None:
        """Do nothing: the link has no events."""

    def refresh(self, service: Service, visit: Visit, path: Path | None, is_final: bool) -> Mapping[Any, Any]:
        """Return no changes."""
        return {}


@functools.lru_cache(maxsize=1)
def _of(service: Service) -> tuple[Evaluations, Uploads]:
    """Return the evaluations and the uploads of a service, which its page and its routes share."""
    return Evaluations(service), Uploads(service)


def add(demo: gr.Blocks, service: Service, connections: Connections, images: Handover) -> None:
    """Add the page, and the endpoints."""
    if service.config.evaluation.enabled:
        evaluations, uploads = _of(service)
        with demo.route("Evaluate", PATH):
            page = EvaluationPage(service, evaluations, uploads, images)
            page.build()
            page.wire(demo)
            api_panel.add(evaluations, uploads, connections)


def routes(service: Service) -> list[Route]:
    """Return the routes of uploads, downloads and thumbnails."""
    if not service.config.evaluation.enabled:
        return []
    evaluations, uploads = _of(service)
    thumbnails = ThumbnailRoute("/evaluation", evaluations.folder, service.config.limits.max_megapixels)
    return [UploadRoute(uploads), DownloadRoute(evaluations), thumbnails]
