"""Panels of a long run: its progress, and why it ended early."""

from lineup.formatting import short_duration
from lineup.inference.jobs import JobStatus
from lineup.page.html import problem, status_box

_HINT = "It goes on if you close this page; this page's address leads back to it."


def progress(status: JobStatus, is_stopping: bool, items: str = "answers", hint: str = _HINT) -> str:
    """Render the progress of a job.

    Args:
        status: the job's.
        is_stopping: whether it is cancelled.
        items: what it computes.
        hint: what happens when the page is closed.
    """
    per_s = status.rate_per_s or 0
    rate = f"{per_s:.{per_s < 10:d}f} {items} per second" if per_s else "Loading the backbone …"
    left = f", about {short_duration(status.time_left_s)} left" if status.time_left_s else ""
    title = f"{status.done:,} of {status.total:,} {items}"
    if is_stopping:
        title, hint = f"Stopping after the current batch: {title}", ""
    return status_box("busy", title, rate + left, *[hint] * bool(hint), share=status.done / max(status.total, 1))


def ended(status: JobStatus, items: str = "answers", button: str = "Go on") -> str:
    """Render why a job ended before all items were done; empty if it did not. `button` resumes it."""
    answers = f"{status.done:,} of {status.total:,} {items} are there. {button} computes the others."
    if status.state == "failed":
        return problem("It ended early", status.problem) + status_box("notice", answers)
    titles = {"cancelled": "Stopped", "interrupted": "Interrupted: the server was restarted"}
    return status_box("notice", titles[status.state], answers) if status.state in titles else ""
