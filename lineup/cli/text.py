"""The command line's answers as lines of text: tables, and sentences under them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lineup.errors import LineupError
from lineup.formatting import aligned, or_dash

if TYPE_CHECKING:
    from lineup.analysis.agreement import Comparison
    from lineup.results import BackboneStatus, Classification
    from lineup.service import Service


def answer(answer: "Classification") -> list[str]:
    width = max(len(prediction.label) for prediction in answer.predictions)
    lines = [f"{prediction.label:<{width}}  {prediction.probability:7.2%}" for prediction in answer.predictions]
    height, across = answer.input_size
    ran = (
        f"{answer.backbone} · {across} × {height} px · {answer.engine} on {answer.device} · "
        f"{answer.milliseconds.total:.0f} ms · {answer.label_set} · weights: {answer.license or 'licence not stated'}"
    )
    return [*lines, "", ran, *(f"note: {note}" for note in answer.notes)]


def comparison(service: "Service", found: "Comparison") -> list[str]:
    said, notes = [], []
    rows: list[Sequence[str]] = [("backbone", "says", "probability", "forward", "parameters", "ImageNet top-1")]
    forms = {"probability": "{:.2%}", "last_ms": "{:.0f} ms", "parameters": "{:,}", "imagenet_top1": "{:.1f} %"}
    for row, (name, answer) in zip(service.rows(found.answers), found.answers.items(), strict=True):
        rows.append((name, row.label or "-", *(or_dash(getattr(row, key), form) for key, form in forms.items())))
        notes += [f"note: {name}: {row.facts_note}"] if row.facts_note else []
        if not isinstance(answer, LineupError):
            said.append(f"{name}: {', '.join(f'{each.label} {each.probability:.1%}' for each in answer.predictions)}")
            notes += [f"note: {name}: {note}" for note in answer.notes]
    notes += [f"left out: {reason}" for reason in found.left_out.values()]
    return [*aligned(rows, "llrrrr"), "", *said, "", found.agreement.sentence, *notes]


def table(found: "Sequence[BackboneStatus]") -> list[str]:
    rows = [("name", "source", "status", "classes", "parameters", "download", "licence")]
    for status in found:
        classes, parameters = or_dash(status.num_classes, "{:,}"), or_dash(status.parameters, "{:,}")
        download = or_dash((status.download_bytes or 0) / 1e6, "{:.1f} MB")
        licence = status.license or "-"
        rows.append((status.name, status.source, status.status, classes, parameters, download, licence))
    return aligned(rows, "lllrrrl")
