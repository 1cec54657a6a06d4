"""The panel that measures the line-up and plots accuracy against speed."""

import importlib
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from lineup.errors import ImageError, LineupError
from lineup.inference.queue import WORK
from lineup.page import html
from lineup.page.html import panel, render_reason, track
from lineup.page.layout import Page
from lineup.page.threads import on_thread, visitor
from lineup.page.visit import Update, Visit, choices, until_loaded
from lineup.page.wiring import QUIET
from lineup.service import Service

PLOT_SAYS = (
    "A dot for each backbone that has run here, violet if chosen above; a line joins those no other beats in both."
)
RUNS = 3  # of each backbone when the line-up is measured: the first one is slow, the median is not


class BenchmarkPanel:
    """Measures every backbone on the image, and plots what is published against the time it takes here."""

    def applies(self, service: Service) -> bool:
        """Tell that every line-up can be measured."""
        return True

    def build(self, service: Service) -> None:
        """Create the buttons, the progress line and the plot."""
        with gr.Accordion("Accuracy and speed of this line-up, measured here", open=False, elem_id="measured-here"):
            gr.HTML(f"<p>{PLOT_SAYS}</p>")
            with gr.Row():
                self.measure = gr.Button(
                    "Measure the line-up", variant="primary", size="sm", scale=0, elem_id="measure"
                )
                self.stop = gr.Button("Stop", size="sm", scale=0, elem_id="stop")
            self.measured = gr.HTML(elem_id="measured")
            self.plot = gr.Plot(show_label=False, elem_id="plot")

    def wire(self, page: Page) -> None:
        """Connect the two buttons."""
        service = page.service

        async def measure_line_up(path: Any, visit: Visit) -> AsyncIterator[dict[Any, Any]]:
            async for update in measure(service, visit, path):
                own = {getattr(self, key): update.pop(key) for key in ("measured", "plot") if key in update}
                yield own | page.changes(update)

        outputs = [self.measured, self.plot, page.backbone, page.others]
        measuring = self.measure.click(measure_line_up, [page.image, page.visit], outputs, concurrency_id=WORK, **QUIET)
        self.stop.click(stopped, None, [self.measured], cancels=[measuring], **QUIET)

    @property
    def outputs(self) -> Sequence[Any]:
        """Return the plot."""
        return [self.plot]

    def refresh(self, service: Service, visit: Visit, path: Path | None, is_final: bool) -> Mapping[Any, Any]:
        """Draw every backbone that has run."""
        return {self.plot: chart(service, visit)} if is_final else {}


async def measure(service: Service, visit: Visit, path: Path | None) -> AsyncIterator[Update]:
    """Run on the image what has not run yet, or everything once more, and tell how it gets on."""
    if path is None:
        yield {"measured": html.problem("There is no image yet", "Choose one first: each backbone runs on it.")}
        return
    able = [status.name for status in service.backbones() if status.status != "unavailable"]
    ran = {name: timing.runs for name in able if (timing := service.timing(name))}
    names = [name for name in able if ran.get(name, 0) < RUNS] or able
    failed, asks = list[LineupError](), visitor(service)
    for place, name in enumerate(names):
        try:
            async for text in until_loaded(service, name):
                yield {"measured": measuring(place, len(names), text)}
            yield {"measured": measuring(place, len(names), html.thinking(name))}
            for _ in range(RUNS):
                await on_thread(partial(service.classify, path, name, 1, asks))
        except ImageError as error:
            yield {"measured": html.problem("This image cannot be read", error)}
            return
        except LineupError as error:
            failed.append(error)
        yield {"plot": chart(service, visit)}
    yield {"measured": measured(len(names) - len(failed), failed), "choices": choices(service)}


def chart(service: Service, visit: Visit) -> Any:
    """Draw every backbone that has run, or return None before one has."""
    rows = service.rows(dict.fromkeys(service.names))
    if all(each.median_ms is None for each in rows):
        # altair takes a while to import: the first answer should not wait for it
        threading.Thread(target=importlib.import_module, args=["lineup.features.benchmark.plot"], daemon=True).start()
        return None
    from lineup.features.benchmark import plot

    return plot.chart(rows, visit.names)


def measuring(done: int, count: int, doing: str) -> str:
    """Render how far measuring the line-up is; `doing` is what runs just now."""
    return panel("busy", f"{done} of {count} measured", track(done / count)) + doing


def measured(count: int, failed: Sequence[LineupError]) -> str:
    """Render what came of measuring the line-up."""
    return panel("idle", f"{count} measured", "".join(render_reason(each) for each in failed))


def stopped() -> str:
    """Render that measuring was stopped."""
    return panel("idle", "Stopped", "<p>What was measured stays; measure again for the rest.</p>")
