"""Answers a refused request of an MCP client in JSON-RPC.

A client of the mcp package ends its session at a response whose status is not 200
(mcp/client/streamable_http.py:381), so a refusal before the request reaches the MCP server would cost the session.
"""

import asyncio
import json
import re
from contextlib import suppress
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lineup.server.allowlist import MCP, MCP_METHODS

REFUSALS = (408, 413, 503)
DISCARD_S = 30.0  # how long the rest of a refused body is read, and discarded, to find the request's id
_KEPT_BYTES = 4096  # of each end of the body
_SERVER_ERROR = -32000  # of JSON-RPC, defined by the server
_TOOL_CALL = re.compile(rb'"method"\s*:\s*"tools/call"')
_VALUE = rb'"id"\s*:\s*("[^"\\]{1,100}"|-?\d{1,15})'
_IDS = re.compile(rb"^\s*\{[^{}]*?" + _VALUE), re.compile(_VALUE + rb"\s*(?:,[^{}]*)?\}\s*$")  # of the outermost object


class McpRefusalMiddleware:
    """Replaces a response of 408, 413 or 503 to an MCP request by a result or an error with the same text.

    Args:
        app: the app to pass requests on to.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and replace its refusal."""
        http = scope["type"] == "http" and scope["method"] == "POST" and scope["path"].startswith(MCP)
        if not http or "GET" not in MCP_METHODS.get(scope["path"].removeprefix(MCP).rstrip("/"), ()):
            await self._app(scope, receive, send)  # the answer to /messages is not read as JSON-RPC
            return
        body, refusal = _Ends(receive), list[Message]()

        async def checked(message: Message) -> None:
            if message.get("status") in REFUSALS or refusal:
                refusal.append(message)
            else:
                await send(message)

        await self._app(scope, body.receive, checked)
        if refusal:
            await body.discard()
            text = b"".join(message.get("body", b"") for message in refusal)
            if answer := body.answer(text.decode(errors="replace")):
                await JSONResponse(answer)(scope, receive, send)
                return
            for message in refusal:
                await send(message)


class _Ends:
    """An ASGI `receive` that keeps both ends of the body: a request's id is in one of them."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._head, self._tail, self._is_complete = receive, b"", b"", False

    async def receive(self) -> Message:
        message = await self._receive()
        body: bytes = message.get("body", b"")
        self._head += body[: _KEPT_BYTES - len(self._head)]
        self._tail = (self._tail + body[-_KEPT_BYTES:])[-_KEPT_BYTES:]
        self._is_complete = not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_S):
                while not self._is_complete:
                    await self.receive()

    def answer(self, text: str) -> dict[str, Any] | None:
        """Return the JSON-RPC response with a text, or None if the request has no id."""
        matches = _IDS[0].search(self._head), _IDS[1].search(self._tail)
        found = next((match for match in matches if match), None)
        if found is None:
            return None
        with suppress(ValueError, KeyError, TypeError):
            text = json.loads(text)["detail"]
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": json.loads(found[1])}
        if _TOOL_CALL.search(self._head) or _TOOL_CALL.search(self._tail):
            return {**answer, "result": {"content": [{"type": "text", "text": text}], "isError": True}}
        return {**answer, "error": {"code": _SERVER_ERROR, "message": text}}
