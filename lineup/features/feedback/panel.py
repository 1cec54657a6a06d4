"""The question below an answer, whether it is right; its class search; and the endpoint for other clients."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.routing import BaseRoute

from lineup.features.feedback import api_panel, feature, review_page
from lineup.features.feedback.asking import Asking
from lineup.features.feedback.classes import ClassRoute
from lineup.page.client_address import Proxies
from lineup.page.layout import Page
from lineup.page.panels import Changes
from lineup.page.templates import read_script
from lineup.page.visit import Visit
from lineup.page.wiring import LISTENER
from lineup.service import Service

_FAILED = "() => { document.dispatchEvent(new Event('lineup-feedback-failed')); }"


class FeedbackPanel:
    """Ask whether the answers are right, and record what the client says of them."""

    def applies(self, service: Service) -> bool:
        """Return whether the config says where to keep the images."""
        return feature.is_on(service)

    def build(self, service: Service) -> None:
        """Create the question, which is empty until there is an answer."""
        self.asking = Asking(service, lambda: feature.of(service).collection)
        self.box = gr.HTML(js_on_load=read_script("question", Path(__file__).parent), elem_id="feedback")

    def wire(self, page: Page) -> None:
        """Register the listener of the question, and the endpoint."""
        proxies = Proxies(page.service.config.trusted_proxies)
        api_panel.add(page.service, self.asking, page.connections, proxies)

        async def record(visit: Visit, request: gr.Request, event: gr.EventData) -> AsyncIterator[Changes]:
            token, label = str(event.token), event.label
            shown = await self.asking.answer(visit, token, label, proxies.address_of(request))
            yield {self.box: gr.skip() if shown is None else shown}

        answering = self.box.select(record, [page.visit], [self.box], **LISTENER)
        answering.failure(None, None, None, js=_FAILED, **LISTENER)

    @property
    def outputs(self) -> Sequence[Any]:
        """Return the question."""
        return [self.box]

    def refresh(self, service: Service, visit: Visit, path: Path | None, is_final: bool) -> Mapping[Any, Any]:
        """Ask about the answers once all are there; until then ask nothing."""
        return {self.box: self.asking.shown(visit) if is_final else ""}


def routes(service: Service) -> list[BaseRoute]:
    """Return the route of the class search, and those of the owner's page."""
    if not feature.is_on(service):
        return []
    return [ClassRoute(service), *review_page.routes(service, feature.of(service))]
