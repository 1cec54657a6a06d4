"""The command line's answers as lines of text: tables, and sentences under them."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lineup.errors import LineupError

if TYPE_CHECKING:
    from lineup.doctor import Check
    from lineup.results import BackboneStatus, Classification
    from lineup.service import Comparison, Service
    from lineup.space import Plan


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
    from lineup.standings import row

    said, notes = [], []
    rows: list[Sequence[str]] = [("backbone", "says", "probability", "forward", "parameters", "ImageNet top-1")]
    forms = {"probability": "{:.2%}", "last_ms": "{:.0f} ms", "parameters": "{:,}", "imagenet_top1": "{:.1f} %"}
    for name, answer in found.answers.items():
        told = row(service.pool.status(name), service.timing(name), answer)
        rows.append((name, told["label"] or "-", *(_or_dash(told[key], form) for key, form in forms.items())))
        notes += [f"note: {name}: {told['facts_note']}"] if told["facts_note"] else []
        if not isinstance(answer, LineupError):
            said.append(f"{name}: {', '.join(f'{each.label} {each.probability:.1%}' for each in answer.predictions)}")
            notes += [f"note: {name}: {note}" for note in answer.notes]
    notes += [f"left out: {reason}" for reason in found.left_out.values()]
    return [*_aligned(rows, "llrrrr"), "", *said, "", found.agreement.sentence, *notes]


def table(found: "Sequence[BackboneStatus]") -> list[str]:
    rows = [("name", "source", "status", "classes", "parameters", "download", "licence")]
    for status in found:
        classes, parameters = _or_dash(status.num_classes, "{:,}"), _or_dash(status.parameters, "{:,}")
        download = _or_dash((status.download_bytes or 0) / 1e6, "{:.1f} MB")
        licence = status.license or "-"
        rows.append((status.name, status.source, status.status, classes, parameters, download, licence))
    return _aligned(rows, "lllrrrl")


def push(plan: "Plan") -> list[str]:
    told = plan.to_json()
    rows = [
        (each["change"], each["path"], _or_dash((each["bytes"] or 0) / 1e3, "{:,.1f} kB")) for each in told["files"]
    ]
    sizes = [each["bytes"] or 0 for each in told["files"]]
    kinds = Counter(change for change in plan.changes.values())
    asked = [f"{key}: {told[key]}" for key in ("hardware", "private") if told[key]]
    asked += [f"variable {name}={value}" for name, value in told["variables"].items()]
    asked += [f"secret {name}" for name in told["secrets"]]
    counts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return [
        f"{plan.wish.url}: {plan.state}",
        *_aligned(rows, "llr"),
        f"{len(plan.files)} files, {sum(sizes) / 1e6:.1f} MB: {counts}",
        *asked,
        *(f"note: {note}" for note in plan.notes),
    ]


def check(found: "Check") -> str:
    """Return one check's line, aligned with those that come before and after it."""
    return f"{found.outcome:<7}  {found.name:<8}  {'; '.join(filter(None, (found.found, found.remedy)))}"


def _aligned(rows: Sequence[Sequence[str]], sides: str) -> list[str]:
    """Put cells under one another, each column to its side: l or r."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    align = {"l": str.ljust, "r": str.rjust}
    return [
        "  ".join(align[side](cell, width) for side, cell, width in zip(sides, row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _or_dash(value: float | None, form: str) -> str:
    return form.format(value) if value else "-"
