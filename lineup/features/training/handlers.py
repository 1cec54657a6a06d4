"""The handlers of the page of trainings, independent of Gradio: they return updates, keyed by component.

Keys of an update: `classes`, `message`, `status`, `missing`, `verdict`, `trial` and `texts` are HTML; `start` is the
text of the button that trains, which is disabled unless `ready`; `running` says whether a training runs; `trained` are
the names of the backbones to take away, the best first, and none hides them; `backbones` are those that are selected.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from lineup.engines import zerogpu
from lineup.errors import LineupError
from lineup.features.training import html
from lineup.features.training.run import Trainings
from lineup.inference.jobs import JobStatus
from lineup.page import job_panels
from lineup.page.connections import on_thread
from lineup.page.folder_uploads import Uploads
from lineup.page.html import problem, status_box
from lineup.page.image_classes import IMAGES, Collections, cards
from lineup.page.latest import LatestRequests

Update = dict[str, Any]
_POLL_S = 0.4
_N_MESSAGES = 3  # about the classes, shown at once
_HINT = "It goes on if you close this page; this tab finds it again."
_FAILED = {"add-images": "The images cannot be added", "rename": "The class keeps its name"}
_NOTHING: Update = {"verdict": "", "trial": "", "trained": []}


@dataclass
class PageState(LatestRequests):
    """The state of one open page; the browser keeps the id of its collection, too."""

    collection: str = ""
    names: list[str] = field(default_factory=list)  # the backbones that are selected
    is_starting: bool = False
    is_adding: bool = False
    messages: list[str] = field(default_factory=list)  # about the latest changes of the classes, as HTML


class TakingHandlers:
    """Handle the events about what there is to take away."""

    def __init__(self, trainings: Trainings, collections: Collections) -> None:
        self.trainings, self.collections = trainings, collections

    async def take(self, state: PageState, backbone: str, name: str) -> Update:
        """Return what there is to take away of a backbone, under a name."""
        return await self._taken(state, lambda: html.take_away(self._trained(state), backbone, name))

    async def show_python(self, state: PageState, backbone: str, name: str) -> Update:
        """Return the same with Python that loads the folder, as its model card has it."""

        def shown() -> str:
            training = self._trained(state)
            python = self.trainings.python(training, backbone, name.strip())
            return html.take_away(training, backbone, name, python)

        return await self._taken(state, shown)

    async def _taken(self, state: PageState, render: Callable[[], str]) -> Update:
        is_latest = state.begin("taken")
        try:
            update = {"texts": await on_thread(render)}
        except LineupError as error:
            update = {"texts": problem("There is nothing to take away", error)}
        return update if is_latest() else {}

    async def add(self, state: PageState, backbone: str, name: str) -> AsyncIterator[Update]:
        """Add a trained backbone to the running page."""
        if state.is_adding:  # a second click
            return
        state.is_adding = True
        try:
            yield {"added": status_box("busy", f"Adding {name} …")}
            entry = await on_thread(lambda: self.trainings.add(self._trained(state), backbone, name))
            yield {"added": html.added(entry.name)}
        except LineupError as error:
            yield {"added": problem("It was not added", error)}
        finally:
            state.is_adding = False

    def _trained(self, state: PageState) -> str:
        training = self.collections.read(state.collection).training
        if not training:
            raise LineupError("training", "a finished training", "there is none", "train first")
        return training


class Handlers(TakingHandlers):
    """Handle the events of a page; `state` is that of the browser tab that an event comes from."""

    def __init__(self, trainings: Trainings, collections: Collections, uploads: Uploads) -> None:
        super().__init__(trainings, collections)
        self.uploads, self.service = uploads, trainings.service

    async def open(self, state: PageState) -> AsyncIterator[Update]:
        """Show the collection of the browser tab, or a new one, and select the backbones that can run."""
        is_latest = state.begin("backbones")
        update = await on_thread(self._opened, state)
        yield update
        await on_thread(self.service.probed.wait)
        if is_latest():  # none was selected meanwhile
            able = {status.name for status in self.service.backbones() if status.status != "unavailable"}
            able &= {entry.name for entry in self.service.config.backbones}  # not those that were trained here
            state.names = [name for name in self.trainings.candidates if name in able]
            state.names = state.names[: self.service.config.limits.max_compared]
            yield {"backbones": state.names, **await self.changed(state)}
        if "running" in update:
            async for each in self._watch(state):
                yield each

    def _opened(self, state: PageState) -> Update:
        state.messages = []
        try:
            collection = self.collections.read(self._collection(state))
        except LineupError:
            kept = html.kept(zerogpu.on_zerogpu())
            state.messages = [status_box("notice", "Your images are no longer on this server", kept)]
            state.collection = ""
            collection = self.collections.read(self._collection(state))
        update = {**_NOTHING, "classes": cards(collection, html.IMAGES_PATH), "message": "".join(state.messages)}
        return {**update, "running": True} if collection.training else update

    def _collection(self, state: PageState) -> str:
        """Return the id of the page's collection, which is created if it has none."""
        state.collection = state.collection or self.collections.create()
        return state.collection

    async def select(self, state: PageState, names: list[str]) -> Update:
        """Select backbones."""
        state.begin("backbones")
        state.names = names
        return await self.changed(state)

    async def changed(self, state: PageState) -> Update:
        """Return what the page shows after a change of classes or backbones; nothing if there was a later one."""
        is_latest = state.begin("classes")
        try:
            update = await on_thread(self._collected, state)
            update["message"] = "".join(state.messages)
        except LineupError as error:
            update = {"message": problem("Your classes are gone", error), "ready": False}
        return update if is_latest() else {}

    def _collected(self, state: PageState) -> Update:
        collection, status = self.collections.read(state.collection), self._status(state)
        text, missing = html.start(collection, state.names)
        shown = cards(collection, html.IMAGES_PATH, state.generations["classes"])
        update = {"classes": shown, "start": text, "missing": missing}
        return {**update, "ready": not missing and not (status and status.state == "running")}

    async def edit(self, state: PageState, action: str, values: dict[str, str]) -> Update:
        """Change the classes: `values` are what the action needs, as strings.

        What earlier changes have said is shown until a change succeeds that was not under way by then.
        """
        earlier = [] if values.get("continued") else state.messages
        try:
            message = html.left_out(await on_thread(self._edited, state, action, values))
        except LineupError as error:
            message = problem(_FAILED.get(action, "The classes are unchanged"), error)
        if action == "problem":  # of the browser
            message = problem(_FAILED["add-images"], values["text"])
        messages = [each for each in state.messages if each not in (*earlier, message)] + [message] * bool(message)
        state.messages = messages[-_N_MESSAGES:]
        return await self.changed(state)

    async def correct(self, state: PageState, action: str, values: dict[str, str]) -> Update:
        """Change the classes as `edit` does, and show the verdict with what has become of its images."""
        update = await self.edit(state, action, values)
        is_latest = state.begin("verdict")
        try:
            verdict = await on_thread(self._verdict, state, state.generations["verdict"])
        except LineupError:  # said in the message
            verdict = {}
        return {**update, **(verdict if is_latest() else {})}

    def _verdict(self, state: PageState, number: int) -> Update:
        """Return the verdict with the classes as they are now; nothing while another training runs."""
        status, collection = self._status(state), self.collections.read(state.collection)
        if not status or status.state != "done":
            return {}
        return {"verdict": html.verdict(self.trainings.report(status.id), collection, number)}

    def _edited(self, state: PageState, action: str, values: dict[str, str]) -> list[str]:
        collections, name, key = self.collections, self._collection(state), values["key"]
        if action == "add-class":
            collections.add_class(name)
        elif action == "rename":
            collections.rename(name, key, values["name"])
        elif action == "remove":
            collections.remove(name, key, values["image"])
        elif action == "move":
            collections.move(name, key, values["image"], values["target"])
        elif action == "add-images":
            return collections.add(name, self.uploads, values["upload"], key)
        return []

    async def start(self, state: PageState) -> AsyncIterator[Update]:
        """Begin or resume the training, and show its progress."""
        if state.is_starting:  # a second click
            return
        state.is_starting = True
        try:
            await on_thread(self._begin, state)
        except LineupError as error:
            yield {"status": problem("The training cannot begin", error)}
            return
        finally:
            state.is_starting = False
        async for update in self._watch(state):
            yield update

    def _begin(self, state: PageState) -> None:
        """Begin a training, unless one runs; it computes only the features that are not stored."""
        with self.collections.unchanged(state.collection):  # the images are copied; another tab may begin one, too
            status = self._status(state)
            if status and status.state == "running":
                return
            images = self.collections.images(state.collection)
            folder = self.collections.folder(state.collection) / IMAGES
            training = self.trainings.create(images, state.names, copied_from=folder)
            self.collections.trained(state.collection, training)
            self.trainings.start(training)

    async def stop(self, state: PageState) -> AsyncIterator[Update]:
        """Stop the training after its current batch."""
        status = await on_thread(self._status, state)
        if status:
            await on_thread(self.trainings.cancel, status.id)
        async for update in self._watch(state, is_stopping=True):
            yield update

    async def _watch(self, state: PageState, is_stopping: bool = False) -> AsyncIterator[Update]:
        """Show the progress of the training, and its report at the end."""
        is_latest = state.begin("training")
        try:
            status = await on_thread(self._status, state)
            while status and status.state == "running" and is_latest():
                progress = job_panels.progress(status, is_stopping, "steps", _HINT)
                yield {**_NOTHING, "status": progress, "running": True, "ready": False}
                await asyncio.sleep(_POLL_S)
                status = await on_thread(self._status, state)
            update = await on_thread(self._reported, state, status)
        except LineupError as error:
            update = {"status": problem("The training cannot be shown", error)}
        if is_latest():
            yield {**update, "running": False, **await self.changed(state)}

    def _reported(self, state: PageState, status: JobStatus | None) -> Update:
        if not status:
            is_deleted = self.collections.read(state.collection).training
            return {**_NOTHING, "status": html.deleted()} if is_deleted else dict(_NOTHING)
        ended = job_panels.ended(status, "steps", "Train")
        if status.state != "done":
            return {**_NOTHING, "status": ended}
        report = self.trainings.report(status.id)
        names = [each.name for each in report.ordered]
        trial = html.trial(status.id, report, names[0]) if names else ""
        verdict = self._verdict(state, state.generations["verdict"])
        return {"status": ended, **verdict, "trial": trial, "trained": names}

    def _status(self, state: PageState) -> JobStatus | None:
        """Return the status of the last training; None if there is none any more."""
        training = self.collections.read(state.collection).training
        try:
            return self.trainings.status(training) if training else None
        except LineupError:  # it was deleted by its age
            return None
