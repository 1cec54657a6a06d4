"""Whose turn it is: one answer is computed at a time, for those who listen for it.

An idle server begins at once, before the asker listens; whoever stands in line is called only while he does.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from lineup.errors import BusyError, ClientDisconnected

WORK = "work"  # the kind of Gradio's events that compute
DISCONNECT_GRACE_S = 1.0  # who stops listening for less has not gone
NEVER_CONNECTED_S = 5.0  # who asked, and has not begun to listen for so long, never will
_REMEMBERED = 2000  # visitors who left; the oldest are forgotten
_LOOK_S = 0.25  # how often somebody in line is asked whether he is still there


class Client(Protocol):
    """Somebody who waits for an answer."""

    def listening(self) -> bool: ...

    def gone(self) -> bool: ...


class LocalClient:
    """Somebody who stays until he has his answer: the command line, a test."""

    def listening(self) -> bool:
        return True

    def gone(self) -> bool:
        return False


@dataclass(frozen=True)
class Session:
    """Somebody who asked over HTTP, and listens for the answer on another connection."""

    presence: "Connections"
    name: str
    asked_at: float = field(default_factory=time.monotonic)

    def listening(self) -> bool:
        return self.presence.listens(self.name)

    def gone(self) -> bool:
        if self.listening():
            return False
        left_at, now = self.presence.left_at(self.name), time.monotonic()
        return (
            now - left_at > DISCONNECT_GRACE_S if left_at > self.asked_at else now - self.asked_at > NEVER_CONNECTED_S
        )


@dataclass(frozen=True)
class CancellableClient:
    """A visitor who may stay, and want something else meanwhile."""

    visitor: Client
    has_changed: Callable[[], bool]

    def listening(self) -> bool:
        return self.visitor.listening() and not self.has_changed()

    def gone(self) -> bool:
        return self.has_changed() or self.visitor.gone()


class Connections:
    """Who listens, and who has stopped; by the name of the session."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._left_at: dict[str, float] = {}

    def came(self, name: str) -> None:
        """Note that somebody began to listen."""
        self._open[name] += 1

    def left(self, name: str) -> None:
        """Note that a connection on which somebody listened has ended."""
        self._open[name] -= 1
        if self._open[name] <= 0:
            del self._open[name]
            self._left_at.pop(name, None)
            self._left_at[name] = time.monotonic()
            if len(self._left_at) > _REMEMBERED:
                del self._left_at[next(iter(self._left_at))]

    def listens(self, name: str) -> bool:
        return name in self._open

    def left_at(self, name: str) -> float:
        """Return when somebody stopped listening, or 0."""
        return self._left_at.get(name, 0.0)


@dataclass(eq=False)
class _Place:
    visitor: Client
    called: threading.Event = field(default_factory=threading.Event)


class ComputeQueue:
    """Gives out turns one after the other; methods may be called from any thread.

    Args:
        most: how many may be here at once, the one whose turn it is included.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._line: list[_Place] = []
        self._taken = False
        self.mean_s = 0.1  # that a turn took lately

    def __len__(self) -> int:
        """Return how many are here: in line, or at their turn."""
        return len(self._line) + self._taken

    @contextmanager
    def taken(self, visitor: Client) -> Iterator[None]:
        """Wait for a turn, and keep it while the block runs.

        Raises:
            BusyError: when too many are here.
            ClientDisconnected: when the visitor leaves before it is his turn.
        """
        self._wait(self._stand(visitor))
        started = time.monotonic()
        try:
            yield
        finally:
            self.mean_s += 0.1 * (time.monotonic() - started - self.mean_s)
            with self._lock:
                self._call_next()

    def _stand(self, visitor: Client) -> _Place:
        place = _Place(visitor)
        with self._lock:
            if not self._taken:
                self._taken = True
                place.called.set()
            elif (waiting := 1 + sum(place.visitor.listening() for place in self._line)) >= self._most:
                raise BusyError("busy", "", f"{waiting} visitors are waiting already", "try again in some seconds")
            else:
                self._line.append(place)
        return place

    def _wait(self, place: _Place) -> None:
        while not place.called.wait(_LOOK_S):
            if place.visitor.gone():
                with self._lock:
                    if not place.called.is_set():
                        self._line.remove(place)
                        raise ClientDisconnected
        if place.visitor.gone():
            with self._lock:
                self._call_next()
            raise ClientDisconnected

    def look(self) -> None:
        """Call somebody who stands in line and has just begun to listen, if nobody has the turn."""
        with self._lock:
            if not self._taken:
                self._call_next()

    def _call_next(self) -> None:
        """Call whoever listens and has waited longest."""
        chosen = next((place for place in self._line if place.visitor.listening()), None)
        self._taken = chosen is not None
        if chosen:
            self._line.remove(chosen)
            chosen.called.set()
