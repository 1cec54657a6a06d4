"""Rows of the comparison table: prediction, measured latency and published figures of each backbone."""

from dataclasses import asdict, dataclass
from typing import Any

from lineup.results import BackboneStatus, Classification, LatencyStats


@dataclass(frozen=True)
class ComparisonRow:
    """A backbone's row; unknown values are None.

    Latencies are those of forward passes on this machine; published accuracies are in percent. The fields from
    `imagenet_top1` to `gmacs` are the columns of registry/published.csv.
    """

    backbone: str
    label: str | None = None
    id: str | None = None
    probability: float | None = None
    last_ms: float | None = None
    median_ms: float | None = None
    runs: int | None = None
    parameters: int | None = None
    input_size: str | None = None
    imagenet_top1: float | None = None
    imagenet_top5: float | None = None
    real_top1: float | None = None
    v2_top1: float | None = None
    a_top1: float | None = None
    r_top1: float | None = None
    sketch_top1: float | None = None
    gmacs: float | None = None
    figures_note: str | None = None
    license: str | None = None
    download_bytes: int | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the row as exported to CSV and JSON."""
        return asdict(self)


def row(status: BackboneStatus, timing: LatencyStats | None, answer: object = None) -> ComparisonRow:
    """Build a backbone's row.

    Args:
        status: status and metadata of the backbone.
        timing: measured latency; None before the first forward pass.
        answer: its Classification, or the error raised instead; None before either.
    """
    classification = answer if isinstance(answer, Classification) else None
    first = classification.predictions[0] if classification else None
    return ComparisonRow(
        backbone=status.name,
        label=first.label if first else None,
        id=first.id if first else None,
        probability=round(first.probability, 6) if first else None,
        last_ms=round(timing.last_ms, 3) if timing else None,
        median_ms=round(timing.median_ms, 3) if timing else None,
        runs=timing.runs if timing else None,
        parameters=status.parameters,
        input_size="{1} × {0}".format(*classification.input_size) if classification else None,
        figures_note=status.figures_note or None,
        license=status.license,
        download_bytes=status.download_bytes,
        error=str(answer) if isinstance(answer, Exception) else None,
        **status.figures,
    )
