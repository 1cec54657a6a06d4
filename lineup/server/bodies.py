"""A request's body, with limits on its size, on pauses, and on its average rate."""

import asyncio
import time

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from lineup.errors import LineupError
from lineup.page.clients import client_of
from lineup.server.responses import detail

PAUSE_S = 30.0  # the longest time without a byte
MIN_BYTES_PER_S = 8000  # the least average rate, as of an old mobile network
GRACE_S = 30.0  # how long no rate is required
SLOW_AFTER_S = 2.0  # a body that takes longer is slow, and occupies no queue slot meanwhile


class LimitedBody:
    """An ASGI `receive` and `send`: limits the body, and replaces the app's answer to a rejected one.

    Args:
        receive: the connection's, as `send`.
        send: see above.
        scope: the request.
        max_bytes: the largest body.
        too_large: the error for a larger one.
    """

    def __init__(
        self, receive: Receive, send: Send, scope: Scope, max_bytes: int, too_large: str | LineupError
    ) -> None:
        self._receive, self._send, self._scope = receive, send, scope
        self._max_bytes, self._too_large = max_bytes, too_large
        self._began_at, self._waited_s, self._n_bytes = time.monotonic(), 0.0, 0
        self._timeout: asyncio.Timeout | None = None
        self._problem: str | LineupError = ""
        self._retry_after_s = 0
        self.complete = self.answered = False
        self.rejection: HTTPException | None = None

    @property
    def kind(self) -> str:
        """The kind of clients that the request is from."""
        return client_of(self._scope).kind

    @property
    def is_slow(self) -> bool:
        """Whether the body is being received, and has been for more than SLOW_AFTER_S."""
        return not self.complete and self.rejection is None and self._age_s > SLOW_AFTER_S

    @property
    def bytes_per_s(self) -> float:
        """The average rate so far."""
        return self._n_bytes / max(self._age_s, 1e-3)

    @property
    def _age_s(self) -> float:
        return time.monotonic() - self._began_at

    async def receive(self) -> Message:
        """Return the next ASGI message of the body.

        Raises:
            HTTPException: 413 when the body is too large, 408 when it is too slow, 503 when it was stopped.
        """
        if self.complete:
            return await self._receive()  # a disconnect
        if self.rejection:
            raise self.rejection
        # only time spent waiting for the client counts, not that in which the app handled what it sent
        left_s, began_at = max(GRACE_S, self._n_bytes / MIN_BYTES_PER_S) - self._waited_s, time.monotonic()
        try:
            async with asyncio.timeout(min(PAUSE_S, left_s)) as self._timeout:
                message = await self._receive()
        except TimeoutError:
            got = f"{self._n_bytes / 1e6:.1f} MB, and then too little"
            expected = f"at least {MIN_BYTES_PER_S // 1000} kB/s, without pauses of {PAUSE_S:g} s"
            raise self._reject(408, LineupError("request", expected, f"got {got}", "try again")) from None
        finally:
            self._timeout = None
            self._waited_s += time.monotonic() - began_at
        self._n_bytes += len(message.get("body", b""))
        if self._n_bytes > self._max_bytes:
            raise self._reject(413, self._too_large)
        self.complete = not message.get("more_body", False)
        return message

    def stop(self, problem: LineupError, retry_after_s: int) -> None:
        """Reject the rest of the body with 503, at once."""
        self._retry_after_s = retry_after_s
        self._reject(503, problem)
        if self._timeout:
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def _reject(self, status: int, problem: str | LineupError) -> HTTPException:
        if self.rejection is None:  # the first one counts
            self.rejection, self._problem = HTTPException(status, str(problem)), problem
        return self.rejection

    async def send(self, message: Message) -> None:
        """Send a message of the response, or the rejection if the body was rejected meanwhile."""
        if message.get("status") == 413 and not self.answered:
            self._reject(413, self._too_large)  # Gradio's, for a file that is larger than its body's limit implies
        if self.rejection is None:
            self.answered = True
            await self._send(message)
        elif not self.answered:
            await self.answer()

    async def answer(self) -> None:
        """Send the rejection."""
        assert self.rejection is not None
        self.answered = True
        response = detail(self.rejection.status_code, self._problem, self._retry_after_s)
        await response(self._scope, self._receive, self._send)
