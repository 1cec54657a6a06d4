"""A backbone that another process computes: image bytes go over, and its outputs come back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lineup.results import StageTimings

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class RemoteOutput:
    """What a remote backbone has computed for an image.

    Attributes:
        logits: of shape ``(1, outputs)`` float32; features ``(1, embedding_dim)`` if the plan's output is features.
        engine: the name of the engine there.
        device: the device there.
        milliseconds: how long each step took there.
        notes: what was inferred while decoding.
        min_side_px: the shorter side that the image was decoded for, as of `Classification`.
        model_input_jpeg: the input of the network, if it was asked for; may be empty.
    """

    logits: np.ndarray
    engine: str
    device: str
    milliseconds: StageTimings
    notes: tuple[str, ...] = ()
    min_side_px: int = 0
    model_input_jpeg: bytes = b""


@dataclass(frozen=True)
class RemoteEmbedding:
    """How a remote backbone returns features; the attributes are those of `Embedding`."""

    dim: int
    is_normalized: bool = False
    is_of_timm: bool = False
    features_of: None = None

    def network(self, network: "nn.Module") -> "nn.Module":
        """Return the network as it is: it is elsewhere."""
        return network


class RemoteBackbone(Protocol):
    """Computes a backbone in another process. Thread-safe.

    `Plan.remote` connects to it, and raises UnreachableError when that is impossible. A source of SOURCES that sets
    that field needs no network here: its `make` is not called.

    Attributes:
        name: of the engine, in statuses: ``lineup``.
        hint: the precision that it computes in, for fingerprints; empty if unknown.
    """

    name: str
    hint: str

    @property
    def fingerprint(self) -> str:
        """What identifies all that decides its outputs, as the key of the answer store; empty if unknown.

        It may take a request, and may change: outputs are stored only while it stays the same.
        """

    @property
    def concurrency(self) -> int:
        """How many images it computes at the same time."""

    @property
    def where(self) -> str:
        """What computes it, in words that follow "computed by", such as a host; for statuses: it takes no request."""

    def output(self, image: bytes, model_input: bool, cancelled: Callable[[], bool]) -> RemoteOutput:
        """Compute an image file within a deadline of its own, and check the cancel flag meanwhile.

        Raises:
            ImageError: when the image cannot be read.
            BackboneError: when the backbone cannot run there.
            BusyError: when there is no place in its queue.
            ForwardTimeout: when it takes too long.
            HubError: when it has changed, or an UnreachableError when it is gone: it is connected to again later.
            ClientDisconnected: when the request is cancelled.
        """
