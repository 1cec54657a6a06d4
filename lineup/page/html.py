"""HTML fragments shared by cards and status lines."""

import base64
from html import escape

from lineup.errors import LineupError
from lineup.formatting import size
from lineup.results import BackboneStatus

PULSE = '<div class="lu-pulse"></div>'


def stage(status: BackboneStatus) -> str:
    """Return the stage of a load in a few words, with bytes while downloading."""
    if status.status != "loading" or status.progress is None:
        return "queued"
    done, total = status.progress.done_bytes, status.progress.total_bytes
    return status.progress.stage + (f" {size(done)} of {size(total)}" if total else " …")


def loading(status: BackboneStatus) -> str:
    """Render the progress of a load, with a progress bar while downloading."""
    progress, bar = status.progress, PULSE
    if progress and progress.total_bytes:
        bar = track(progress.done_bytes / progress.total_bytes)
    return status_box("busy", f"Loading {escape(status.name)}: {escape(stage(status))}", bar)


def track(share: float) -> str:
    """Render a progress bar at a share from 0 to 1."""
    return (
        f'<div class="lu-track" role="progressbar" aria-valuenow="{min(share, 1) * 100:.0f}">'
        f'<div class="lu-fill" style="width:{min(share, 1):.1%}"></div></div>'
    )


def classifying(name: str) -> str:
    """Render that a backbone is running."""
    return status_box("busy", f"{escape(name)} is classifying the image …", PULSE)


def checking() -> str:
    """Render that the probe of the backbones is still running."""
    return status_box("busy", "Checking which backbones are available …", PULSE)


def invitation(status: BackboneStatus) -> str:
    """Render the placeholder shown until there is an image."""
    return status_box("idle", f"{escape(status.name)} is ready", "<p>Drop, paste or take an image to classify it.</p>")


def problem(title: str, reason: LineupError | str) -> str:
    """Render an error: its title, its cause and its remedy."""
    return status_box("problem", escape(title), render_reason(reason))


def render_reason(reason: LineupError | str) -> str:
    """Render an error's cause and remedy, and below it the detail for the operator: where, and what was expected."""
    if isinstance(reason, str) or not (reason.got and (reason.expected or reason.remedy)):
        return f"<p>{escape(str(reason))}</p>"
    text = f"{reason.got}; {reason.remedy}" if reason.remedy else reason.got
    expected = ": ".join(filter(None, (reason.where, reason.expected and f"expected {reason.expected}")))
    if "." not in text.split(" ")[0]:  # do not capitalize a host or file name
        text = text[:1].upper() + text[1:]
    return f'<p>{escape(text)}.</p><p class="lu-detail">{escape(expected)}</p>'


def status_box(kind: str, title: str, body: str) -> str:
    """Render a panel; `title` and `body` are HTML."""
    role = "alert" if kind == "problem" else "status"
    return f'<div class="lu-panel lu-{kind}" role="{role}"><strong>{title}</strong>{body}</div>'


def data_uri(jpeg: bytes) -> str:
    # inline, since a file per answer would fill the disk
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
