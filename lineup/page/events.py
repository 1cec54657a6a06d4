"""The page's event handlers, independent of Gradio: each yields updates, keyed by component.

Keys of an update: `notice`, `status`, `result` and `table` are HTML; `choices` are those of both dropdowns;
`selected`, `others`, `top_k` and `image` are values; `retry` shows or hides the retry button; `refresh` refreshes
the panels: "partial" while answers are pending, then "final".
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from lineup.errors import INTERNAL_ERROR, BusyError, ClientDisconnected, HubError, ImageError, LineupError
from lineup.inference.queue import Cancelled
from lineup.page import cards, comparison_table, html, link
from lineup.page.connections import Connections, on_thread
from lineup.page.handover import Handover
from lineup.page.visit import POLL_S, Update, Visit, choices, classifications, load_progress, pending
from lineup.service import Service

_log = logging.getLogger(__name__)


class Handlers:
    """Handle the events of a page; `visit` is the state of the browser tab that an event comes from."""

    def __init__(self, service: Service, connections: Connections, images: Handover) -> None:
        self.service, self.connections, self.images = service, connections, images

    async def compare_all(self, visit: Visit, path: Path | None, name: Any) -> AsyncIterator[Update]:
        """Select all comparable backbones, the current one first, and the first example if there is no image."""
        generation = visit.generation
        if not self.service.probed.is_set():
            yield {"status": html.checking()}
        names, left_out = await on_thread(partial(self.service.comparable_all, name))
        if visit.generation != generation:  # keep a backbone or image chosen in the meantime
            names, left_out = await on_thread(partial(self.service.comparable_all, (visit.names or [name])[0]))
        visit.compare_all_selection = frozenset(names), left_out
        update: Update = {"selected": names[0], "others": names[1:]}
        if path is None and self.service.examples and visit.generation == generation:
            with suppress(ImageError):  # a remote example that cannot be fetched: reported when it is clicked
                update["image"] = await on_thread(partial(self.choose_example, visit, 0))
        yield update

    def choose_example(self, visit: Visit, index: int) -> str:
        """Return the file of an example, and record it as the one chosen last."""
        path = self.service.example_path(index)
        visit.example = self.service.examples[index].name, path
        return path

    async def open_page(self, visit: Visit, query: Mapping[str, Sequence[str]], owner: str) -> AsyncIterator[Update]:
        """Restore the state in the link, then yield the progress of the start until all backbones are probed.

        `owner` is the token of the browser, for an image of another page.
        """
        linked, problems = link.read(self.service, query)
        shown = {key: value for key, value in linked.items() if key != "example"}
        for image_id in query.get("image", ())[:1]:
            try:
                shown["image"] = str(self.images.take(owner, image_id))
            except ImageError as error:
                problems.append(str(error))
        if "example" in linked:
            try:
                shown["image"] = await on_thread(partial(self.choose_example, visit, linked["example"]))
            except ImageError as error:
                problems.append(str(error))
        notice = html.wrong_link(problems) if problems else ""
        yield {**shown, "notice": notice, "refresh": "final"}
        while True:
            is_last = self.service.probed.is_set()  # read first, so that the update below includes the probe's results
            update: Update = {"choices": choices(self.service)}
            if self.service.default_resolved.is_set() and "selected" not in linked:
                default, selected = self.service.status(self.service.config.default_name), self.service.preselected
                if not visit.names or visit.names[0] in (default.name, selected):  # keep a backbone chosen meanwhile
                    update["selected"] = selected
                if default.status == "unavailable":
                    update["notice"] = notice + html.fallback(default, selected)
            if visit.generation == 0:
                update["status"] = self._status_without_image(linked.get("selected", self.service.preselected))
            changed = {key: value for key, value in update.items() if shown.get(key) != value}
            shown |= changed
            if changed:
                yield changed
            if is_last:
                return
            await asyncio.sleep(POLL_S)

    async def answer(
        self, visit: Visit, path: Path | None, name: Any, others: Any, top_k: Any
    ) -> AsyncIterator[Update]:
        """Classify an image with one or more backbones, as they become ready; stop at a newer request."""
        visit.generation, visit.names, visit.answers = visit.generation + 1, [], {}
        visit.top_k = self._valid_top_k(top_k)
        generation, rendered, shown = visit.generation, -1, ""
        try:
            rest = [other for other in others if other != name] if isinstance(others, list) else []
            visit.names = self.service.comparable([name, *rest])
            if visit.compare_all_selection[0] != set(visit.names):
                visit.compare_all_selection = frozenset(), {}
            yield {"retry": False, "refresh": "partial"}
            if visit.generation != generation:
                return
            if path is None:
                async for text in load_progress(self.service, name):
                    if visit.generation != generation:
                        return
                    yield {"status": text}
                update: Update = {"status": self._status_without_image(name)}
            else:
                async for _ in self._answering(visit, path):
                    if visit.generation != generation:
                        return
                    text = html.pending_panel([self.service.status(backbone) for backbone in pending(visit)])
                    progress = {"status": text} if text != shown else {}
                    if len(visit.answers) != rendered:  # do not render the crops again for a mere download progress
                        progress["result"] = self.result(visit)
                    shown, rendered = text, len(visit.answers)
                    if progress:
                        yield progress
                if visit.generation != generation or pending(visit):  # a newer request, or the client disconnected
                    return
                update = self._final_update(visit)
        except LineupError as error:
            update = {"status": self._problem(name, error), "retry": _is_retryable(error)}
        except Exception:
            _log.exception("an answer failed")
            update = {"status": html.problem("Classification failed", INTERNAL_ERROR)}
        if visit.generation == generation:
            cleared = {"result": "", "table": ""}
            yield {**cleared, **update, "choices": choices(self.service), "refresh": "final"}

    def show_more(self, visit: Visit, top_k: Any) -> Update:
        """Show more or fewer classes of the cached answers."""
        visit.top_k = self._valid_top_k(top_k)
        if classifications(visit) and not pending(visit):
            return {"result": self.result(visit), "refresh": "final"}
        return {"refresh": "partial"}

    def result(self, visit: Visit) -> str:
        """Render the answers so far: one backbone's answer, or a card per backbone and the verdict."""
        if len(visit.names) > 1:
            comparison = self.service.comparison(visit.names, visit.answers, visit.compare_all_selection[1])
            return cards.comparison(visit.names, comparison, visit.top_k)
        return "".join(cards.classification_card(answer, visit.top_k) for answer in classifications(visit).values())

    async def _answering(self, visit: Visit, path: Path) -> AsyncIterator[None]:
        """Collect answers in the visit, and yield at intervals; cancel the request when the caller stops."""
        generation, names, answers, stopped = visit.generation, visit.names, visit.answers, threading.Event()
        # as many classes as can be shown, so that showing more of them needs no second forward pass
        top_k, max_k = visit.top_k, link.max_top_k(self.service)

        def collect(disconnected: Cancelled) -> None:
            def cancelled() -> bool:
                return visit.generation != generation or stopped.is_set() or disconnected()

            answers.update(self.service.answers(path, names, top_k, max_k, cancelled))

        async def run() -> None:
            with suppress(ClientDisconnected):
                await self.connections.run(collect)

        working = asyncio.create_task(run())
        try:
            while not working.done():
                yield
                await asyncio.wait({working}, timeout=POLL_S)
            await working
        finally:
            stopped.set()

    def _valid_top_k(self, value: Any) -> int:  # a slider's number field can be empty or out of range
        is_valid = isinstance(value, int | float) and 1 <= value <= link.max_top_k(self.service)
        return int(value) if is_valid else self.service.config.top_k

    def _final_update(self, visit: Visit) -> Update:
        errors = [answer for answer in visit.answers.values() if isinstance(answer, LineupError)]
        update: Update = {"retry": any(map(_is_retryable, errors))}
        if len(visit.names) == 1 and errors:
            return {**update, "status": self._problem(visit.names[0], errors[0])}
        rows = self.service.rows({name: visit.answers[name] for name in visit.names})  # in the order chosen
        update |= {"status": "", "result": self.result(visit)}
        return {**update, "table": comparison_table.table(rows) if len(rows) > 1 else ""}

    def _status_without_image(self, name: str) -> str:
        status = self.service.status(name)
        if status.status == "unavailable":
            return html.problem(f"{name} cannot run now", status.problem or "")
        return html.loading(status) if status.status == "loading" else html.invitation(status)

    def _problem(self, name: Any, error: LineupError) -> str:
        unavailable = name in self.service.names and self.service.status(name).status == "unavailable"
        return html.problem(f"{name} cannot run now" if unavailable else "Classification failed", error)


def _is_retryable(error: LineupError) -> bool:
    return isinstance(error, HubError | BusyError)
