"""Result types of the service: frozen dataclasses shared by the page, the command line and the API."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from lineup.errors import LineupError

Availability = Literal["ready", "loading", "idle", "unavailable"]
Activation = Literal["softmax", "sigmoid"]
ScoreFunction = Literal["softmax", "sigmoid", "none"]  # of a request, in place of the head's activation; none: logits


@dataclass(frozen=True)
class Prediction:
    """A class and its probability, in [0, 1], or its logit where a request asks for that."""

    class_index: int
    id: str | None  # WordNet id, if known
    label: str  # unique within the backbone's labels
    probability: float
    description: str = ""


@dataclass(frozen=True)
class StageTimings:
    """Latency of each step of a classification, in milliseconds."""

    decode: float
    preprocess: float
    forward: float

    @property
    def total(self) -> float:
        return self.decode + self.preprocess + self.forward


@dataclass(frozen=True)
class Classification:
    """A backbone's prediction for one image: top-k classes, most probable first.

    Either the classes are exclusive, and their probabilities add up to 1, or each has a probability of its own.
    """

    backbone: str
    predictions: tuple[Prediction, ...]
    input_size: tuple[int, int]  # height, width
    engine: str
    device: str
    milliseconds: StageTimings
    label_set: str
    license: str
    margin: float = 0.0  # of exclusive classes, the probability of the first minus that of the second
    activation: ScoreFunction = "softmax"
    above_half: tuple[Prediction, ...] | None = None  # all classes above ½; None if the classes are exclusive
    notes: tuple[str, ...] = ()
    min_side_px: int = 0  # minimum shorter side the image was decoded for; 0 means full resolution
    model_input_jpeg: bytes = field(default=b"", compare=False)  # the crop fed to the model, as JPEG; may be empty

    def first(self, count: int) -> Self:
        """Return a copy with only the `count` most probable classes."""
        return replace(self, predictions=self.predictions[:count])

    def to_json(self) -> dict[str, Any]:
        """Return the result as the API returns it."""
        keys = ("class_index", "id", "label", "probability")
        return {
            "backbone": self.backbone,
            "predictions": [{key: getattr(prediction, key) for key in keys} for prediction in self.predictions],
            "activation": self.activation,
            "above_half": None if self.above_half is None else [prediction.label for prediction in self.above_half],
            "input_size": list(self.input_size),
            "engine": self.engine,
            "milliseconds": {step: round(elapsed_ms, 2) for step, elapsed_ms in asdict(self.milliseconds).items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class LatencyStats:
    """Measured latency of a backbone's forward passes."""

    runs: int
    last_ms: float
    median_ms: float


@dataclass(frozen=True)
class Progress:
    """Progress of a load: its stage as text, and bytes during a download."""

    stage: str
    done_bytes: int = 0
    total_bytes: int | None = None


@dataclass(frozen=True)
class BackboneStatus:
    """Status and metadata of one configured backbone; None where not (yet) known."""

    name: str
    source: str
    status: Availability
    problem: LineupError | None = None  # set if unavailable
    progress: Progress | None = None  # set while loading
    num_classes: int | None = None
    parameters: int | None = None
    download_bytes: int | None = None
    license: str | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    figures_note: str = ""  # caveat about the figures
    engine: str = ""  # empty until ready
    engine_note: str = ""  # why the engine is a fallback
    computed_by: str = ""  # what computes it instead of this process, in words; known once it is ready
    summary: str = ""  # what is used: architecture, weights, head, activation, labels and preprocessing
    notes: tuple[str, ...] = ()  # caveats about its predictions
    loading_notes: tuple[str, ...] = ()  # how the weights were read

    @property
    def reason(self) -> str:
        """The error message if unavailable, else an empty string."""
        return str(self.problem or "")

    def to_json(self) -> dict[str, Any]:
        """Return the status as the API returns it."""
        names = ["reason" if item.name == "problem" else item.name for item in fields(self)]
        return {name: getattr(self, name) for name in names if name != "progress"}


Answer = Classification | LineupError  # the error if the backbone failed
