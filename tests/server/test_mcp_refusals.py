"""Refused requests of MCP clients are answered in JSON-RPC, with the id that the body has at one of its ends."""

import asyncio
import json

import pytest

from lineup.server.mcp_refusals import McpRefusalMiddleware
from lineup.server.responses import detail

CALL = {"name": "classify", "arguments": {"image": "x" * 20_000, "id": 9}}
RESULT = {"content": [{"type": "text", "text": "busy: try again"}], "isError": True}


def answered(body, path="/gradio_api/mcp/", status=503, read=False):
    """Send a body whose request is refused; return the status and the JSON of the response."""
    chunks = [body[start : start + 1000] for start in range(0, len(body), 1000)]
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages[-1]["more_body"], sent = False, []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    async def refuse(scope, receive, send):
        while read and (await receive())["more_body"]:
            pass
        await detail(status, "busy: try again", 3)(scope, receive, send)

    scope = {"type": "http", "method": "POST", "path": path, "headers": []}
    asyncio.run(McpRefusalMiddleware(refuse)(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent))


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("status", [408, 413, 503])
@pytest.mark.parametrize(
    "request_",
    [
        {"method": "tools/call", "params": CALL, "jsonrpc": "2.0", "id": 7},  # as the mcp package writes it
        {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": CALL},
        {"id": 7, "params": CALL, "method": "tools/call", "jsonrpc": "2.0"},
    ],
)
def test_refused_tool_call_is_a_result_with_its_id(request_, status, read):
    body = json.dumps(request_).encode()
    assert answered(body, status=status, read=read) == (200, {"jsonrpc": "2.0", "id": 7, "result": RESULT})


def test_another_refused_request_is_an_error_with_its_id():
    body = json.dumps({"jsonrpc": "2.0", "id": "a-1", "method": "tools/list"}).encode()
    status, answer = answered(body)
    assert (status, answer["id"], answer["error"]["message"]) == (200, "a-1", "busy: try again")


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"id": 3}}).encode(),
        b"x" * 10_000,
        b'{"method": "tools/call", "params": {"id": 1}, "big": "' + b"x" * 10_000 + b'"}',
    ],
)
def test_a_refusal_without_an_id_keeps_its_status(body):
    assert answered(body) == (503, {"detail": "busy: try again"})


def test_the_answer_to_messages_keeps_its_status():
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).encode()
    assert answered(body, "/gradio_api/mcp/messages/") == (503, {"detail": "busy: try again"})
