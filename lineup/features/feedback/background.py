"""What feedback does beside the page: it deletes what is old, and exchanges with the Hub."""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from lineup.errors import LineupError
from lineup.features.feedback import feature
from lineup.features.feedback.feature import FeedbackParts

if TYPE_CHECKING:
    from lineup.service import Service

_log = logging.getLogger(__name__)

EVERY_S = 3600.0
PULL_EVERY = 24  # times of these; the owner's page pulls, too
PULL_TIMEOUT_S = 60.0
JOIN_S = 1.0


@contextmanager
def running(service: "Service") -> Iterator[None]:
    """Care for a service's feedback inside the block; at its end, what was not pushed yet is."""
    if not feature.is_on(service):
        yield
        return
    parts, stop = feature.of(service), threading.Event()
    thread = threading.Thread(target=_care, args=(parts, stop), name="feedback", daemon=True)
    with ExitStack() as stack:
        if parts.hub_copy:
            stack.enter_context(parts.hub_copy.running())
        thread.start()
        try:
            yield
        finally:
            stop.set()
    thread.join(JOIN_S)  # a pull ends when the copy is stopped


def warnings(service: "Service") -> list[str]:
    """Return why feedback cannot be pushed, if so."""
    if not feature.is_on(service) or not (hub_copy := feature.of(service).hub_copy):
        return []
    return [hub_copy.problem] if hub_copy.problem else []


def _care(parts: FeedbackParts, stop: threading.Event) -> None:
    """Delete what is old, every hour; what lies on the Hub must be here for that, and a Space's disk is not kept."""
    n_hours = 0
    while not stop.is_set():
        if parts.hub_copy and n_hours % PULL_EVERY == 0:
            parts.hub_copy.pull(PULL_TIMEOUT_S)
        try:
            if n_old := parts.review.delete_old():
                _log.info("feedback: %d images were deleted, because they were not reviewed in time", n_old)
        except LineupError as error:
            _log.warning("feedback: what is old cannot be deleted: %s", error)
        except Exception:
            _log.exception("feedback: what is old cannot be deleted")
        n_hours += 1
        stop.wait(EVERY_S)
