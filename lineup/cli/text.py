"""Format results as lines of text: tables with notes below them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lineup.analysis import multi_label
from lineup.errors import LineupError
from lineup.formatting import aligned, or_dash

if TYPE_CHECKING:
    from lineup.analysis.agreement import Comparison
    from lineup.results import BackboneStatus, Classification
    from lineup.service import Service


def answer(answer: "Classification", loading_notes: Sequence[str] = ()) -> list[str]:
    width = max(len(prediction.label) for prediction in answer.predictions)
    lines = [f"{prediction.label:<{width}}  {prediction.probability:7.2%}" for prediction in answer.predictions]
    height, width_px = answer.input_size
    details = (
        f"{answer.backbone} · {width_px} × {height} px · {answer.engine} on {answer.device} · "
        f"{answer.milliseconds.total:.0f} ms · {answer.label_set} · weights: {answer.license or 'licence not stated'}"
    )
    lines += filter(None, [multi_label.sentence(answer)])
    return [*lines, "", details, *(f"note: {note}" for note in (*answer.notes, *loading_notes))]


def comparison(service: "Service", comparison: "Comparison") -> list[str]:
    labels, notes = [], []
    rows: list[Sequence[str]] = [("backbone", "top class", "probability", "forward", "parameters", "ImageNet top-1")]
    templates = {"probability": "{:.2%}", "last_ms": "{:.0f} ms", "parameters": "{:,}", "imagenet_top1": "{:.1f} %"}
    for row, (name, answer) in zip(service.rows(comparison.answers), comparison.answers.items(), strict=True):
        cells = (or_dash(getattr(row, key), template) for key, template in templates.items())
        rows.append((name, row.label or "-", *cells))
        notes += [f"note: {name}: {row.figures_note}"] if row.figures_note else []
        if not isinstance(answer, LineupError):
            predictions = (f"{prediction.label} {prediction.probability:.1%}" for prediction in answer.predictions)
            labels.append(f"{name}: {', '.join(predictions)}")
            notes += [f"note: {name}: {note}" for note in answer.notes]
    for name, reason in comparison.left_out.items():  # an error has the name
        notes.append(f"left out: {reason}" if isinstance(reason, LineupError) else f"left out: {name}: {reason}")
    return [*aligned(rows, "llrrrr"), "", *labels, "", comparison.agreement.sentence, *notes]


def checked(statuses: "Sequence[BackboneStatus]", notes: Sequence[str]) -> list[str]:
    """Format the table, with a line for each entry on what is used, and notes."""
    lines = [*table(statuses), ""]
    for status in statuses:
        lines += [f"{status.name}: {status.summary}"] if status.summary else []
        lines += [f"note: {status.name}: {note}" for note in (*status.notes, *status.loading_notes)]
    return [*lines, *(f"note: {note}" for note in notes)]


def table(statuses: "Sequence[BackboneStatus]") -> list[str]:
    rows = [("name", "source", "status", "classes", "parameters", "download", "licence")]
    for status in statuses:
        classes, parameters = or_dash(status.num_classes, "{:,}"), or_dash(status.parameters, "{:,}")
        download = or_dash((status.download_bytes or 0) / 1e6, "{:.1f} MB")
        licence = status.license or "-"
        rows.append((status.name, status.source, status.status, classes, parameters, download, licence))
    return aligned(rows, "lllrrrl")
