"""Bounds a request's body in bytes and time."""

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
SPARE_BYTES = 1 << 16  # of a body, beside the image that it may hold
BODY_TIMEOUT_S = 60.0  # in which a body must have come


class LimitedBody:
    """A request's body as it comes, up to a number of bytes; what is refused gets our answer, whatever Gradio says."""

    def __init__(self, receive: Receive, send: Send, most_bytes: int) -> None:
        self._receive, self.raw_send, self._most = receive, send, most_bytes
        self._bytes, self._until, self.status = 0, time.monotonic() + BODY_TIMEOUT_S, 0
        self._whole = self.answered = False
        self.refused: tuple[int, str] | None = None
        self.problem = f"request: expected at most {most_bytes / 1e6:.1f} MB; more came; send a smaller image"

    async def receive(self) -> Message:
        """Return the next part of the body.

        Raises:
            HTTPException: when it is too much, or comes too slowly.
        """
        if self._whole:
            return await self._receive()  # waits for the end of the connection
        try:
            async with asyncio.timeout(self._until - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            self.refused = 408, f"request: expected its body within {BODY_TIMEOUT_S:g} s; it has not come; try again"
            raise HTTPException(*self.refused) from None
        self._bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._bytes > self._most:
            self.refused = 413, self.problem
            raise HTTPException(*self.refused)
        return message

    async def send(self, message: Message) -> None:
        """Hand on an answer, unless the body was refused meanwhile."""
        self.status = message.get("status", self.status)
        if message.get("status") == 500 and not self.answered:  # of Gradio's or MCP's parsers: ours are caught
            _log.warning("refused: a body that cannot be parsed")
            self.refused = self.refused or (400, f"request: expected JSON; got something else; see {API}info")
        if self.refused and not self.answered:
            self.answered = True
            await answer(self.raw_send, *self.refused)
        elif not self.refused:
            self.answered = True
            await self.raw_send(message)


def content_length(scope: Message, name: bytes) -> str:
    value = next((value for key, value in scope["headers"] if key == name), b"").decode("latin-1")
    return value if value.isdecimal() else ""


async def answer(send: Send, status: int, detail: str, retry_after_s: int = 0) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if retry_after_s:
        headers.append((b"retry-after", str(retry_after_s).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
