"""Gradio's sessions that have events whose answers were not delivered."""

import time

import gradio as gr

from lineup.page.connections import Connections

SESSION_MAX_AGE_S = 3600.0  # how long after its last use a session is removed


class Sessions:
    """Finds the session of an event, and removes sessions that Gradio would keep for ever.

    Methods are called on the event loop, on which Gradio adds and reads sessions.

    `pending_event_ids_session` is private. There is no public name for whose stream an event belongs to; and Gradio
    removes a session from it only when its client disconnects, not when its last answer was delivered.

    Args:
        blocks: the page.
        connections: the open connections of each session.
    """

    def __init__(self, blocks: gr.Blocks, connections: Connections) -> None:
        self._blocks, self._connections = blocks, connections
        self._last_used: dict[str, tuple[frozenset[str], float]] = {}  # with the events that were pending then

    @property
    def _pending(self) -> dict[str, set[str]]:
        return self._blocks._queue.pending_event_ids_session

    def of_event(self, event: str) -> str | None:
        """Return the session of an event, or None if the event is unknown or its answer was delivered."""
        session = next((session for session, events in self._pending.items() if event in events), None)
        if session:
            self.use(session)
        return session

    def use(self, session: str) -> None:
        """Note that a client uses a session now."""
        if session in self._pending:
            self._last_used[session] = frozenset(self._pending[session]), time.monotonic()

    def remove_idle(self) -> None:
        """Remove the sessions whose last use was more than SESSION_MAX_AGE_S ago.

        One is in use while it has a connection or a request. An event that was not there at the last call is a use,
        too: Gradio has added it, and its response may still be on the way.
        """
        now, active, pending = time.monotonic(), self._connections.sessions(), dict(self._pending)
        last_used, self._last_used = self._last_used, {}
        for session, events in pending.items():
            known, used_at = last_used.get(session, (frozenset(), now))
            if session in active or not known >= events:
                used_at = now
            if now - used_at > SESSION_MAX_AGE_S:
                del self._pending[session]
            else:
                self._last_used[session] = frozenset(events), used_at
