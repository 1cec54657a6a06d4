"""The components of the page; app.py determines their order."""

from typing import Any

import gradio as gr
from gradio.processing_utils import move_files_to_cache
from gradio.utils import get_space

from lineup.page import cards
from lineup.page.connections import Connections
from lineup.page.handover import Handover, owner_state
from lineup.page.image_field import image_field
from lineup.page.link import max_top_k
from lineup.page.templates import render
from lineup.page.visit import Update, Visit, choices
from lineup.service import Service


class Page:
    """Create the components in the current Blocks context, with element ids for CSS and tests."""

    examples: gr.Gallery | None = None

    def __init__(self, service: Service, connections: Connections, images: Handover) -> None:
        self.service, self.connections, self.images = service, connections, images
        self.visit, self.owner = gr.State(Visit()), owner_state()
        self.wish = gr.Number(visible=False)  # the number of an event of the user; requests.js sets it
        # Values for the inputs of the page, which requests.js applies where the user has not changed them since: those
        # of the link, of "Compare all" and of an example.
        self.opened, self.compared, self.chosen = (gr.JSON(visible="hidden") for _ in range(3))
        self.ask_again = gr.Button("Ask again", visible="hidden", elem_id="ask-again")  # requests.js clicks it

    def add_header(self) -> None:
        """Add the title, the description and the notice."""
        config = self.service.config
        gr.HTML(cards.header(config.title, config.description, get_space() or ""))
        self.notice = gr.HTML(elem_id="notice")

    def add_image(self) -> None:
        """Add the image input: drag and drop, paste, file dialog or webcam."""
        self.image = image_field(
            label="Image",
            sources=["upload", "webcam", "clipboard"],
            webcam_options=gr.WebcamOptions(mirror=False),  # mirroring would change the model input
            height=380,
            buttons=["fullscreen"],
            elem_id="image",
            placeholder="Drop an image here, paste one, or click to choose",
        )

    def add_retention(self, kept_s: float) -> None:
        """Add the line that says how long an image is kept."""
        gr.HTML(render("kept.html", kept_s=kept_s), elem_id="kept")

    def add_examples(self) -> None:
        """Add the gallery of the config's examples, if there are any."""
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
        """Add the backbone dropdown."""
        self.backbone = gr.Dropdown(
            choices=choices(self.service)[0],
            value=self.service.preselected,
            label="Backbone",
            info="Type to search. Choices show parameters, download size and status.",
            elem_id="backbone",
        )

    def add_comparison(self) -> None:
        """Add the multi-select dropdown for comparisons, and the *Compare all* button."""
        with gr.Row(elem_id="compare-row", equal_height=True):
            self.others = gr.Dropdown(
                choices=choices(self.service)[1],
                value=[],
                multiselect=True,
                max_choices=self.service.config.limits.max_compared - 1,
                label="Compare with",
                info="Further backbones, shown side by side. Leave empty to use one backbone.",
                elem_id="others",
                scale=4,
            )
            self.compare_all = gr.Button(
                "Compare all", variant="primary", size="sm", min_width=110, scale=1, elem_id="compare-all"
            )

        for dropdown in (self.backbone, self.others):
            dropdown.preprocess = _passed_on

    def add_top_k(self) -> None:
        """Add the slider for the number of labels."""
        max_k, top_k = max_top_k(self.service), self.service.config.top_k
        self.top_k = gr.Slider(1, max_k, value=top_k, step=1, label="Labels to show", elem_id="top-k")

    def add_results(self) -> None:
        """Add the status line, the retry button and the cards."""
        self.status = gr.HTML(elem_id="status")
        self.retry = gr.Button("Try again", visible=False, size="sm", elem_id="retry")
        self.result = gr.HTML(elem_id="result")

    def add_table(self) -> None:
        """Add the comparison table."""
        self.table = gr.HTML(elem_id="comparison-table")

    @property
    def inputs(self) -> list[Any]:
        """Return the components that have the user's request."""
        return [self.image, self.backbone, self.others, self.top_k]

    def proposed(self, update: Update) -> tuple[Update, Update]:
        """Split the values of the inputs from an update, as requests.js expects them: keyed by the input."""
        keys = {"image": "image", "selected": "backbone", "others": "others", "top_k": "top_k"}
        inputs = {key: update[name] for name, key in keys.items() if name in update}
        if "image" in inputs:
            image = self.image.postprocess(inputs["image"]).model_dump()
            inputs["image"] = move_files_to_cache(image, self.image, postprocess=True)
        return {name: value for name, value in update.items() if name not in keys}, inputs

    def changes(self, update: Update) -> dict[Any, Any]:
        """Convert an update to a dict of components to values, as Gradio expects it."""
        changes: dict[Any, Any] = {}
        for index, (dropdown, key) in enumerate([(self.backbone, "selected"), (self.others, "others")]):
            change = {"value": update[key]} if key in update else {}
            if "choices" in update:
                change["choices"] = update["choices"][index]
            if change:
                changes[dropdown] = gr.Dropdown(**change)
        if "retry" in update:
            changes[self.retry] = gr.Button(visible=update["retry"])
        handled = ("selected", "others", "choices", "retry", "refresh")
        return changes | {getattr(self, key): value for key, value in update.items() if key not in handled}


def _passed_on(value: Any) -> Any:
    """Pass on what a client sent: the service validates names, and its error says what to do about an unknown one.

    Gradio would refuse, in a message with all names, the choice of a page that is older than the config.
    """
    return value
