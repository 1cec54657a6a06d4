"""The owner's sessions: a token in the environment opens them, and they live in the memory of this process."""

import hashlib
import hmac
import logging
import math
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

VARIABLE = "LINEUP_OWNER_TOKEN"
MIN_TOKEN_CHARS = 16
SESSION_S = 12 * 3600
MAX_SESSIONS = 32  # the oldest one ends
WINDOW_S = 300  # in which failed attempts are counted
MAX_FAILURES = 5  # of one address
MAX_FAILURES_IN_ALL = 50
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """Why a sign-in was refused.

    Attributes:
        text: a sentence for the page.
        retry_after_s: when the next attempt is allowed; 0 at once.
    """

    text: str
    retry_after_s: int = 0


class OwnerSession:
    """Signs the owner in. Thread-safe.

    A session has an id of 256 random bits, of which only the hash is kept: until it ends, SESSION_S after it began, or
    the process ends. Refused attempts do not end sessions.

    Args:
        token: the secret.
        clock: seconds that never go back.
    """

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._token, self._clock, self._lock = _digest(token), clock, threading.Lock()
        self._ends: dict[bytes, float] = {}  # by the hash of the id, the oldest first
        self._failures = deque[tuple[float, str]]()  # when, and the client's address

    def login(self, candidate: str, client: str) -> str | Refusal:
        """Return the id of a new session, or why there is none.

        Args:
            candidate: what should be the token.
            client: whose attempts are counted, as `Proxies.address_of` returns it.
        """
        with self._lock:  # attempts at the same time are counted one by one
            if wait_s := self._wait_s(client):
                return Refusal(f"there were too many attempts; try again in {wait_s} s", wait_s)
            if not hmac.compare_digest(_digest(candidate), self._token):
                self._failures.append((self._clock(), client))
                _log.warning("a sign-in at /owner was refused: %d in %d s", len(self._failures), WINDOW_S)
                return Refusal(f"that is not the value of {VARIABLE}; copy it from where you set it")
            self._failures = deque(each for each in self._failures if each[1] != client)
            session = secrets.token_urlsafe(32)
            self._ends[_digest(session)] = self._clock() + SESSION_S
            while len(self._ends) > MAX_SESSIONS:
                del self._ends[next(iter(self._ends))]
        return session

    def is_signed_in(self, session: str) -> bool:
        """Return whether an id is that of a session which has not ended."""
        with self._lock:
            return self._ends.get(_digest(session), -math.inf) > self._clock()

    def logout(self, session: str) -> None:
        """End a session, if there is one of this id."""
        with self._lock:
            self._ends.pop(_digest(session), None)

    def _wait_s(self, client: str) -> int:
        """Return in how many seconds a client may try again: 0 for now."""
        now = self._clock()
        while self._failures and self._failures[0][0] <= now - WINDOW_S:
            self._failures.popleft()
        own = [at for at, each in self._failures if each == client]
        limited = ((own, MAX_FAILURES), ([at for at, _ in self._failures], MAX_FAILURES_IN_ALL))
        full = [times[-limit] for times, limit in limited if len(times) >= limit]
        return math.ceil(max(full) + WINDOW_S - now) if full else 0


def from_environment(environment: Mapping[str, str] = os.environ) -> OwnerSession | None:
    """Return the sessions for the token of the environment; None without one, and with one that is too short."""
    token = environment.get(VARIABLE, "").strip()  # a secret that was pasted may end in a line break
    if token and len(token) < MIN_TOKEN_CHARS:
        _log.error(
            "%s: expected at least %d characters; got fewer; the pages at /owner stay off: set a longer one, "
            'such as the output of python -c "import secrets; print(secrets.token_urlsafe())"',
            VARIABLE,
            MIN_TOKEN_CHARS,
        )
        return None
    return OwnerSession(token) if token else None


def _digest(text: str) -> bytes:
    """Return the hash of a text: all hashes have the same length, and `compare_digest` shows that of its arguments."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
