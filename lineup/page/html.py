"""Panels of the status line and the notice, as HTML: progress, errors and placeholders."""

from collections.abc import Iterable, Sequence

from lineup.errors import LineupError
from lineup.formatting import size
from lineup.page.templates import render
from lineup.results import BackboneStatus


def status_box(kind: str, title: str, *reasons: LineupError | str, share: float | None = None) -> str:
    """Render a panel.

    Args:
        kind: busy, idle, notice or problem.
        title: its first line.
        reasons: the paragraphs below: text, or an error's cause and remedy.
        share: the share that is done, from 0 to 1, as a progress bar; busy panels without one are animated.
    """
    return render("panel.html", kind=kind, title=title, reasons=reasons, share=share)


def stage(status: BackboneStatus) -> str:
    """Return the stage of a load in a few words, with bytes while downloading."""
    if status.status != "loading" or status.progress is None:
        return "queued"
    done, total = status.progress.done_bytes, status.progress.total_bytes
    return status.progress.stage + (f" {size(done)} of {size(total)}" if total else " …")


def loading(status: BackboneStatus) -> str:
    """Render the progress of a load, with a progress bar while downloading."""
    progress = status.progress
    share = min(progress.done_bytes / progress.total_bytes, 1) if progress and progress.total_bytes else None
    return status_box("busy", f"Loading {status.name}: {stage(status)}", share=share)


def classifying(name: str) -> str:
    """Render that a backbone is running."""
    return status_box("busy", f"{name} is classifying the image …")


def pending_panel(pending: Sequence[BackboneStatus]) -> str:
    """Render the progress of the backbones that have not answered yet."""
    if len(pending) > 1:
        running = next((status.name for status in pending if status.status == "ready"), "")  # they run one at a time
        stages = [f"{status.name}: {'classifying' if status.name == running else stage(status)}" for status in pending]
        return status_box("busy", f"{len(pending)} backbones pending", ", ".join(stages))
    return "".join(loading(status) if status.status == "loading" else classifying(status.name) for status in pending)


def checking() -> str:
    """Render that the probe of the backbones is still running."""
    return status_box("busy", "Checking which backbones are available …")


def without_image(status: BackboneStatus) -> str:
    """Return the panel of a selected backbone before there is an image: its problem, its progress, or an invitation."""
    if status.status == "unavailable":
        return problem(f"{status.name} cannot run now", status.problem or "")
    return loading(status) if status.status == "loading" else invitation(status)


def invitation(status: BackboneStatus) -> str:
    """Render the placeholder shown until there is an image."""
    title = f"{status.name} is ready" if status.status == "ready" else f"{status.name} loads on first use"
    return status_box("idle", title, "Drop, paste or take an image to classify it.")


def problem(title: str, reason: LineupError | str) -> str:
    """Render an error: its title, its cause and its remedy."""
    return status_box("problem", title, reason)


def fallback(default: BackboneStatus, selected: str) -> str:
    """Render the notice that the page opened with a backbone other than the config's default."""
    title = "No backbone of this line-up can run now"
    if default.name != selected:
        title = f"{default.name} cannot run now, so {selected} is selected"
    return status_box("notice", title, default.problem or "")


def wrong_link(problems: Iterable[str]) -> str:
    """Render which parts of the link are invalid."""
    return status_box("notice", "This link does not fit this page", f"{'; '.join(problems)}.")
