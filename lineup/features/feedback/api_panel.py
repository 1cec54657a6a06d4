"""The endpoint with which other clients say what an image is."""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio import FileData

from lineup.features.feedback.asking import Asking, sentence
from lineup.inference.queue import Cancelled
from lineup.page.api import uploaded, visible_errors
from lineup.page.client_address import Proxies
from lineup.page.connections import Connections
from lineup.results import Classification
from lineup.service import Service


def add(service: Service, asking: Asking, connections: Connections, proxies: Proxies) -> None:
    """Add the endpoint to the Blocks that is open.

    It is no tool of MCP: a language model must not keep a user's image on its own.
    """

    @visible_errors
    async def feedback(
        image: FileData, label: str, backbone: str | None = None, request: gr.Request | None = None
    ) -> dict[str, Any]:
        """Say what an image is: it is classified, and kept with the answer and the label.

        Args:
            image: the image, as an upload.
            label: what it is: a class of the backbone, or any other text.
            backbone: a name that /backbones lists; the default one if left out.
            request: the client's.
        """
        path, visitor = uploaded(image), proxies.address_of(request)
        name = service.known(service.config.default_name if backbone is None else backbone)

        def keep(cancelled: Cancelled) -> dict[str, Any]:
            asking.label(label, [name])  # an invalid one is an error before the forward pass
            return _kept(asking, path, label, service.classify(path, name, 1, cancelled), visitor)

        return await connections.run(keep)

    gr.api(feedback, api_name="feedback", concurrency_limit=None, api_visibility="undocumented")


def _kept(asking: Asking, path: Path, label: str, answer: Classification, visitor: str) -> dict[str, Any]:
    receipt, [said] = asking.record(path, label, [answer], visitor), answer.predictions
    return {
        "image": receipt.image,
        "label": receipt.given,
        "backbone": answer.backbone,
        "said": said.label,
        "probability": said.probability,
        "sentence": sentence(receipt.given, [said.label]),
    }
