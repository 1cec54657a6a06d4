"""What stands where on the page."""

from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio.utils import get_space

from lineup.page import events, render
from lineup.page.link import most_shown
from lineup.page.picture import picture_field
from lineup.service import Service

PLOT_SAYS = (
    "A dot for each backbone that has run here, violet if chosen above; a line joins those no other beats in both."
)


def lay_out(service: Service) -> Any:
    """Put the page's parts into the Blocks that is open, and return them by name; its id has a - for each _."""
    parts = SimpleNamespace()
    gr.HTML(render.header(service.config.title, service.config.description, get_space() or ""))
    parts.notice = gr.HTML(elem_id="notice")
    with gr.Row(elem_id="stage"):
        with gr.Column(scale=5, min_width=300):
            parts.picture = picture_field(
                label="Picture",
                sources=["upload", "webcam", "clipboard"],
                webcam_options=gr.WebcamOptions(mirror=False),  # a mirrored picture is another picture
                height=380,
                buttons=["fullscreen"],
                elem_id="picture",
                placeholder="Drop a picture here, paste one, or click to choose",
            )
            parts.examples = _examples(service)
        with gr.Column(scale=6, min_width=300):
            _choices(service, parts)
            parts.status = gr.HTML(elem_id="status")
            parts.retry = gr.Button("Try again", visible=False, size="sm", elem_id="retry")
            parts.result = gr.HTML(elem_id="result")
    parts.figures = gr.HTML(elem_id="figures")
    with gr.Accordion("Accuracy and speed of this line-up, measured here", open=False, elem_id="measured-here"):
        gr.HTML(f"<p>{PLOT_SAYS}</p>")
        with gr.Row():
            parts.measure = gr.Button("Measure the line-up", variant="primary", size="sm", scale=0, elem_id="measure")
            parts.stop = gr.Button("Stop", size="sm", scale=0, elem_id="stop")
        parts.measured = gr.HTML(elem_id="measured")
        parts.plot = gr.Plot(show_label=False, elem_id="plot")
    with gr.Accordion("Take it with you", open=False, elem_id="take-along"):
        parts.link = gr.Textbox(label="Link to what this page shows", buttons=["copy"], interactive=False)
        parts.python = gr.Code(
            language="python", label="The same answer in plain Python", max_lines=18, elem_id="python"
        )
        parts.client = gr.Code(language="python", label="As a call of this page's API", elem_id="client")
        parts.curl = gr.Code(language="shell", label="The same with curl", elem_id="curl")
    return parts


def _choices(service: Service, parts: SimpleNamespace) -> None:
    choices, short_choices = events.choices(service)
    parts.backbone = gr.Dropdown(
        choices=choices,
        value=service.preselected,
        label="Backbone",
        info="Type to search. Each choice tells parameters, download size and whether it is ready.",
        elem_id="backbone",
    )
    with gr.Row(elem_id="compare-row", equal_height=True):
        parts.others = gr.Dropdown(
            choices=short_choices,
            value=[],
            multiselect=True,
            max_choices=service.config.limits.max_compared - 1,
            label="Compare with",
            info="Several more, side by side. Empty shows one backbone alone.",
            elem_id="others",
            scale=4,
        )
        parts.compare_all = gr.Button(
            "Compare all", variant="primary", size="sm", min_width=110, scale=1, elem_id="compare-all"
        )
    parts.top_k = gr.Slider(
        1, most_shown(service), value=service.config.top_k, step=1, label="Labels to show", elem_id="top-k"
    )


def _examples(service: Service) -> gr.Gallery | None:
    if not service.examples:
        return None
    return gr.Gallery(
        [(example.picture, example.caption) for example in service.examples],
        label="Examples",
        columns=4,
        fit_columns=False,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )
