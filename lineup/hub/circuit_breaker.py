"""A circuit breaker per server: after a timeout, requests fail at once for a while."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lineup.errors import UnreachableError
from lineup.hub.files import Weights

BACK_OFF_S = 60.0


class CircuitBreaker:
    """Remembers which servers did not respond, so that a dead one costs one timeout and not one per entry."""

    def __init__(self) -> None:
        self._open_until: dict[str, float] = {}  # by server

    @contextmanager
    def guard(self, file: Weights, force: bool = False) -> Iterator[None]:
        """Run a block that requests a file.

        Args:
            file: the file; one that is cached needs no server.
            force: send the request although the circuit is open.

        Raises:
            UnreachableError: when the circuit is open, or the block raises it, which opens the circuit.
        """
        from lineup.hub import downloads  # a slow import, of the Hub's client

        is_cached = downloads.cached(file) is not None
        with self.guard_server(downloads.server(file), str(file), force, is_cached):
            yield

    @contextmanager
    def guard_server(
        self, server: str, where: str = "", force: bool = False, is_cached: bool = False
    ) -> Iterator[None]:
        """Run a block that sends a request to a server; see `guard`."""
        if time.monotonic() < self._open_until.get(server, 0) and not force and not is_cached:
            raise UnreachableError(
                where, f"a response from {server}", "it did not respond a moment ago", "try again later"
            )
        try:
            yield
        except UnreachableError:
            self._open_until[server] = time.monotonic() + BACK_OFF_S
            raise
        if not is_cached:  # the server has responded: the circuit closes
            self._open_until.pop(server, None)
