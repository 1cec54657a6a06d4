"""Formats a report as lines of text."""

from lineup.analysis.evaluation import Accuracy, Report
from lineup.analysis.verdict_text import percent
from lineup.formatting import aligned, or_dash


def report(report: Report) -> list[str]:
    """Return a report as a table, the verdict and notes."""
    rows = [("backbone", "top-1", "95% interval", "top-5", "any class", "forward", "weights")]
    for backbone in report.backbones:
        top1 = backbone.accuracy(report.scoring)
        n = top1.images
        interval = f"{percent(top1.low, n)} to {percent(top1.high, n)}%" if n else "-"
        top5, anywhere = _share(backbone.accuracy(report.scoring, 5)), _share(backbone.accuracy("anywhere"))
        cells = (f"{top1.right} of {n}" if n else "-", interval, top5, anywhere)
        costs = or_dash(backbone.cost.forward_ms, "{:.1f} ms"), or_dash(backbone.cost.size_mb, "{:.1f} MB")
        rows.append((backbone.name, *cells, *costs))
    means = [
        f"{match.label}: {', '.join(match.meaning_names)} ({classes} class{'es' * (classes != 1)})"
        for match in report.matches
        if match.meaning and (classes := max(map(len, match.classes.values()), default=0))
    ]
    n_images, n_differing = len(report.images.images), report.n_differing
    agreement = f"The backbones give different answers on {n_differing:,} of {n_images:,} images."
    return [
        *aligned(rows, "lrrrrrr"),
        "",
        report.verdict.sentence if report.is_labelled else agreement,
        "",
        *(f"note: {note}" for note in report.notes),
        *(f"label {mean}" for mean in means),
    ]


def _share(accuracy: Accuracy) -> str:
    return "-" if accuracy.accuracy is None else f"{percent(accuracy.accuracy, accuracy.images)}%"
