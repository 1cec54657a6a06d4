"""The benchmark panel: measure latencies and plot accuracy against them."""

import functools
import importlib
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from lineup.errors import ClientDisconnected, ImageError, LineupError
from lineup.page import html
from lineup.page.connections import Connections, on_thread
from lineup.page.layout import Page
from lineup.page.visit import Update, Visit, choices, load_progress
from lineup.page.wiring import LISTENER
from lineup.service import Service

PLOT_CAPTION = "Each dot is a backbone that has run here, violet if selected above; the line is the Pareto front."
RUNS = 3  # per backbone: the first run is slow (warm-up), so the plot shows the median


class BenchmarkPanel:
    """Measure every backbone on the image; plot published accuracy against measured latency."""

    def applies(self, service: Service) -> bool:
        """Return True: every line-up can be measured."""
        return True

    def build(self, service: Service) -> None:
        """Create the buttons, the progress line and the plot."""
        with gr.Accordion("Accuracy and speed of this line-up, measured here", open=False, elem_id="measured-here"):
            gr.HTML(PLOT_CAPTION)
            with gr.Row():
                self.measure = gr.Button(
                    "Measure the line-up", variant="primary", size="sm", scale=0, elem_id="measure"
                )
                self.stop = gr.Button("Stop", size="sm", scale=0, elem_id="stop")
            self.measured = gr.HTML(elem_id="measured")
            self.plot = gr.Plot(show_label=False, elem_id="plot")

    def wire(self, page: Page) -> None:
        """Register the listeners of both buttons."""
        service = page.service

        async def measure_line_up(path: Any, visit: Visit) -> AsyncIterator[dict[Any, Any]]:
            async for update in measure(service, page.connections, visit, path):
                changes = {getattr(self, key): update.pop(key) for key in ("measured", "plot") if key in update}
                yield changes | page.changes(update)

        outputs = [self.measured, self.plot, page.backbone, page.others]
        measuring = self.measure.click(measure_line_up, [page.image, page.visit], outputs, **LISTENER)
        self.stop.click(stopped, None, [self.measured], cancels=[measuring], **LISTENER)

    @property
    def outputs(self) -> Sequence[Any]:
        """Return the plot."""
        return [self.plot]

    def refresh(self, service: Service, visit: Visit, path: Path | None, is_final: bool) -> Mapping[Any, Any]:
        """Plot every backbone that has run."""
        return {self.plot: chart(service, visit)} if is_final else {}


async def measure(service: Service, connections: Connections, visit: Visit, path: Path | None) -> AsyncIterator[Update]:
    """Measure the backbones with fewer than RUNS runs, or all if there are none; yield progress updates."""
    if path is None:
        yield {"measured": html.problem("No image yet", "Choose an image first: every backbone runs on it.")}
        return
    available = [status.name for status in service.backbones() if status.status != "unavailable"]
    runs = {name: timing.runs for name in available if (timing := service.timing(name))}
    count = RUNS if service.loads_on_demand else 1  # ZeroGPU does not compute the same image twice
    names = [name for name in available if runs.get(name, 0) < count] or available
    errors = list[LineupError]()
    for index, name in enumerate(names):
        try:
            async for text in load_progress(service, name):
                yield {"measured": measuring(index, len(names), text)}
            yield {"measured": measuring(index, len(names), html.classifying(name))}
            classify = functools.partial(service.classify, path, name, 1)
            for _ in range(count):
                await connections.run(classify)
        except ImageError as error:
            yield {"measured": html.problem("This image cannot be read", error)}
            return
        except ClientDisconnected:
            return
        except LineupError as error:
            errors.append(error)
        yield {"plot": await on_thread(functools.partial(chart, service, visit))}  # it may import altair
    yield {"measured": measured(len(names) - len(errors), errors), "choices": choices(service)}


def chart(service: Service, visit: Visit) -> Any:
    """Return the plot of every backbone that has run, or None if none has."""
    rows = service.rows(dict.fromkeys(service.names))
    if all(row.median_ms is None for row in rows):
        # import altair in the background, so that its slow import does not delay the first answer
        threading.Thread(target=importlib.import_module, args=["lineup.features.benchmark.plot"], daemon=True).start()
        return None
    from lineup.features.benchmark import plot

    return plot.chart(rows, visit.names)


def measuring(done: int, count: int, current: str) -> str:
    """Render the progress of a measurement; `current` is the HTML of the current step."""
    return html.status_box("busy", f"{done} of {count} measured", share=done / count) + current


def measured(count: int, errors: Sequence[LineupError]) -> str:
    """Render the outcome of a measurement."""
    return html.status_box("idle", f"{count} measured", *errors)


def stopped() -> str:
    """Render that the measurement was stopped."""
    return html.status_box("idle", "Stopped", "Results so far are kept; measure again for the rest.")
