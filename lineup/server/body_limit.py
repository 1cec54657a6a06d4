"""Limits the size of a request's body, and the time to receive it."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import HTTPException

from lineup.server.allowlist import API

_log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]
SPARE_BYTES = 1 << 16  # allowed for the rest of a body, in addition to an image
BODY_TIMEOUT_S = 60.0  # to receive the whole body


class LimitedBody:
    """Wraps an ASGI `receive` and `send`: limits the body, and replaces Gradio's answer to a rejected one.

    Attributes:
        status: of the response, 0 before it has begun.
        answered: whether a response has begun.
        refused: status and detail of the rejection, or None.
        problem: the detail for a body that is too large.
    """

    def __init__(self, receive: Receive, send: Send, max_bytes: int) -> None:
        self._receive, self.raw_send, self._max_bytes = receive, send, max_bytes
        self._bytes, self._deadline, self.status = 0, time.monotonic() + BODY_TIMEOUT_S, 0
        self._complete = self.answered = False
        self.refused: tuple[int, str] | None = None
        self.problem = f"request: expected at most {max_bytes / 1e6:.1f} MB; got more; send a smaller image"

    async def receive(self) -> Message:
        """Return the next ASGI message of the body.

        Raises:
            HTTPException: 413 when the body is too large, 408 when it is not complete within BODY_TIMEOUT_S.
        """
        if self._complete:
            return await self._receive()  # a disconnect
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            self.refused = 408, f"request: expected its body within {BODY_TIMEOUT_S:g} s; got a part; try again"
            raise HTTPException(*self.refused) from None
        self._bytes += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._bytes > self._max_bytes:
            self.refused = 413, self.problem
            raise HTTPException(*self.refused)
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the response, or the rejection if the body was rejected meanwhile."""
        self.status = message.get("status", self.status)
        if (
            message.get("status") == 500 and not self.answered
        ):  # raised by Gradio's or MCP's parsers; our errors are caught earlier
            _log.warning("rejected: a body that cannot be parsed")
            self.refused = self.refused or (400, f"request: expected JSON; got something else; see {API}info")
        if self.refused and not self.answered:
            self.answered = True
            await answer(self.raw_send, *self.refused)
        elif not self.refused:
            self.answered = True
            await self.raw_send(message)


def content_length(scope: Message, name: bytes) -> str:
    """Return the value of a header that is a number, or an empty string."""
    value = next((value for key, value in scope["headers"] if key == name), b"").decode("latin-1")
    return value if value.isdecimal() else ""


async def answer(send: Send, status: int, detail: str, retry_after_s: int = 0) -> None:
    """Send a JSON response ``{"detail": …}``, with a Retry-After header unless that is 0."""
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if retry_after_s:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
