"""Which Lineups a request has passed through: one that asks itself, directly or through others, would never end.

Each process has an id of its own. A request to another Lineup has the ids of those that it comes from.
"""

import re
import secrets
from contextvars import ContextVar

HEADER = "Lineup-Via"
ID = secrets.token_hex(8)
MAX_IDS = 8  # Lineups in a row: each has its own delays

_passed: ContextVar[tuple[str, ...]] = ContextVar("via", default=())


def enter(text: str) -> None:
    """Note, for what the current request asks others, the ids of the header that it came with."""
    _passed.set(tuple(_ids(text)))


def is_loop(text: str) -> bool:
    """Tell whether a request with this header has been here before, or has passed through too many Lineups."""
    ids = _ids(text)
    return ID in ids or len(ids) >= MAX_IDS


def header() -> str:
    """Return the header for a request to another Lineup."""
    return ", ".join((*_passed.get(), ID))


def _ids(text: str) -> list[str]:
    return re.findall(r"[^\s,]+", text[:1000])[: MAX_IDS + 1]
