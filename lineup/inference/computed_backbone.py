"""A backbone whose outputs are computed elsewhere, for a feature that computes many images."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lineup.errors import ImageError
from lineup.images.image_bytes import ImageSource
from lineup.images.image_set import EvaluatedImage
from lineup.images.similarity import Appearance
from lineup.inference.pinned_backbone import PinnedBackbone
from lineup.inference.queue import Cancelled, never_cancelled

if TYPE_CHECKING:
    from lineup.registry import Plan
    from lineup.registry.plan import OutputKind


@dataclass(frozen=True)
class Outputs:
    """Outputs of some of the images.

    Attributes:
        images: the indices of the images, in the order of the rows.
        rows: logits or features ``(N, outputs)`` float32.
        problems: why other images have none, by index.
    """

    images: list[int]
    rows: np.ndarray
    problems: dict[int, ImageError] = field(default_factory=dict)


@dataclass(frozen=True)
class Described:
    """A backbone as another machine has loaded it.

    Attributes:
        plan: its plan, whose network is only there.
        engine: the name of the engine, and its precision.
        fingerprint: of what decides the outputs; empty if unknown.
        forward_ms: median latency of a forward pass with one image, in milliseconds; None if none could be read.
        download_bytes: the size of the download; None if it is unknown, or there is none.
        weights_bytes: the size of the weights file; None if there is none.
    """

    plan: "Plan"
    engine: str
    fingerprint: str
    forward_ms: float | None
    download_bytes: int | None
    weights_bytes: int | None


class ComputedBackbone(PinnedBackbone):
    """A backbone that this process does not load: what it has computed elsewhere is read.

    Args:
        name: the entry's.
        found: what is known of it there.
    """

    def __init__(self, name: str, found: Described) -> None:
        self.name, self._found = name, found

    @abstractmethod
    def computed(self, images: Sequence[EvaluatedImage], indices: Sequence[int]) -> Iterator[Outputs]:
        """Yield the outputs of the images with these indices, in any order.

        Raises:
            BackboneError: when some could not be computed, after those that could.
        """

    @property
    def plan(self) -> "Plan":
        return self._found.plan

    @property
    def path(self) -> Path | None:
        return None

    @property
    def engine(self) -> str:
        return self._found.engine

    @property
    def fingerprint(self) -> str:
        return self._found.fingerprint

    @property
    def download_bytes(self) -> int | None:
        return self._found.download_bytes

    @property
    def weights_bytes(self) -> int | None:
        return self._found.weights_bytes

    def latency_ms(
        self,
        images: Iterable[ImageSource],
        turn: Callable[[], AbstractContextManager[None]],
        cancelled: Cancelled = never_cancelled,
    ) -> float | None:
        return self._found.forward_ms

    def release(self) -> None:
        """Do nothing: it is not loaded here."""


class Elsewhere(Protocol):
    """What has computed the outputs of a set of images."""

    def pinned(self, name: str, output: "OutputKind" = "classes") -> PinnedBackbone:
        """Return a backbone; raise LineupError when it could not be loaded there."""

    def appearances(self, images: Sequence[EvaluatedImage]) -> list[Appearance | None]:
        """Return how each image looks; None for one that cannot be read."""
