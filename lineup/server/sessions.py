"""Gradio's sessions that have events whose answers were not delivered."""

import gradio as gr

from lineup.page.connections import Connections


class Sessions:
    """Finds the session of an event, and removes sessions that Gradio would keep for ever.

    `pending_event_ids_session` is private. There is no public name for whose stream an event belongs to; and Gradio
    removes a session from it only when its client disconnects, not when its last answer was delivered.

    Args:
        blocks: the page.
        connections: the open connections of each session.
    """

    def __init__(self, blocks: gr.Blocks, connections: Connections) -> None:
        self._blocks, self._connections, self._idle = blocks, connections, set[str]()

    @property
    def _pending(self) -> dict[str, set[str]]:
        return self._blocks._queue.pending_event_ids_session

    def of_event(self, event: str) -> str | None:
        """Return the session of an event, or None if the event is unknown or its answer was delivered."""
        return next((session for session, events in list(self._pending.items()) if event in events), None)

    def remove_idle(self) -> None:
        """Remove the sessions that have had neither a connection nor a request, at this call and at the last one."""
        idle = set(self._pending) - self._connections.sessions()
        for session in idle & self._idle:
            self._pending.pop(session, None)
        self._idle = idle
