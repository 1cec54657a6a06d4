"""The plan of a backbone: its network, transform and labels in one object."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from lineup.config import Activation, Entry, Limits
from lineup.errors import ClassesOnlyError
from lineup.hub.downloads import cached_sha256
from lineup.hub.files import HubFile, Weights
from lineup.registry import label_files, labels
from lineup.registry.labels import LabelSet
from lineup.registry.remote import RemoteBackbone, RemoteEmbedding

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lineup.registry.embedding import Embedding

OutputKind = Literal["classes", "features"]
# of an entry, and of a config.json
TRANSFORM_KEYS = ("input_size", "mean", "std", "crop_mode", "crop_pct", "interpolation")


@dataclass(frozen=True)
class Transform:
    """The preprocessing of a backbone.

    Attributes:
        steps: converts an RGB image to a normalised float32 tensor of shape ``(C, H, W)``.
        input_size: height and width.
        mean: the mean of each channel that `steps` normalises with, to be inverted by `as_image`.
        std: the standard deviation that `steps` normalises with.
        fingerprint: equal for equivalent transforms; empty if unknown.
        resize_px: the length to which the shorter side is resized first, or more; 0 if unknown.
        resizing: how an image gets the input size, in words: ``center crop 0.875, bicubic``; empty if unknown.
        settings: the arguments of timm's `create_transform` that makes it; empty if it is another one.
        resize: the part of `steps` that returns an image, if the rest divides by 255 and normalises. That is computed
            in numpy instead: torch's threads, which are more than it needs, wait for one another on busy cores.
    """

    steps: "Callable[[Image.Image], torch.Tensor]"
    input_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str = ""
    resize_px: int = 0
    resizing: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    resize: Callable[[Image.Image], Image.Image] | None = None

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return a batch of one image: normalised float32 of shape ``(1, C, H, W)``."""
        return self.batch([image])

    def batch(self, images: Iterable[Image.Image]) -> np.ndarray:
        """Return a batch of at least one image: contiguous, normalised float32 of shape ``(N, C, H, W)``."""
        rows = [self._row(image) for image in images]  # those of torchvision have the layout (H, W, 3) in memory
        return np.stack(rows, out=np.empty((len(rows), *rows[0].shape), np.float32))

    def _row(self, image: Image.Image) -> np.ndarray:
        """Return the input for one image, ``(C, H, W)`` float32: with `resize`, bit by bit what `steps` returns."""
        if self.resize is None:
            return self.steps(image).numpy()
        pixels = np.atleast_3d(np.asarray(self.resize(image)))  # (H, W, C) uint8
        row = np.divide(pixels, np.float32(255), dtype=np.float32)
        row -= np.array(self.mean, np.float32)
        row /= np.array(self.std, np.float32)
        return row.transpose(2, 0, 1)

    @property
    def channels(self) -> int:
        """The number of channels: 3 (RGB), or 1 (grayscale)."""
        return len(self.mean)

    @property
    def summary(self) -> str:
        """The preprocessing in words: ``input 224 × 224 px RGB, center crop 0.875, bicubic; mean …, std …``."""
        (height, width), colors = self.input_size, "RGB" if self.channels == 3 else "grayscale"
        size = ", ".join(filter(None, (f"input {width} × {height} px {colors}", self.resizing)))
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"{size}; mean {mean}, std {std}"

    @property
    def key(self) -> object:
        """A key that is equal for equivalent transforms."""
        return self.fingerprint or id(self.steps)

    def as_image(self, batch: np.ndarray) -> Image.Image | None:
        """Return the input of the backbone as an image, with the normalisation inverted; None if that is impossible."""
        std, mean = (np.array(channels, np.float32) for channels in (self.std, self.mean))
        pixels = batch[0].transpose(1, 2, 0) * std + mean  # (H, W, C) in 0–1
        values = (pixels.clip(0, 1) * 255).round().astype(np.uint8)
        return Image.fromarray(values[:, :, 0] if self.channels == 1 else values)


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
        loading_notes: for the owner, how the weights were read: the file chosen, and what was removed from its keys.
        figures: figures published for these weights at this input size, by key of `published.FIGURES`.
        figures_note: a caveat about these figures, shown to the user.
        recipe: Python code that builds `network` and `transform` without Lineup; empty if there is none.
        fingerprint: identifies the network, except for its weights and the versions of the libraries; empty if unknown.
        activation: turns the logits into probabilities.
        num_outputs: the number of logits, if it is not that of the classes: two classes may have one, the second's.
        head: the name and the shape of the classification layer, such as ``fc (512 → 5)``; empty if unknown.
        output: what the network that `make` builds returns: logits of the classes, ``(N, classes)``, or features.
        embedding: how the network returns features; None if it cannot.
        requirements: the file with what it needs besides requirements.txt; empty if nothing.
        remote: connects to the process that computes it; None if this one does.
        described: the summary, if that process has given it.
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
    loading_notes: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    figures_note: str = ""
    recipe: str = ""
    fingerprint: str = ""
    activation: Activation = "softmax"
    num_outputs: int | None = None
    head: str = ""
    output: OutputKind = "classes"
    embedding: "Embedding | RemoteEmbedding | None" = None
    requirements: str = ""
    remote: Callable[[], RemoteBackbone] | None = None
    described: str = ""

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    @property
    def output_dim(self) -> int:
        """The number of outputs for an image: logits, or features."""
        return (self.num_outputs or self.num_classes) if self.output == "classes" else self.embedding_dim

    @property
    def embedding_dim(self) -> int:
        """The number of features of an image; it needs no weights, and a second at first use.

        Raises:
            ClassesOnlyError: the backbone cannot return features.
        """
        return self._embedding.dim

    @cached_property
    def summary(self) -> str:
        """What is used, in one line: architecture, weights, head, activation, labels and preprocessing."""
        if self.described:
            return self.described
        weights = f"weights {self.weights}" if self.weights else "random weights"
        count = f"{self.num_classes:,} class{'' if self.num_classes == 1 else 'es'}"
        named = f"named by {self.labels.origin}" if self.labels.named else "without names"
        classes = f"{self.activation}, {count} {named}" if self.output == "classes" else "features"
        head = f"head {self.head}" if self.head else ""
        return "; ".join(filter(None, (self.architecture, weights, head, classes, self.transform.summary)))

    def features(self) -> "Plan":
        """Return the plan of the same backbone whose network returns features ``(N, embedding_dim)``.

        They are the input of the classification layer, or the output of a network without one.

        Raises:
            ClassesOnlyError: the backbone cannot return features.
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

    def with_loading_notes(self, notes: Iterable[str]) -> "Plan":
        """Return the plan with further loading notes, before its own."""
        return replace(self, loading_notes=(*notes, *self.loading_notes))

    @property
    def _embedding(self) -> "Embedding | RemoteEmbedding":
        if self.embedding is None:
            raise ClassesOnlyError(self.name, "a backbone that returns features", f"{self.source} gives only classes")
        return self.embedding


@dataclass(frozen=True)
class Context:
    """What a source needs besides the entry.

    Attributes:
        folder: the folder of the config, the base of relative paths.
        fetch: downloads a small file from the Hub.
        sha256: returns the SHA-256 of a Hub file, cached or not; empty if unknown.
        output: what the backbone is to return. One that returns only features is refused if that is classes.
        limits: returns the limits of the config.
        reach: guards a request to a server; raises UnreachableError where none may be sent now.
    """

    folder: Path
    fetch: Callable[[HubFile], Path]
    sha256: Callable[[HubFile], str] = cached_sha256
    output: OutputKind = "classes"
    limits: Callable[[], Limits] = Limits  # type: ignore[assignment]
    reach: Callable[[str], AbstractContextManager[None]] = lambda server: nullcontext()

    def path(self, text: str) -> Path:
        """Return the path that a value of the config means; ``~`` is the user's home."""
        return self.folder / (Path(text).expanduser() if text.startswith(("~/", "~\\")) else text)


Source = Callable[[Entry, Context], Plan]


def format_call(function: str, *arguments: object, **named: object) -> str:
    """Format a call as Python code: ``f('a', b=1)``; with one argument per line if it exceeds 100 characters."""
    parts = [*map(repr, arguments), *(f"{name}={value!r}" for name, value in named.items())]
    line = f"{function}({', '.join(parts)})"
    return line if len(line) <= 100 else "\n    ".join([f"{function}(", *(f"{part}," for part in parts)]) + "\n)"


def entry_labels(entry: Entry, context: Context) -> LabelSet | None:
    """Return the labels of the entry itself, if it has any, with WordNet ids resolved."""
    if entry.labels is None:
        return None
    from lineup.registry.wordnet import wordnet  # imports timm

    if isinstance(entry.labels, str):
        return wordnet().resolve(label_files.read(context.path(entry.labels)))
    return wordnet().resolve(labels.from_names(entry.labels, "the config"))


def grayscale(entry: Entry, mean: Sequence[float], std: Sequence[float]) -> tuple[Entry, tuple[str, ...]]:
    """Return an entry for a network of one channel, and a note if its mean and std are not those of the entry.

    Args:
        entry: the entry of the config.
        mean: the mean to use if the entry has none; that of three channels is averaged, as in timm's training script.
        std: the standard deviation, as above.
    """
    of_channel = [round(fmean(values), 6) for values in (entry.mean or mean, entry.std or std)]
    pairs = (entry.mean, mean), (entry.std, std)
    is_exact = all(len(set(said)) == 1 if said else len(default) == 1 for said, default in pairs)
    note = "grayscale: mean {:g} and std {:g} are averages over the three channels".format(*of_channel)
    changed = entry.model_copy(update={"in_chans": 1, "mean": (of_channel[0],), "std": (of_channel[1],)})
    return changed, () if is_exact else (note,)


def resolve_labels(of_entry: LabelSet | None, of_weights: LabelSet | None, num_outputs: int) -> LabelSet:
    """Return the labels of the entry, else those of the weights, else numbers.

    One output may have two labels: of the class below ½, and of the one above.

    Raises:
        BackboneError: their number does not fit the number of outputs, or their order is not that of the weights.
    """
    if of_entry and of_weights and len(of_entry) == len(of_weights):
        labels.check_order(of_entry, of_weights)
    return labels.check_count(of_entry or of_weights or labels.numbered(num_outputs), num_outputs)
