"""The components of the page. app.py says in which order they stand."""

from typing import Any

import gradio as gr
from gradio.utils import get_space

from lineup.page import cards
from lineup.page.image_field import image_field
from lineup.page.link import max_shown
from lineup.page.visit import Update, Visit, choices
from lineup.service import Service


class Page:
    """Creates the components in the Blocks that is open, each with an element id that CSS and tests use."""

    examples: gr.Gallery | None = None

    def __init__(self, service: Service) -> None:
        self.service = service
        self.visit = gr.State(Visit())

    def add_header(self) -> None:
        """Add the title, the description, and what a visitor should know before anything else."""
        config = self.service.config
        gr.HTML(cards.header(config.title, config.description, get_space() or ""))
        self.notice = gr.HTML(elem_id="notice")

    def add_image(self) -> None:
        """Add the field that takes an image: dropped, pasted, chosen, or from a camera."""
        self.image = image_field(
            label="Image",
            sources=["upload", "webcam", "clipboard"],
            webcam_options=gr.WebcamOptions(mirror=False),  # a mirrored image is another image
            height=380,
            buttons=["fullscreen"],
            elem_id="image",
            placeholder="Drop an image here, paste one, or click to choose",
        )

    def add_examples(self) -> None:
        """Add the config's examples, if it has any."""
        if self.service.examples:
            self.examples = gr.Gallery(
                [(example.image, example.caption) for example in self.service.examples],
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

    def add_backbone(self) -> None:
        """Add the dropdown of the line-up."""
        self.backbone = gr.Dropdown(
            choices=choices(self.service)[0],
            value=self.service.preselected,
            label="Backbone",
            info="Type to search. Each choice tells parameters, download size and whether it is ready.",
            elem_id="backbone",
        )

    def add_comparison(self) -> None:
        """Add the dropdown of further backbones, and the button that compares all."""
        with gr.Row(elem_id="compare-row", equal_height=True):
            self.others = gr.Dropdown(
                choices=choices(self.service)[1],
                value=[],
                multiselect=True,
                max_choices=self.service.config.limits.max_compared - 1,
                label="Compare with",
                info="Several more, side by side. Empty shows one backbone alone.",
                elem_id="others",
                scale=4,
            )
            self.compare_all = gr.Button(
                "Compare all", variant="primary", size="sm", min_width=110, scale=1, elem_id="compare-all"
            )

    def add_top_k(self) -> None:
        """Add the slider for the number of labels."""
        most, top_k = max_shown(self.service), self.service.config.top_k
        self.top_k = gr.Slider(1, most, value=top_k, step=1, label="Labels to show", elem_id="top-k")

    def add_results(self) -> None:
        """Add the progress or error line, the button that tries again, and the cards."""
        self.status = gr.HTML(elem_id="status")
        self.retry = gr.Button("Try again", visible=False, size="sm", elem_id="retry")
        self.result = gr.HTML(elem_id="result")

    def add_table(self) -> None:
        """Add the table of a comparison."""
        self.figures = gr.HTML(elem_id="figures")

    def changes(self, update: Update) -> dict[Any, Any]:
        """Turn an update into what Gradio takes: a value for each component that changes."""
        changes: dict[Any, Any] = {}
        for place, (dropdown, key) in enumerate([(self.backbone, "selected"), (self.others, "others")]):
            change = {"value": update[key]} if key in update else {}
            if "choices" in update:
                change["choices"] = update["choices"][place]
            if change:
                changes[dropdown] = gr.Dropdown(**change)
        if "retry" in update:
            changes[self.retry] = gr.Button(visible=update["retry"])
        apart = ("selected", "others", "choices", "retry", "refresh")
        return changes | {getattr(self, key): value for key, value in update.items() if key not in apart}
