"""The keys of which a request needs one."""

import hashlib
import hmac
import logging

from starlette.datastructures import Headers

_log = logging.getLogger(__name__)

KEYS = "LINEUP_API_KEYS"  # the environment variable


class Keys:
    """The keys of which a request needs one; as hashes, which are compared in a time that says nothing of them.

    Args:
        text: the keys, separated by commas. None are needed if it is empty; where it has only commas, none is right.
    """

    def __init__(self, text: str) -> None:
        self._hashes = [_hash(key.strip().encode()) for key in text.split(",") if key.strip()]
        self._are_needed = bool(text.strip())
        if self._are_needed and not self._hashes:
            _log.error("%s: expected keys separated by commas; got none; every request below /v1 is refused", KEYS)

    def __bool__(self) -> bool:
        return self._are_needed

    def number_of(self, headers: Headers) -> int | None:
        """Return which key a request has, or None; all are compared, whichever it is."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        hashed = _hash(given.strip().encode("latin-1"))  # as Starlette decodes headers
        matches = [hmac.compare_digest(hashed, known) for known in self._hashes]
        return matches.index(True) if scheme.lower() == "bearer" and any(matches) else None


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
