"""The benchmark panel: measure latencies and plot accuracy against them."""

import importlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from lineup.errors import ClientDisconnected, ImageError, LineupError
from lineup.page import html
from lineup.page.connections import Connections, on_thread
from lineup.page.layout import Page
from lineup.page.panels import Changes
from lineup.page.templates import explained
from lineup.page.visit import Update, Visit, choices, load_progress
from lineup.page.wiring import LISTENER, ending
from lineup.service import Service

PLOT_CAPTION = "Each dot is a backbone that has run here, violet if selected above; the line is the Pareto front."
RUNS = 3  # per backbone: the first run is slow (warm-up), so the plot shows the median


@dataclass
class Measurement:
    """The newest measurement of a session, held in a gr.State."""

    wish: int = 0  # the highest number of a click on either button
    number: int = 0
    is_stopped: bool = False  # the newest click was on "Stop"

    def begin(self, wish: Any, is_stopped: bool = False) -> int:
        """Supersede the running measurement; return the number of the new one, or 0 if a newer click came before."""
        wish = wish if isinstance(wish, int | float) else self.wish
        if wish < self.wish:
            return 0
        self.wish, self.number, self.is_stopped = wish, self.number + 1, is_stopped
        return self.number


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

        async def changes(path: Any, visit: Visit, measurement: Measurement, number: int) -> AsyncIterator[Changes]:
            async for update in measure(service, page.connections, visit, path, lambda: measurement.number == number):
                values = {getattr(self, key): update.pop(key) for key in ("measured", "plot") if key in update}
                yield values | page.changes(update)
            if measurement.is_stopped:  # its progress may have been sent after that
                yield {self.measured: stopped()}

        async def measure_line_up(
            path: Any, name: Any, wish: Any, visit: Visit, measurement: Measurement
        ) -> AsyncIterator[Changes]:
            number = measurement.begin(wish)
            async for each in ending(changes(path, visit, measurement, number), visit, self.measured):
                yield each

        def stop(wish: Any, measurement: Measurement) -> Any:
            return stopped() if measurement.begin(wish, is_stopped=True) else gr.skip()

        state, outputs = gr.State(Measurement()), [self.measured, self.plot, page.backbone, page.others]
        js = "async (...now) => [...await lineupRequests.withImage('measure', [], ...now), null, null]"
        inputs = [page.image, page.backbone, page.wish, page.visit, state]
        measuring = self.measure.click(measure_line_up, inputs, outputs, js=js, **LISTENER)
        # not Gradio's `cancels`: that ends one of several events, and none that the server has not confirmed yet
        self.stop.click(stop, [page.wish, state], [self.measured], js="() => [lineupRequests.wish(), null]", **LISTENER)
        measuring.failure(stopped, None, [self.measured], **LISTENER)

    @property
    def outputs(self) -> Sequence[Any]:
        """Return the plot."""
        return [self.plot]

    def refresh(self, service: Service, visit: Visit, path: Path | None, is_final: bool) -> Mapping[Any, Any]:
        """Plot every backbone that has run."""
        return {self.plot: chart(service, visit)} if is_final else {}


async def measure(
    service: Service,
    connections: Connections,
    visit: Visit,
    path: Path | None,
    is_current: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Update]:
    """Measure the backbones with fewer than RUNS runs, or all if there are none; yield progress updates.

    Ends once `is_current` returns False: it was stopped, or begun again.
    """
    if path is None:
        yield {"measured": html.problem("No image yet", "Choose an image first: every backbone runs on it.")}
        return
    statuses = service.backbones()
    left_out = {each.name: each.problem or "it cannot run now" for each in statuses if each.status == "unavailable"}
    available = [each.name for each in statuses if each.name not in left_out]
    count = RUNS if service.loads_on_demand else 1  # ZeroGPU does not compute the same image twice
    names = [name for name in available if _runs(service, name) < count] or available
    errors: list[LineupError] = []
    for index, name in enumerate(names):
        runs = _runs(service, name)
        try:
            async for text in load_progress(service, name):
                if not is_current():
                    return
                yield {"measured": measuring(index, len(names), text)}
            if not is_current():
                return
            yield {"measured": measuring(index, len(names), html.classifying(name))}
            for _ in range(count):
                await connections.run(
                    lambda disconnected, name=name: service.classify(  # type: ignore[misc]
                        path, name, 1, lambda: disconnected() or not is_current()
                    )
                )
        except ImageError as error:
            yield {"measured": html.problem("This image cannot be read", error)}
            return
        except ClientDisconnected:
            return
        except LineupError as error:
            errors.append(error)
        else:
            if not service.loads_on_demand and _runs(service, name) == runs:
                left_out[name] = "Its answer for this image was known; choose another image."
        yield {"plot": await on_thread(chart, service, visit)}  # it may import altair
    if is_current():
        n_measured = len(names) - len(errors) - sum(name in left_out for name in names)
        yield {"measured": measured(n_measured, errors, left_out), "choices": choices(service)}


def _runs(service: Service, name: str) -> int:
    timing = service.timing(name)
    return timing.runs if timing else 0


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


def measured(count: int, errors: Sequence[LineupError], left_out: Mapping[str, LineupError | str] = {}) -> str:
    """Render the outcome of a measurement: how many were measured, which failed, and why others were left out."""
    groups: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        groups.setdefault(explained(reason)[0], []).append(name)
    reasons = [f"Not measured: {', '.join(names)}. {reason}" for reason, names in groups.items()]
    return html.status_box("idle", f"{count} measured", *errors, *reasons)


def stopped() -> str:
    """Render that the measurement was stopped."""
    return html.status_box("idle", "Stopped", "Results so far are kept; measure again for the rest.")
