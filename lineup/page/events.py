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
from pathlib import Path
from typing import Any

from lineup.errors import INTERNAL_ERROR, BusyError, ClientDisconnected, HubError, ImageError, LineupError
from lineup.inference.queue import Cancelled
from lineup.page import cards, comparison_table, html, link
from lineup.page.connections import Connections, on_thread
from lineup.page.handover import Handover
from lineup.page.visit import POLL_S, Update, Visit, choices, classifications, load_progress, pending
from lineup.results import Classification
from lineup.service import Service

_log = logging.getLogger(__name__)

OLDER_TIMEOUT_S = 1.0  # how long a request waits for the end of the one that it supersedes


class Handlers:
    """Handle the events of a page; `visit` is the state of the browser tab that an event comes from."""

    def __init__(self, service: Service, connections: Connections, images: Handover) -> None:
        self.service, self.connections, self.images = service, connections, images

    async def compare_all(self, visit: Visit, path: Path | None, name: Any) -> AsyncIterator[Update]:
        """Select all comparable backbones, the current one first, and the first example if there is no image."""
        generation, image = visit.generation, visit.path
        if not self.service.probed.is_set():
            yield {"status": html.checking()}
        names, left_out = await on_thread(self.service.comparable_all, name)
        if visit.generation != generation:  # keep a backbone chosen in the meantime
            names, left_out = await on_thread(self.service.comparable_all, (visit.names or [name])[0])
        visit.compare_all_selection, visit.is_selection_asked = (frozenset(names), left_out), False
        update: Update = {"selected": names[0], "others": names[1:]}
        # the page's own choice of the fallback's backbone is a newer request, too
        is_without_image = path is None and visit.path in (None, image)
        if is_without_image and self.service.examples:
            with suppress(ImageError):  # a remote example that cannot be fetched: reported when it is clicked
                update["image"] = await on_thread(self.choose_example, visit, 0)
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
                shown["image"] = await on_thread(self.choose_example, visit, linked["example"])
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
                update["status"] = html.without_image(
                    self.service.status(linked.get("selected", self.service.preselected))
                )
            changed = {key: value for key, value in update.items() if shown.get(key) != value}
            shown |= changed
            if changed:
                yield changed
            if is_last:
                return
            await asyncio.sleep(POLL_S)

    async def answer(
        self, visit: Visit, path: Path | None, name: Any, others: Any, top_k: Any, order: int | None = None
    ) -> AsyncIterator[Update]:
        """Classify an image with one or more backbones, as they become ready; stop at a newer request.

        `order` is the event's number: one that a newer event has overtaken yields nothing.
        """
        if not visit.accept(order):
            return
        visit.generation += 1
        generation, older, ended = visit.generation, visit.ended, asyncio.Event()
        visit.ended = ended
        try:
            await _until_sent(older)
            if visit.generation == generation:
                async for update in self._answer(visit, path, name, others, top_k):
                    yield update
        finally:
            ended.set()

    async def _answer(
        self, visit: Visit, path: Path | None, name: Any, others: Any, top_k: Any
    ) -> AsyncIterator[Update]:
        visit.top_k = _valid_top_k(self.service, top_k)
        generation, rendered, shown = visit.generation, -1, ""
        try:
            _request(self.service, visit, path, name, others)
            yield {"retry": False, "refresh": "partial"}
            if visit.generation != generation:
                return
            if path is None:
                async for text in load_progress(self.service, name):
                    if visit.generation != generation:
                        return
                    yield {"status": text}
                update: Update = {"status": html.without_image(self.service.status(name))}
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
                update = _final_update(self.service, visit, self.result(visit))
        except LineupError as error:
            update = {"status": _problem(self.service, name, error), "retry": _is_retryable(error)}
        except Exception:
            _log.exception("an answer failed")
            update = {"status": html.problem("Classification failed", INTERNAL_ERROR)}
        if visit.generation == generation:
            cleared, top_k = {"result": "", "table": "", "retry": False}, visit.top_k
            yield {**cleared, **update, "choices": choices(self.service), "refresh": "final"}
            # the update was sent slowly, and show_more did not wait for it
            if "result" in update and visit.generation == generation and visit.top_k != top_k:
                yield {"result": self.result(visit), "refresh": "final"}

    async def show_more(
        self, visit: Visit, path: Path | None, name: Any, others: Any, top_k: Any, order: int | None = None
    ) -> AsyncIterator[Update]:
        """Show more or fewer classes of the answers; ask for them if there are none, as after a restart."""
        is_answering = visit.ended is not None and not visit.ended.is_set()
        is_asked = (visit.path, visit.names) == (path, _names(name, others))
        if not is_asked or (pending(visit) and not is_answering):
            async for update in self.answer(visit, path, name, others, top_k, order):
                yield update
        elif visit.accept(order):
            visit.top_k, generation = _valid_top_k(self.service, top_k), visit.generation
            is_answered = classifications(visit) and not pending(visit)
            await _until_sent(visit.ended if is_answered else None)
            if visit.generation == generation:
                yield {"result": self.result(visit), "refresh": "final"} if is_answered else {"refresh": "partial"}

    def result(self, visit: Visit) -> str:
        """Render the answers so far: one backbone's answer, or a card per backbone and the verdict."""
        if len(visit.names) > 1:
            comparison = self.service.comparison(visit.names, visit.answers, visit.left_out)
            return cards.comparison(visit.names, comparison, visit.top_k)
        return "".join(cards.classification_card(answer, visit.top_k) for answer in classifications(visit).values())

    async def _answering(self, visit: Visit, path: Path) -> AsyncIterator[None]:
        """Collect answers in the visit, and yield at intervals; cancel the request when the caller stops."""
        generation, names, answers, stopped = visit.generation, pending(visit), visit.answers, threading.Event()
        # as many classes as can be shown, so that showing more of them needs no second forward pass
        top_k, max_k = visit.top_k, link.max_top_k(self.service)

        def collect(disconnected: Cancelled) -> None:
            def cancelled() -> bool:
                return visit.generation != generation or stopped.is_set() or disconnected()

            answers.update(self.service.answers(path, names, top_k, max_k, cancelled))

        async def run() -> None:
            with suppress(ClientDisconnected):
                await self.connections.run(collect)

        if not names:
            return
        working = asyncio.create_task(run())
        try:
            while not working.done():
                yield
                await asyncio.wait({working}, timeout=POLL_S)
            await working
        finally:
            stopped.set()


async def _until_sent(ended: asyncio.Event | None) -> None:
    """Wait for the last update of an older request, if there is one: it must not come after those of a newer one."""
    if ended:
        with suppress(TimeoutError):  # its client disconnected: it is not resumed
            await asyncio.wait_for(ended.wait(), OLDER_TIMEOUT_S)


def _request(service: Service, visit: Visit, path: Path | None, name: Any, others: Any) -> None:
    """Note what is asked; keep the answers of the same request, except errors."""
    known, request, visit.names = visit.answers, (visit.path, visit.names), []
    visit.path, visit.answers = path, {}
    visit.names = service.comparable(_names(name, others))
    if (visit.path, visit.names) == request:
        visit.answers = {key: answer for key, answer in known.items() if isinstance(answer, Classification)}
    if visit.compare_all_selection[0] == set(visit.names):
        visit.is_selection_asked = True
    elif visit.is_selection_asked:
        visit.compare_all_selection = frozenset(), {}


def _valid_top_k(service: Service, value: Any) -> int:  # a slider's number field can be empty or out of range
    is_valid = isinstance(value, int | float) and 1 <= value <= link.max_top_k(service)
    return int(value) if is_valid else service.config.top_k


def _final_update(service: Service, visit: Visit, result: str) -> Update:
    errors = [answer for answer in visit.answers.values() if isinstance(answer, LineupError)]
    update: Update = {"retry": any(map(_is_retryable, errors))}
    if len(visit.names) == 1 and errors:
        return {**update, "status": _problem(service, visit.names[0], errors[0])}
    rows = service.rows({name: visit.answers[name] for name in visit.names})  # in the order chosen
    update |= {"status": "", "result": result}
    return {**update, "table": comparison_table.table(rows) if len(rows) > 1 else ""}


def _problem(service: Service, name: Any, error: LineupError) -> str:
    unavailable = name in service.names and service.status(name).status == "unavailable"
    return html.problem(f"{name} cannot run now" if unavailable else "Classification failed", error)


def _names(name: Any, others: Any) -> list[Any]:
    """Return the backbones of a request in the order chosen, as both dropdowns have them."""
    return [name, *(other for other in others if other != name)] if isinstance(others, list) else [name]


def _is_retryable(error: LineupError) -> bool:
    return isinstance(error, HubError | BusyError)
