"""The plan of a backbone: its network, transform and labels in one object."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from lineup.config import Entry
from lineup.errors import BackboneError
from lineup.hub.downloads import cached_sha256
from lineup.hub.files import HubFile, Weights
from lineup.registry import labels
from lineup.registry.labels import LabelSet

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lineup.registry.embedding import Embedding

OutputKind = Literal["classes", "features"]


@dataclass(frozen=True)
class Transform:
    """The preprocessing of a backbone.

    Attributes:
        steps: converts an RGB image to a normalised float32 tensor of shape ``(3, H, W)``.
        input_size: height and width.
        mean: the mean that `steps` normalises with, to be inverted by `as_image`.
        std: the standard deviation that `steps` normalises with.
        fingerprint: equal for equivalent transforms; empty if unknown.
        resize_px: the length to which the shorter side is resized first; 0 if unknown.
    """

    steps: "Callable[[Image.Image], torch.Tensor]"
    input_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str = ""
    resize_px: int = 0

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return a batch of one image: normalised float32 of shape ``(1, 3, H, W)``."""
        return self.batch([image])

    def batch(self, images: Iterable[Image.Image]) -> np.ndarray:
        """Return a batch of at least one image: contiguous, normalised float32 of shape ``(N, 3, H, W)``."""
        rows = [self.steps(image).numpy() for image in images]  # torchvision's have the layout (H, W, 3) in memory
        return np.stack(rows, out=np.empty((len(rows), *rows[0].shape), np.float32))

    @property
    def key(self) -> object:
        """A key that is equal for equivalent transforms."""
        return self.fingerprint or id(self.steps)

    def as_image(self, batch: np.ndarray) -> Image.Image:
        """Return the input of the backbone as an image, with the normalisation inverted."""
        std, mean = (np.array(channels, np.float32) for channels in (self.std, self.mean))
        pixels = batch[0].transpose(1, 2, 0) * std + mean  # (H, W, 3) in 0–1
        return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


@dataclass(frozen=True)
class Plan:
    """A backbone without its weights: everything that is known and checked before they are downloaded.

    Attributes:
        name: the name of the entry.
        source: the key in SOURCES.
        architecture: the library's name of it, with the tag if it has one: resnet18.a1_in1k.
        parameters: the number of parameters.
        labels: the labels, in the order of the outputs; none if the output is features.
        transform: the preprocessing.
        weights: the weights file; None for random weights.
        make: builds the network, given the path of the weights.
        license: the licence of the weights; empty if not stated.
        download_bytes: the size of the download, if known without a request.
        notes: caveats about the predictions, shown to the user.
        figures: figures published for these weights at this input size, by key of `published.FIGURES`.
        figures_note: a caveat about these figures, shown to the user.
        recipe: Python code that builds `network` and `transform` without Lineup; empty if there is none.
        fingerprint: identifies the network, except for its weights and the versions of the libraries; empty if unknown.
        output: what the network that `make` builds returns: logits of the classes, ``(N, classes)``, or features.
        embedding: how the network returns features; None if it cannot.
    """

    name: str
    source: str
    architecture: str
    parameters: int
    labels: LabelSet
    transform: Transform
    weights: Weights | None
    make: "Callable[[Path | None], nn.Module]"
    license: str = ""
    download_bytes: int | None = None
    notes: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    figures_note: str = ""
    recipe: str = ""
    fingerprint: str = ""
    output: OutputKind = "classes"
    embedding: "Embedding | None" = None

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    @property
    def embedding_dim(self) -> int:
        """The number of features of an image; it needs no weights, and a second at first use.

        Raises:
            BackboneError: the backbone cannot return features.
        """
        return self._embedding.dim

    def features(self) -> "Plan":
        """Return the plan of the same backbone whose network returns features ``(N, embedding_dim)``.

        They are the input of the classification layer, or the output of a network without one.

        Raises:
            BackboneError: the backbone cannot return features.
        """
        if self.output == "features":
            return self
        embedding = self._embedding
        return replace(
            self,
            output="features",
            labels=labels.numbered(0),
            make=lambda path: embedding.network(self.make(path)),
            recipe="",
            fingerprint=self.fingerprint and f"features of {self.fingerprint}",
        )

    @property
    def _embedding(self) -> "Embedding":
        if self.embedding is None:
            raise BackboneError(self.name, "a backbone that returns features", f"{self.source} gives only classes")
        return self.embedding


@dataclass(frozen=True)
class Context:
    """What a source needs besides the entry.

    Attributes:
        folder: the folder of the config, the base of relative paths.
        fetch: downloads a small file from the Hub.
        sha256: returns the SHA-256 of a Hub file, cached or not; empty if unknown.
        output: what the backbone is to return. One that returns only features is refused if that is classes.
    """

    folder: Path
    fetch: Callable[[HubFile], Path]
    sha256: Callable[[HubFile], str] = cached_sha256
    output: OutputKind = "classes"


Source = Callable[[Entry, Context], Plan]


def format_call(function: str, *arguments: object, **named: object) -> str:
    """Format a call as Python code: ``f('a', b=1)``; with one argument per line if it exceeds 100 characters."""
    parts = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in named.items())]
    line = f"{function}({', '.join(parts)})"
    return line if len(line) <= 100 else "\n    ".join([f"{function}(", *(f"{part}," for part in parts)]) + "\n)"


def entry_labels(entry: Entry, context: Context) -> LabelSet | None:
    """Return the labels of the entry itself, if it has any."""
    if isinstance(entry.labels, str):
        return labels.read_file(context.folder / entry.labels)
    return labels.from_names(entry.labels, "the config") if entry.labels is not None else None


def resolve_labels(of_entry: LabelSet | None, of_weights: LabelSet | None, num_classes: int) -> LabelSet:
    """Return the labels of the entry, else those of the weights, else numbers.

    Raises:
        BackboneError: the number of labels is not the number of classes.
    """
    return labels.check_count(of_entry or of_weights or labels.numbered(num_classes), num_classes)
