"""What the service answers: plain frozen values, the same for page, command line and API."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from lineup.errors import LineupError

Availability = Literal["ready", "loading", "idle", "unavailable"]


@dataclass(frozen=True)
class Prediction:
    """One class and its probability, 0 to 1."""

    class_index: int
    id: str | None  # WordNet's, where one is known
    label: str  # unique within the backbone's labels
    probability: float
    description: str = ""


@dataclass(frozen=True)
class StageTimings:
    """How long each step of an answer took."""

    decode: float
    preprocess: float
    forward: float

    @property
    def total(self) -> float:
        return self.decode + self.preprocess + self.forward


@dataclass(frozen=True)
class Classification:
    """A backbone's answer on one image, most probable class first."""

    backbone: str
    predictions: tuple[Prediction, ...]
    input_size: tuple[int, int]  # height, width
    engine: str
    device: str
    milliseconds: StageTimings
    label_set: str
    license: str
    margin: float = 0.0  # how much more probable the first class is than the second; 1 if there is none
    notes: tuple[str, ...] = ()
    min_side_px: int = 0  # the shorter side that the image was decoded for; 0: to its full size
    model_input_jpeg: bytes = field(default=b"", compare=False)  # the crop that went in, as a JPEG

    def first(self, count: int) -> Self:
        """Return the same answer with its most probable classes only."""
        return replace(self, predictions=self.predictions[:count])

    def to_json(self) -> dict[str, Any]:
        """Return what the API's contract promises."""
        keys = ("class_index", "id", "label", "probability")
        return {
            "backbone": self.backbone,
            "predictions": [{key: getattr(each, key) for key in keys} for each in self.predictions],
            "input_size": list(self.input_size),
            "engine": self.engine,
            "milliseconds": {step: round(took, 2) for step, took in asdict(self.milliseconds).items()},
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class LatencyStats:
    """How long a backbone's forward passes took here."""

    runs: int
    last_ms: float
    median_ms: float


@dataclass(frozen=True)
class Progress:
    """Where a load stands: in words, and in bytes while something is downloaded."""

    stage: str
    done_bytes: int = 0
    total_bytes: int | None = None


@dataclass(frozen=True)
class BackboneStatus:
    """What is known of one entry of the line-up; None where it is not known (yet)."""

    name: str
    source: str
    status: Availability
    problem: LineupError | None = None  # why it is unavailable
    progress: Progress | None = None  # while it is loading
    num_classes: int | None = None
    parameters: int | None = None
    download_bytes: int | None = None
    license: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    facts_note: str = ""  # what a visitor should know about them
    engine: str = ""  # what computes, once it is ready
    engine_note: str = ""  # why it is not the one that was meant

    @property
    def reason(self) -> str:
        """Return why it is unavailable, in words, or nothing."""
        return str(self.problem or "")

    def to_json(self) -> dict[str, Any]:
        """Return what the API's contract promises."""
        names = ["reason" if each.name == "problem" else each.name for each in fields(self)]
        return {name: getattr(self, name) for name in names if name != "progress"}


Answer = Classification | LineupError  # one that cannot answer says why
