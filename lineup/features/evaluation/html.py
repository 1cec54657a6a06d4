"""Renders reports as HTML: for the page, and as a file of its own."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lineup.analysis.evaluation import EvaluatedBackbone, Report
from lineup.analysis.verdict_text import percent
from lineup.features.evaluation.run import KEEP_DAYS
from lineup.images.image_set import ImageSet
from lineup.page.folder_uploads import KEEP_S
from lineup.page.html import status_box
from lineup.page.templates import renderer

_FOLDER = Path(__file__).parent
START = "Evaluate"
render = renderer(_FOLDER / "templates")


def header() -> str:
    """Render the title, and the link to the first page."""
    return render("evaluate.html")


def link() -> str:
    """Render the link from the first page."""
    return render("link.html")


def kept(is_on_zerogpu: bool) -> str:
    """Return a sentence on what the server keeps, and how long."""
    days = f"{round(24 * KEEP_DAYS)} hours after their last answer"
    text = f"Images are deleted after {KEEP_S // 3600} hours, or if you evaluate them, {days}."
    return f"{text} This Space's disk is not kept when it restarts: download the results." if is_on_zerogpu else text


def start(images: ImageSet, names: Sequence[str], state: str = "") -> str:
    """Return the text of the button that begins; `state` is that of the evaluation of these backbones, if any."""
    if state:
        return "Select another backbone to add it" if state == "done" else "Go on"
    n = len(images.images)
    if not names:
        return "Select a backbone above"
    return f"Evaluate {n:,} image{'s' * (n != 1)} with {len(names)} backbone{'s' * (len(names) != 1)}"


def deleted() -> str:
    """Render that an evaluation was deleted, and what is kept of it."""
    kept = "What backbones computed stays in a cache, by a hash of each image's bytes, without names or labels."
    return status_box("idle", "Deleted", "The images and the report are no longer on this server.", kept)


def downloads(evaluation: str, report: Report, n_differing: int, repeat: str, config_lines: str) -> str:
    """Render the links to the files, the command that repeats the evaluation, and the lines for the config."""
    values = {"evaluation": evaluation, "report": report, "n_differing": n_differing}
    return render(
        "downloads.html", repeat=repeat, config_lines=config_lines, keep_hours=round(24 * KEEP_DAYS), **values
    )


def verdict(report: Report) -> str:
    """Render the verdict, the figures of each backbone, and the notes."""
    return render("verdict.html", **_values(report))


def document(report: Report, repeat: str, config_lines: str) -> str:
    """Render the report as a file that needs no server.

    Args:
        report: the report.
        repeat: the command that repeats the evaluation.
        config_lines: the entry of the recommended backbone; may be empty.
    """
    counts = Counter(image.label for image in report.images.images)
    return render("report.html", repeat=repeat, config_lines=config_lines, counts=counts, **_values(report))


def _values(report: Report) -> dict[str, Any]:
    return {"report": report, "rows": rows(report), "n_differing": report.n_differing}


def rows(report: Report) -> list[dict[str, Any]]:
    """Return the cells of the table of backbones, in the order of the ranking."""
    ranking = list(report.verdict.ranking)
    order = sorted(
        report.backbones, key=lambda each: ranking.index(each.name) if each.name in ranking else len(ranking)
    )
    return [_row(report, backbone) for backbone in order]


def _row(report: Report, backbone: EvaluatedBackbone) -> dict[str, Any]:
    top1, cost = backbone.accuracy(report.scoring), backbone.cost
    n = top1.images
    interval = f"{_percent(top1.accuracy, n)}, {percent(top1.low, n)} to {percent(top1.high, n)}" if n else "–"
    return {
        "backbone": backbone.name,
        "right": f"{top1.right:,} of {n:,}",
        "accuracy": interval,
        "share": top1.accuracy,
        "low": top1.low if n else None,
        "high": top1.high,
        "top5": _percent(backbone.accuracy(report.scoring, 5).accuracy, n),
        "anywhere": _percent(backbone.accuracy("anywhere").accuracy, n),
        "ms": "–" if cost.forward_ms is None else f"{cost.forward_ms:.1f}",
        "mb": "–" if cost.size_mb is None else f"{cost.size_mb:.1f}",
    }


def _percent(accuracy: float | None, n_images: int) -> str:
    return "–" if accuracy is None else f"{percent(accuracy, n_images)}%"
