"""Lets MCP clients send images as large as the page's limit, and answers wrong arguments in one sentence.

The mcp package refuses bodies over 4 MB unless it is constructed with another limit (mcp 1.30,
mcp/server/transport_security.py:15), and Gradio passes none (gradio 6.31, gradio/mcp.py:391 and :1117). It validates
arguments against the tool's JSON Schema, and answers with the validator's text (mcp/server/lowlevel/server.py:538);
Gradio's own errors name Python types. `GradioMCPServer` takes these classes from its attributes, which are replaced
here. Where they do not fit any more, MCP is served as Gradio does.
"""

import inspect
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gradio_client.exceptions import AppError

from lineup.errors import LineupError, did_you_mean
from lineup.server.mcp_refusals import REFUSALS

_log = logging.getLogger(__name__)

_IMAGE = "a data: URI or the address of an upload"


def adapt(max_body_bytes: int, max_image_mb: int) -> None:
    """Patch the MCP server that the next `Blocks.launch` creates."""
    try:
        from gradio.mcp import GradioMCPServer
        from mcp.server import Server
        from mcp.server.sse import SseServerTransport
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    except ImportError:  # Gradio serves without MCP, and says so
        return
    if _takes("max_request_body_size", StreamableHTTPSessionManager, SseServerTransport):
        manager = partial(StreamableHTTPSessionManager, max_request_body_size=max_body_bytes)
        transport = partial(SseServerTransport, max_request_body_size=max_body_bytes)
        GradioMCPServer.StreamableHTTPSessionManager, GradioMCPServer.SseServerTransport = manager, transport
    GradioMCPServer.Server = partial(_checking, Server, max_image_mb)


def _takes(parameter: str, *functions: Callable[..., Any]) -> bool:
    fits = all(parameter in inspect.signature(function).parameters for function in functions)
    if not fits:
        _log.warning("mcp: a version without %s: MCP is served as Gradio does", parameter)
    return fits


def _checking(server_type: type[Any], max_image_mb: int, *args: Any, **kwargs: Any) -> Any:
    """Create an MCP server that checks the arguments of its tools before it validates them against their schemas."""
    from mcp.types import CallToolRequest, CallToolResult, ListToolsRequest, ServerResult, TextContent

    server = server_type(*args, **kwargs)
    call_tool, handlers = server.call_tool, server.request_handlers

    def register(**options: Any) -> Callable[..., Any]:
        def decorate(call: Callable[..., Any]) -> Callable[..., Any]:
            call_tool(**options)(_with_messages(call))
            validated = handlers[CallToolRequest]

            async def answer(request: CallToolRequest) -> Any:
                tools = (await handlers[ListToolsRequest](None)).root.tools
                schemas = {tool.name: tool.inputSchema for tool in tools}
                try:
                    _check(request.params.name, request.params.arguments or {}, schemas, max_image_mb)
                except LineupError as error:
                    text = TextContent(type="text", text=str(error))
                    return ServerResult(CallToolResult(content=[text], isError=True))
                return await validated(request)

            handlers[CallToolRequest] = answer
            return call

        return decorate

    server.call_tool = register
    return server


def _with_messages(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the function that calls a tool: the server answers with the text of its errors."""

    async def called(name: str, arguments: Mapping[str, Any]) -> Any:
        try:
            return await call(name, arguments)
        except AppError:
            raise  # of an endpoint: its text is the answer
        except RuntimeError as error:  # the same, if the client has asked for progress
            raise LineupError("", "", str(error).removeprefix("Error: ")) from None
        except ValueError as error:  # Gradio could not decode the image
            _log.warning("rejected: %s: %.200s", name, error)
            raise LineupError("image", _IMAGE, "got one that cannot be decoded", "send it in base64") from None
        except Exception as error:
            response: Any = getattr(error, "response", None)  # to the request that Gradio's client sends to this server
            if getattr(response, "status_code", 0) in REFUSALS:
                raise LineupError("", "", response.json()["detail"]) from None
            raise

    return called


def _check(
    name: str, arguments: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]], max_image_mb: int
) -> None:
    """Raise LineupError unless a tool exists, with all of its arguments and no others, of the right types.

    The endpoints check the values. Types have to be checked here: Gradio's client would upload a file that an object
    names, wherever it is.
    """
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # a dependency of mcp

    if name not in schemas:
        remedy = did_you_mean(name, list(schemas)) or "choose one of these"
        raise LineupError("tool", ", ".join(schemas), f"got {name[:60]!r}", remedy)
    fields = schemas[name]["properties"]
    for argument in arguments:
        if argument not in fields:
            expected = ", ".join(fields) or "no arguments"
            remedy = did_you_mean(argument, list(fields)) or "leave it out"
            raise LineupError(name, expected, f"got {argument[:60]!r}", remedy)
    for field, schema in fields.items():
        if schema.get("type") == "string" and "format" in schema:  # Gradio's form of a file that is required
            _check_image(field, arguments.get(field), max_image_mb)
        elif schema.get("type") == "string" and not isinstance(arguments.get(field), str):
            got = f"got {_shown(arguments[field])}" if field in arguments else "got none"
            raise LineupError(field, "text", got, "send one")
        elif field in arguments and not Draft202012Validator(schema).is_valid(arguments[field]):
            got = f"got {_shown(arguments[field])}"
            raise LineupError(field, _expected(schema), got, "see the tool's description")


def _check_image(field: str, value: Any, max_mb: int) -> None:
    if not isinstance(value, str) or not value.lower().startswith(("data:", "http:", "https:")):
        raise LineupError(field, _IMAGE, "got none" if value is None else f"got {_shown(value)}", "send one")
    if value.lower().startswith("data:"):
        encoded = len(value) - value.find(",") - 1
        n_bytes = encoded * 3 // 4 - value[-2:].count("=")
        if n_bytes > max_mb * 10**6:
            raise LineupError(field, f"at most {max_mb} MB", f"got {n_bytes:,} bytes", "send a smaller image")


def _expected(schema: Mapping[str, Any]) -> str:
    names = {"integer": "a whole number", "string": "one name", "array": "a list of names"}
    kinds = [kind.get("type") for kind in schema.get("oneOf") or schema.get("anyOf") or [schema]]
    return " or ".join(names.get(kind, "another value") for kind in kinds if kind != "null")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
