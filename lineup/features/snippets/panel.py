"""The panel with the shareable link and the code snippets that reproduce the answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from lineup.features.snippets import snippets
from lineup.page.layout import Page
from lineup.page.visit import Visit, address, classifications, pending
from lineup.page.wiring import LISTENER
from lineup.service import Service


class SnippetsPanel:
    """Show the link to the state of the page and code that reproduces the answers; sync the address bar."""

    def applies(self, service: Service) -> bool:
        """Return True: every answer has a link."""
        return True

    def build(self, service: Service) -> None:
        """Create the text box of the link and the code blocks."""
        with gr.Accordion("Link and code", open=False, elem_id="take-along"):
            self.link = gr.Textbox(label="Link to this page", buttons=["copy"], interactive=False)
            self.python = gr.Code(language="python", label="Plain Python", max_lines=18, elem_id="python")
            self.client = gr.Code(language="python", label="API call with gradio_client", elem_id="client")
            self.curl = gr.Code(language="shell", label="API call with curl", elem_id="curl")

    def wire(self, page: Page) -> None:
        """Update the address bar when the link changes."""
        self.link.change(None, [self.link], None, js="(link) => lineup.show(link)", **LISTENER)

    @property
    def outputs(self) -> Sequence[Any]:
        """Return the link and the code blocks."""
        return [self.link, self.python, self.client, self.curl]

    def refresh(self, service: Service, visit: Visit, path: Path | None, is_final: bool) -> Mapping[Any, Any]:
        """Return the link, and the code once all backbones have answered."""
        changes: dict[Any, Any] = {self.link: address(visit, path)} if visit.names else {}
        if not is_final:
            return changes
        python, client, curl = code(service, visit)
        return changes | {self.python: python, self.client: client, self.curl: curl}


def code(service: Service, visit: Visit) -> tuple[str, str, str]:
    """Return snippets in plain Python, for the Gradio client and for curl; empty while answers are pending."""
    answers = classifications(visit)
    if not answers or pending(visit):
        return "", "", ""
    scripts = [snippets.python(service.recipe(name), answer.first(visit.top_k)) for name, answer in answers.items()]
    return (
        "\n\n".join(filter(None, scripts)),
        snippets.client(visit.address, visit.names, visit.top_k),
        snippets.curl(visit.address, visit.names, visit.top_k),
    )
