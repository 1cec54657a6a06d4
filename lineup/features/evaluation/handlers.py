"""The handlers of the page of evaluations, independent of Gradio: each yields updates, keyed by component.

Keys of an update: `mapping`, `status`, `verdict` and `downloads` are HTML; `run` is the id in the address;
`backbones` and `scoring` are values, and no scoring hides the choice; `start` is the text of the primary button, which
is disabled while `ready` is False; `running` and `exists` say whether the evaluation runs, and whether there is one;
`report` is for the sections below, None if there is none any more.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineup.analysis import label_mapping
from lineup.analysis.evaluation import Report, scoring_of
from lineup.analysis.label_mapping import Meaning
from lineup.errors import LineupError
from lineup.features.evaluation import downloads, exports, html, reading
from lineup.features.evaluation.run import Evaluations
from lineup.images.image_set import ImageSet
from lineup.inference.jobs import JobStatus
from lineup.page import job_panels, label_meanings
from lineup.page.connections import on_thread
from lineup.page.folder_uploads import Uploads
from lineup.page.html import problem, status_box
from lineup.page.latest import LatestRequests
from lineup.registry.labels import LabelSet
from lineup.service import Service

Update = dict[str, Any]
_POLL_S = 0.5
_NOTHING: Update = {"verdict": "", "downloads": "", "scoring": None, "running": False, "exists": False, "report": None}


@dataclass
class PageState(LatestRequests):
    """The state of one open page."""

    upload: str = ""
    evaluation: str = ""
    chosen: dict[str, Meaning] = field(default_factory=dict)  # meanings of the labels of an upload
    names: list[str] = field(default_factory=list)  # the backbones that are selected
    scoring: str = "among"
    is_starting: bool = False


class Handlers:
    """Handle the events of a page; `state` is that of the browser tab that an event comes from."""

    def __init__(self, service: Service, evaluations: Evaluations, uploads: Uploads) -> None:
        self.service, self.evaluations, self.uploads = service, evaluations, uploads

    async def open(self, state: PageState) -> AsyncIterator[Update]:
        """Show the evaluation of the address, or select the backbones that can run."""
        if state.evaluation:
            async for update in self._watch(state):
                yield update
            return
        if update := await _proposed(self.service, state):
            yield update

    async def upload(self, state: PageState, upload: str) -> AsyncIterator[Update]:
        """Show what the labels of uploaded images mean."""
        state.begin("evaluation")
        state.begin("report")
        state.upload, state.evaluation, state.chosen = upload, "", {}
        is_latest, update = state.begin("mapping"), dict[str, Any]()
        if not state.names:  # as in the first seconds of the server, before any could be selected
            searching = status_box("busy", "Finding the backbones that can run …")
            yield {**_NOTHING, "run": "", "mapping": "", "status": searching, "ready": False}
            update = await _proposed(self.service, state)
        update |= await on_thread(self._mapped, state)
        if is_latest():
            yield {**_NOTHING, "run": "", **update}

    async def select(self, state: PageState) -> AsyncIterator[Update]:
        """Show what the labels mean to the selected backbones."""
        state.begin("backbones")
        is_latest = state.begin("mapping")
        if not (state.upload or state.evaluation):
            return
        update = await on_thread(self._mapped, state)
        if is_latest():
            yield update

    async def choose(self, state: PageState, label: str, meaning: Any) -> AsyncIterator[Update]:
        """Correct the meaning of a label."""
        is_latest, parts = state.begin("mapping"), meaning if isinstance(meaning, list) else [meaning]
        try:
            update = await on_thread(self._chosen, state, label, parts)
        except LineupError as error:
            update = {"status": problem(f"{label} keeps its meaning", error)}
        if is_latest():
            yield update

    def _chosen(self, state: PageState, label: str, meaning: Meaning) -> Update:
        label_mapping.match(self._images(state).labels, _label_sets(self.service, state.names), {label: meaning})
        if state.upload:
            state.chosen[label] = meaning
            return self._mapped(state)
        self.evaluations.choose(state.evaluation, {label: meaning})
        update = self._mapped(state)
        return update if self._status(state).state == "running" else update | self._shown(state, is_open=True)

    async def score(self, state: PageState) -> AsyncIterator[Update]:
        """Show the report with another way of scoring."""
        is_latest = state.begin("report")
        update = await on_thread(self._shown, state)
        if is_latest():
            yield update

    async def start(self, state: PageState) -> AsyncIterator[Update]:
        """Begin or resume the evaluation, and show its progress."""
        if state.is_starting:  # a second click
            return
        state.is_starting = True
        try:
            await on_thread(self._begin, state)
        except LineupError as error:
            yield {"status": problem("The evaluation cannot begin", error), "run": state.evaluation}
            return
        finally:
            state.is_starting = False
        async for update in self._watch(state):
            yield update

    def _begin(self, state: PageState) -> None:
        """Begin or resume the evaluation that is asked for, unless it runs."""
        if not state.names:
            raise LineupError("backbones", "at least one backbone", "none is selected", "select one above")
        if state.upload:
            # the images have moved: what follows may fail, but the page has the evaluation
            state.evaluation = self.evaluations.create_from(self.uploads, state.upload, state.names)
            state.upload = ""
            self.evaluations.choose(state.evaluation, state.chosen)
        elif (status := self._status(state)).state == "running":
            return
        elif sorted(state.names) != sorted(status.settings["backbones"]):
            state.evaluation = self.evaluations.create_again(state.evaluation, state.names)
        self.evaluations.start(state.evaluation)

    async def stop(self, state: PageState) -> AsyncIterator[Update]:
        """Stop the evaluation after its current batch."""
        try:
            await on_thread(lambda: self.evaluations.cancel(self._status(state).id))
        except LineupError as error:
            yield {"status": problem("The evaluation cannot be stopped", error)}
            return
        async for update in self._watch(state, is_stopping=True):
            yield update

    async def delete(self, state: PageState) -> AsyncIterator[Update]:
        """Delete the evaluation with its images."""
        for kind in ("evaluation", "mapping", "report"):
            state.begin(kind)
        try:
            await on_thread(lambda: self.evaluations.delete(self._status(state).id))
            status = html.deleted()
        except LineupError as error:
            status = problem("There is nothing to delete", error)
        state.upload, state.evaluation, state.chosen = "", "", {}
        yield {**_NOTHING, "run": "", "mapping": "", "status": status, "start": html.START, "ready": False}

    async def _watch(self, state: PageState, is_stopping: bool = False) -> AsyncIterator[Update]:
        """Show the progress of an evaluation, and its report at the end."""
        is_latest, update = state.begin("evaluation"), {**_NOTHING, "run": state.evaluation}
        try:
            status = await on_thread(self._status, state)
            state.names = [name for name in status.settings["backbones"] if name in self.service.names]
            update["backbones"] = state.names
            if status.state == "running":
                update |= await on_thread(self._mapped, state)
            while status.state == "running" and is_latest():
                progress = job_panels.progress(status, is_stopping)
                yield {**update, "status": progress, "running": True, "exists": True, "ready": False}
                update = {}
                await asyncio.sleep(_POLL_S)
                status = await on_thread(self._status, state)
            update |= await on_thread(self._shown, state)
        except LineupError as error:
            state.evaluation = ""
            update |= {"status": problem("The server has no such evaluation", error), "run": "", "ready": False}
        if is_latest():
            yield update

    def _shown(self, state: PageState, is_open: bool = False) -> Update:
        """Return the report of an evaluation; `is_open` unfolds what its labels mean."""
        try:
            status, scoring = self._status(state), scoring_of(state.scoring)
            report = reading.report(self.evaluations, state.evaluation, None, scoring)
        except LineupError as error:
            return {"status": problem("The evaluation cannot be shown", error), "running": False}
        return _reported(self.evaluations, state, status, report, is_open)

    def _mapped(self, state: PageState) -> Update:
        """Return what the labels of the images mean to the selected backbones."""
        try:
            images, label_sets = self._images(state), _label_sets(self.service, state.names)
            chosen = state.chosen if state.upload else self.evaluations.chosen(state.evaluation)
            fitting, unfit = label_mapping.fitting(label_sets, chosen)
            matches = label_mapping.match(images.labels, label_sets, fitting)
            is_running = not state.upload and self._status(state).state == "running"
        except LineupError as error:
            return {"status": problem("These images cannot be evaluated", error), "mapping": "", "ready": False}
        if not state.names:
            none = status_box("notice", "No backbone is selected", "Its classes decide what your labels mean.")
            return {"mapping": "", "status": none, "start": html.start(images, []), "ready": False}
        update = {"mapping": label_meanings.mapping(images, matches, label_sets.values(), is_open=True)}
        if is_running:
            return update
        status = status_box("notice", "Some meanings do not fit these backbones", *unfit) if unfit else ""
        return {**update, "status": status, "start": html.start(images, state.names), "ready": True}

    def _images(self, state: PageState) -> ImageSet:
        return self.uploads.images(state.upload) if state.upload else ImageSet.read(self._folder(state))

    def _folder(self, state: PageState) -> Path:
        return self.evaluations.folder(self._status(state).id)

    def _status(self, state: PageState) -> JobStatus:
        if not state.evaluation:
            raise LineupError("page", "images", "the server has none of this page any more", "choose the folder again")
        return self.evaluations.status(state.evaluation)


async def _proposed(service: Service, state: PageState) -> Update:
    """Select the backbones that can run, once they have been probed, unless a selection is made meanwhile."""
    is_latest = state.begin("backbones")
    await on_thread(service.probed.wait)
    if not is_latest():
        return {}
    able = [status.name for status in service.backbones() if status.status != "unavailable"]
    state.names = able[: service.config.limits.max_compared]
    return {"backbones": state.names}


def _reported(evaluations: Evaluations, state: PageState, status: JobStatus, report: Report, is_open: bool) -> Update:
    """Return what a report shows; `is_open` unfolds what its labels mean."""
    label_sets = [backbone.labels for backbone in report.backbones]
    is_same = sorted(state.names) == sorted(status.settings["backbones"])
    return {
        "status": job_panels.ended(status),
        "mapping": label_meanings.mapping(report.images, report.matches, label_sets, is_open),
        "verdict": html.verdict(report),
        "downloads": _downloads(evaluations, status, report),
        "scoring": report.scoring if report.is_labelled else None,
        "start": html.start(report.images, state.names, status.state if is_same else ""),
        "ready": not is_same or status.state != "done",
        "running": False,
        "exists": True,
        "report": report,
    }


def _downloads(evaluations: Evaluations, status: JobStatus, report: Report) -> str:
    """Render what there is to take away."""
    winner = (report.verdict.recommended or "") if report.is_labelled else ""
    lines = exports.config_lines(evaluations.service.config, winner)
    repeat = downloads.command(evaluations, status.id, report)
    return html.downloads(status.id, report, len(exports.differing(report)), repeat, lines)


def _label_sets(service: Service, names: list[str]) -> dict[str, LabelSet]:
    return {name: labels for name in names if (labels := service.labels(name))}
