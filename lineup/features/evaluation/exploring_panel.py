"""Sections of the page of evaluations: labelling where backbones differ, and what there is to look at."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from lineup.analysis import exploration, labelling
from lineup.analysis.evaluation import Report, scoring_of
from lineup.analysis.exploration import Filter
from lineup.errors import LineupError
from lineup.features.evaluation import gallery, reading
from lineup.features.evaluation import labelling as kept_labels
from lineup.features.evaluation.handlers import PageState
from lineup.features.evaluation.html import render
from lineup.page.connections import on_thread
from lineup.page.handover import new_owner, owner_state
from lineup.page.html import problem
from lineup.page.image_field import copy_to_uploads
from lineup.page.templates import read_script
from lineup.page.wiring import LISTENER

if TYPE_CHECKING:
    from lineup.features.evaluation.panel import EvaluationPage

_HERE = Path(__file__).parent
_PAGE = 24  # images that are shown at once
_KINDS = {
    "all": "All images, disagreements first",
    "differ": "The backbones differ",
    "only": "One is right, another is wrong",
    "all wrong": "All are wrong",
    "label": "One label",
    "least sure": "The least sure first",
}
_UNLABELLED = ("all", "differ", "least sure")  # filters that need no labels
# an answer may take longer than a browser lets a click open a tab
_OPEN = "(address) => { if (address) window.open(address, '_blank') || location.assign(address); }"
Changes = dict[Any, Any]


def _report(page: "EvaluationPage", state: PageState, scoring: object) -> Report:
    return reading.report(page.evaluations, state.evaluation, None, scoring_of(scoring))


class LabellingSection:
    """Label the images on which backbones differ, when the folder has no labels that are scored."""

    def build(self) -> None:
        """Create the component, which is hidden while it is empty."""
        self.shown = gr.HTML(js_on_load=read_script("labelling", _HERE), elem_id="labelling")
        self.outputs: Sequence[Any] = [self.shown]

    def wire(self, page: "EvaluationPage") -> None:
        """Register the listener of its steps."""
        self.page = page

        async def take(state: PageState, scoring: str, request: gr.Request, event: gr.EventData) -> str:
            page.restore(state, request)
            values = [getattr(event, name, None) for name in ("action", "image", "keys")]
            return await on_thread(self._taken, state, scoring, *values)

        inputs = [page.state, page.scoring]
        self.shown.select(take, inputs, [self.shown], **LISTENER)

    def refresh(self, report: Report | None, state: PageState) -> Changes:
        """Show the next image."""
        is_shown = report and not report.is_labelled and report.n_differing
        return {self.shown: self._rendered(report, state) if report and is_shown else ""}

    def _rendered(self, report: Report, state: PageState, problem: str = "") -> str:
        labels = kept_labels.read(self.page.evaluations.folder(state.evaluation))
        return gallery.labelling(report, state.evaluation, labelling.session(report, labels), problem)

    def _taken(self, state: PageState, scoring: str, action: object, image: object, keys: object) -> str:
        try:
            report, folder = _report(self.page, state, scoring), self.page.evaluations.folder(state.evaluation)
        except LineupError as error:
            return problem("There is no such evaluation", error)
        try:
            kept_labels.append(folder, labelling.step(report, kept_labels.read(folder), action, image, keys))
        except LineupError as error:
            return self._rendered(report, state, str(error))
        return self._rendered(report, state)


class ExploringSection:
    """The plot of accuracy against latency, the gallery, the confusion matrix and the reliability curves."""

    def build(self) -> None:
        """Create the components."""
        script = read_script("gallery", _HERE)
        self.filter, self.owner = gr.State((Filter(), _PAGE)), owner_state()
        with gr.Column(visible=False, elem_id="exploring") as self.column:
            with gr.Column(visible=False) as self.plotted:
                gr.HTML("<h3>Accuracy against speed</h3>")
                self.plot = gr.Plot(show_label=False, elem_id="accuracy-plot")
                self.plot_table = gr.HTML()
            gr.HTML("<h3>The images</h3>")
            with gr.Row():
                self.kind = gr.Dropdown([], label="Show", elem_id="kind")
                self.right = gr.Dropdown([], label="Right", visible=False, elem_id="only-right")
                self.wrong = gr.Dropdown([], label="Wrong", visible=False, elem_id="only-wrong")
                self.label = gr.Dropdown([], label="Label", visible=False, elem_id="only-label")
            self.gallery = gr.HTML(js_on_load=script, elem_id="gallery")
            self.more = gr.Button("Show more", elem_id="more")
            self.address = gr.Textbox(visible=False)
            with gr.Accordion("Which labels are confused", open=False, visible=False) as self.confused:
                self.backbone = gr.Dropdown([], label="Backbone", elem_id="confused-by")
                self.confusion = gr.HTML(js_on_load=script, elem_id="confusion")
            with gr.Accordion("How far the probabilities can be trusted", open=False, visible=False) as self.trusted:
                self.reliability = gr.HTML(elem_id="reliability")
        self.filters: list[Any] = [self.kind, self.right, self.wrong, self.label]
        shown = [self.column, self.plotted, self.plot, self.plot_table, self.filter, *self.filters, self.gallery]
        shown += [self.more, self.confused, self.backbone, self.confusion, self.trusted, self.reliability]
        self.outputs: Sequence[Any] = shown

    def wire(self, page: "EvaluationPage") -> None:
        """Register the listeners."""
        self.page = page
        report, images = [page.state, page.scoring], [self.filter, self.gallery, self.more, *self.filters]
        for each in self.filters:
            each.input(self._filtered, [*report, *self.filters], images, **LISTENER)
        self.more.click(self._more, [*report, self.filter], images, **LISTENER)
        self.confusion.select(self._cell, report, images, **LISTENER)
        self.backbone.input(self._confusion, [*report, self.backbone], [self.confusion], **LISTENER)
        opened = self.gallery.select(self._open, [page.state, self.owner], [self.owner, self.address], **LISTENER)
        opened.then(None, [self.address], None, js=_OPEN, **LISTENER)

    def refresh(self, report: Report | None, state: PageState) -> Changes:
        """Show the report, from the first images on."""
        if not report or not report.backbones:
            return {self.column: gr.Column(visible=False)}
        names, labelled = [each.name for each in report.backbones], report.is_labelled
        kinds = [(text, kind) for kind, text in _KINDS.items() if labelled or kind in _UNLABELLED]
        points = gallery.points(report) if labelled else []
        other = names[1] if names[1:] else names[0]
        changes: Changes = {
            self.column: gr.Column(visible=True),
            self.plotted: gr.Column(visible=bool(points)),
            self.plot: gallery.plot(report) if points else None,
            self.plot_table: render("plot_table.html", points=points),
            self.kind: gr.Dropdown(kinds, value="all"),
            self.right: gr.Dropdown(names, value=names[0], visible=False),
            self.wrong: gr.Dropdown(names, value=other, visible=False),
            self.label: gr.Dropdown(report.images.labels, value=None, visible=False),
            self.confused: gr.Accordion(visible=labelled),
            self.backbone: gr.Dropdown(names, value=names[0]),
            self.confusion: gallery.confusion(report, names[0]) if labelled else "",
            self.trusted: gr.Accordion(visible=labelled),
            self.reliability: gallery.reliability(report) if labelled else "",
        }
        return changes | self._shown(report, state, Filter(), _PAGE)

    def _shown(self, report: Report, state: PageState, wanted: Filter, n_shown: int) -> Changes:
        indices, title = exploration.select(report, wanted), _KINDS.get(wanted.kind, "")
        if wanted.kind == "cell":
            title = f"{wanted.label}, which {wanted.backbone} takes for {wanted.answer or 'none of the labels'}"
        return {
            self.filter: (wanted, n_shown),
            self.gallery: gallery.shots(report, state.evaluation, indices, n_shown, title),
            self.more: gr.Button(visible=len(indices) > n_shown),
        }

    async def _images(self, state: PageState, scoring: str, wanted: Filter, n_shown: int = _PAGE) -> Changes:
        """Return the images of a filter; nothing if others are wanted meanwhile."""

        def shown() -> Changes:
            return self._shown(_report(self.page, state, scoring), state, wanted, n_shown)

        is_latest = state.begin("images")
        try:
            changes = await on_thread(shown)
        except LineupError as error:
            changes = {self.gallery: problem("The images cannot be shown", error)}
        return changes if is_latest() else {}

    async def _filtered(self, state: PageState, scoring: str, kind: Any, right: Any, wrong: Any, label: Any) -> Changes:
        """Show the images of a filter, and the fields that it needs."""
        wanted = exploration.filter_of(kind, backbone=right, other=wrong, label=label)
        fields = {
            self.right: gr.Dropdown(visible=kind == "only"),
            self.wrong: gr.Dropdown(visible=kind == "only"),
            self.label: gr.Dropdown(visible=kind == "label"),
        }
        images = await self._images(state, scoring, wanted)
        return images | fields if images else {self.gallery: gr.skip()}

    async def _more(self, state: PageState, scoring: str, shown: tuple[Filter, int], request: gr.Request) -> Changes:
        self.page.restore(state, request)
        return await self._images(state, scoring, shown[0], shown[1] + _PAGE) or {self.gallery: gr.skip()}

    async def _cell(self, state: PageState, scoring: str, request: gr.Request, event: gr.EventData) -> Changes:
        """Show the images of a cell of the confusion matrix."""
        self.page.restore(state, request)
        values = {key: getattr(event, key, "") for key in ("backbone", "label", "answer")}
        images = await self._images(state, scoring, exploration.filter_of("cell", **values))
        return images | {self.kind: None} if images else {self.gallery: gr.skip()}

    async def _confusion(self, state: PageState, scoring: str, name: str, request: gr.Request) -> str:
        self.page.restore(state, request)

        def shown() -> str:
            return gallery.confusion(_report(self.page, state, scoring), name)

        return await on_thread(shown)

    async def _open(self, state: PageState, owner: Any, request: gr.Request, event: gr.EventData) -> Changes:
        """Pass an image on to the first page."""
        self.page.restore(state, request)
        report = await on_thread(_report, self.page, state, "among")
        index, images = str(getattr(event, "image", "")), report.images.images
        if not index.isdecimal() or int(index) >= len(images):
            return {self.address: ""}
        image, owner = images[int(index)], owner if isinstance(owner, str) and owner else new_owner()
        path = await on_thread(copy_to_uploads, Path(image.path), image.sha256)
        return {self.owner: owner, self.address: f"./?image={self.page.images.give(owner, path)}"}
