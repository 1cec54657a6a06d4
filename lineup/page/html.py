"""Renders the parts that cards and status lines share."""

import base64
from html import escape

from lineup.errors import LineupError
from lineup.formatting import size
from lineup.results import BackboneStatus

PULSE = '<div class="lu-pulse"></div>'


def stage(status: BackboneStatus) -> str:
    """Say in a few words what a backbone is doing."""
    if status.status != "loading" or status.progress is None:
        return "is waiting its turn"
    done, total = status.progress.done_bytes, status.progress.total_bytes
    return status.progress.stage + (f" {size(done)} of {size(total)}" if total else " …")


def waiting(status: BackboneStatus) -> str:
    """Render how far a load has come, with a bar while bytes arrive."""
    progress, bar = status.progress, PULSE
    if progress and progress.total_bytes:
        bar = track(progress.done_bytes / progress.total_bytes)
    return panel("busy", f"{escape(status.name)} is getting ready: {escape(stage(status))}", bar)


def track(share: float) -> str:
    return (
        f'<div class="lu-track" role="progressbar" aria-valuenow="{min(share, 1) * 100:.0f}">'
        f'<div class="lu-fill" style="width:{min(share, 1):.1%}"></div></div>'
    )


def thinking(name: str) -> str:
    """Render that an answer is being computed."""
    return panel("busy", f"{escape(name)} is looking at your image …", PULSE)


def checking() -> str:
    """Render that it is not known yet which backbones can be had."""
    return panel("busy", "Checking which backbones are available …", PULSE)


def invitation(status: BackboneStatus) -> str:
    """Render what stands where the answer will be, while there is no image."""
    return panel("idle", f"{escape(status.name)} is ready", "<p>Drop, paste or take an image to see what it says.</p>")


def problem(title: str, reason: LineupError | str) -> str:
    """Render why there is no answer, and what to do."""
    return panel("problem", escape(title), render_reason(reason))


def render_reason(reason: LineupError | str) -> str:
    """Show what came and what to do first; where, and what was expected, is for the owner."""
    if isinstance(reason, str) or not (reason.got and (reason.expected or reason.remedy)):
        return f"<p>{escape(str(reason))}</p>"
    told = f"{reason.got}; {reason.remedy}" if reason.remedy else reason.got
    expected = ": ".join(filter(None, (reason.where, reason.expected and f"expected {reason.expected}")))
    if "." not in told.split(" ")[0]:  # an address stays as it is
        told = told[:1].upper() + told[1:]
    return f'<p>{escape(told)}.</p><p class="lu-detail">{escape(expected)}</p>'


def panel(kind: str, title: str, body: str) -> str:
    role = "alert" if kind == "problem" else "status"
    return f'<div class="lu-panel lu-{kind}" role="{role}"><strong>{title}</strong>{body}</div>'


def data_uri(jpeg: bytes) -> str:
    # in the page itself: a file per answer would fill the disk
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
