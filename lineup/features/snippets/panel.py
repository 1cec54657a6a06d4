"""The panel with the link and the code that give the same answer elsewhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from lineup.features.snippets import snippets
from lineup.page.layout import Page
from lineup.page.visit import Visit, address, answered, missing
from lineup.page.wiring import QUIET
from lineup.service import Service


class SnippetsPanel:
    """Shows the link to what the page shows, and code that computes the same answers; keeps the address bar."""

    def applies(self, service: Service) -> bool:
        """Tell that every answer has a link."""
        return True

    def build(self, service: Service) -> None:
        """Create the link's field and those of the code."""
        with gr.Accordion("Take it with you", open=False, elem_id="take-along"):
            self.link = gr.Textbox(label="Link to what this page shows", buttons=["copy"], interactive=False)
            self.python = gr.Code(
                language="python", label="The same answer in plain Python", max_lines=18, elem_id="python"
            )
            self.client = gr.Code(language="python", label="As a call of this page's API", elem_id="client")
            self.curl = gr.Code(language="shell", label="The same with curl", elem_id="curl")

    def wire(self, page: Page) -> None:
        """Let the address bar follow the link."""
        self.link.change(None, [self.link], None, js="(link) => lineup.show(link)", **QUIET)

    @property
    def outputs(self) -> Sequence[Any]:
        """Return all fields."""
        return [self.link, self.python, self.client, self.curl]

    def refresh(self, service: Service, visit: Visit, path: Path | None, is_final: bool) -> Mapping[Any, Any]:
        """Return the link, and the code once all backbones have answered."""
        changes: dict[Any, Any] = {self.link: address(visit, path)} if visit.names else {}
        if not is_final:
            return changes
        python, client, curl = code(service, visit)
        return changes | {self.python: python, self.client: client, self.curl: curl}


def code(service: Service, visit: Visit) -> tuple[str, str, str]:
    """Return plain Python, a call of Gradio's client, and one of curl; empty while there is no answer."""
    found = answered(visit)
    if not found or missing(visit):
        return "", "", ""
    scripts = []
    for name, each in found.items():
        scripts.append(snippets.python(service.recipe(name), each.first(visit.top_k)))
    return (
        "\n\n".join(filter(None, scripts)),
        snippets.client(visit.address, visit.names, visit.top_k),
        snippets.curl(visit.address, visit.names, visit.top_k),
    )
