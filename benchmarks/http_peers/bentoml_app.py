"""BentoML: a service of several worker processes, each with the network, which decode and compute on threads.

bentoml serve bentoml_app:Classifier --port PORT --host 127.0.0.1      with WORKERS in the environment
"""

import os
from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType
from network import Network


@bentoml.service(workers=int(os.environ["WORKERS"]), threads=1, traffic={"timeout": 120})
class Classifier:
    """One worker: a network of its own."""

    def __init__(self) -> None:
        self._network = Network()

    @bentoml.api(route="/predict")
    def predict(self, image: Annotated[Path, ContentType("image/jpeg")]) -> list[dict]:
        """Classify an image, which BentoML has written to a file."""
        return self._network.answer(self._network.prepared(image.read_bytes()))
