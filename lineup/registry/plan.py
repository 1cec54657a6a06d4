"""What a backbone is made of: network, transform and labels are one object."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lineup.config import Entry
from lineup.hub.downloads import cached_sha256
from lineup.hub.files import HubFile, Weights
from lineup.registry import labels
from lineup.registry.labels import LabelSet

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Transform:
    """Turns an image into what one backbone takes in.

    `steps` does the work: an RGB image becomes a normalised float32 tensor ``(3, H, W)``.
    `mean` and `std` are what it normalises with, so that the crop can be shown again.
    """

    steps: "Callable[[Image.Image], torch.Tensor]"
    input_size: tuple[int, int]  # height, width
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str = ""  # the same in transforms that do the same; empty if nobody can tell
    resize_px: int = 0  # what an image's shorter side is resized to first; 0 if nobody can tell

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return a batch of one: ``(1, 3, H, W)`` float32, normalised."""
        return self.steps(image).unsqueeze(0).numpy()

    @property
    def key(self) -> object:
        """What two transforms have in common that do the same."""
        return self.fingerprint or id(self.steps)

    def as_image(self, batch: np.ndarray) -> Image.Image:
        """Return as an image what the backbone saw: the normalisation undone."""
        std, mean = (np.array(three, np.float32) for three in (self.std, self.mean))
        pixels = batch[0].transpose(1, 2, 0) * std + mean  # (H, W, 3) in 0–1
        return Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8))


@dataclass(frozen=True)
class Plan:
    """A backbone without its weights: all that can be said, and checked, before they are fetched."""

    name: str
    source: str
    architecture: str  # as its library spells it, with its tag where it has one: resnet18.a1_in1k
    parameters: int
    labels: LabelSet
    transform: Transform
    weights: Weights | None  # None: random weights
    make: "Callable[[Path | None], nn.Module]"  # the weights' path → the network
    license: str = ""  # of the weights; empty when nobody says
    download_bytes: int | None = None  # when known without asking
    notes: tuple[str, ...] = ()  # what a visitor should know about the answers
    facts: Mapping[str, float] = field(default_factory=dict)  # published of these weights at this input size
    facts_note: str = ""  # what a visitor should know about these figures
    recipe: str = ""  # Python that makes `network` and `transform` again, without this project; empty if nobody can
    fingerprint: str = ""  # all that decides the network, but its weights and its libraries; empty if nobody can tell

    @property
    def num_classes(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Context:
    """What a source may use: the config's folder, a way to get small files from the Hub, and one to get hashes."""

    folder: Path
    fetch: Callable[[HubFile], Path]
    sha256: Callable[[HubFile], str] = cached_sha256  # of a file that need not be here; empty if it is not known


Source = Callable[[Entry, Context], Plan]


def spell(function: str, *arguments: object, **named: object) -> str:
    """Write a call as Python: ``f('a', b=1)``; one argument a line where it gets long."""
    spelled = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in named.items())]
    line = f"{function}({', '.join(spelled)})"
    return line if len(line) <= 100 else "\n    ".join([f"{function}(", *(f"{each}," for each in spelled)]) + "\n)"


def given_labels(entry: Entry, context: Context) -> LabelSet | None:
    """Return the labels that the entry itself gives, if it does."""
    if isinstance(entry.labels, str):
        return labels.read_file(context.folder / entry.labels)
    return labels.from_names(entry.labels, "the config") if entry.labels is not None else None


def chosen_labels(given: LabelSet | None, found: LabelSet | None, num_classes: int) -> LabelSet:
    """Choose what the classes are called: as the entry says, as the weights say, or by number.

    Raises:
        BackboneError: when there is not one label for each class.
    """
    return labels.check_count(given or found or labels.numbered(num_classes), num_classes)
