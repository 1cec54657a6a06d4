"""What MCP clients get for errors of the tools, and where the patch does not fit. tests/test_mcp.py sends requests."""

import asyncio
from types import SimpleNamespace

import pytest
from gradio_client.exceptions import AppError

from lineup.errors import LineupError
from lineup.server import mcp_tools


class RefusedError(Exception):
    response = SimpleNamespace(status_code=503, json=lambda: {"detail": "busy: try again in 3 s"})


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (AppError("top_k: expected a whole number"), "top_k: expected a whole number"),
        (RuntimeError("Error: top_k: expected a whole number"), "top_k: expected a whole number"),
        (RefusedError("Server error '503 Service Unavailable'"), "busy: try again in 3 s"),
        (ValueError("Incorrect padding"), f"image: expected {mcp_tools._IMAGE}; got one that cannot be decoded; send"),
    ],
)
def test_errors_of_tools_have_the_text_of_the_api(error, text):
    async def call(name, arguments):
        raise error

    with pytest.raises((AppError, LineupError)) as caught:
        asyncio.run(mcp_tools._with_messages(call)("classify", {}))
    assert str(caught.value).startswith(text)


def test_mcp_without_a_body_limit_is_served_as_gradio_does(monkeypatch, caplog):
    from gradio.mcp import GradioMCPServer

    kept = {name: GradioMCPServer.__dict__[name] for name in ("StreamableHTTPSessionManager", "SseServerTransport")}
    for name, value in {**kept, "Server": GradioMCPServer.Server}.items():
        monkeypatch.setattr(GradioMCPServer, name, value)
    monkeypatch.setattr("mcp.server.sse.SseServerTransport", lambda endpoint: None)
    mcp_tools.adapt(10**6, 1)
    assert {name: GradioMCPServer.__dict__[name] for name in kept} == kept
    assert "mcp: a version without max_request_body_size: MCP is served as Gradio does" in caplog.text
