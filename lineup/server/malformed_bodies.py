"""Answers 400 to a body that Gradio cannot parse, for which Gradio answers 500."""

import logging

from gradio.route_utils import FnIndexInferError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lineup.errors import INTERNAL_ERROR
from lineup.server.allowlist import API
from lineup.server.responses import detail

_log = logging.getLogger(__name__)

# What Gradio raises for a malformed body.
_CLIENT_ERRORS = (AttributeError, TypeError, ValueError, LookupError, FnIndexInferError)


class MalformedBodyMiddleware:
    """Replaces errors of Gradio's and MCP's parsers; our functions' errors are caught earlier.

    Args:
        app: the app to pass requests on to.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer 400 in place of a parser's error, and 500 with a message for another one."""
        if scope["type"] != "http" or not scope["path"].startswith(API) or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        answered = replaced = False

        async def checked(message: Message) -> None:
            nonlocal answered, replaced
            is_upload = scope["path"].rstrip("/") == f"{API}upload"
            if message.get("status") in ((400, 500) if is_upload else (500,)) and not answered:
                answered = replaced = True
                _log.warning("rejected: a body that cannot be parsed")
                expected = "files as multipart/form-data" if is_upload else "JSON"
                problem = f"request: expected {expected}; got something else; see {API}info"
                await detail(400, problem)(scope, receive, send)
            elif not replaced:
                answered = True
                await send(message)

        try:
            await self._app(scope, receive, checked)
        except HTTPException:
            raise  # of the body limit
        except ClientDisconnect:
            _log.info("disconnected: %s before its body was complete", scope["path"])
        except Exception as error:
            if answered:
                raise
            if isinstance(error, _CLIENT_ERRORS):
                _log.warning("rejected: %s: %s: %.200s", scope["path"], type(error).__name__, error)
                problem = f"request: expected the fields of this endpoint; got others; see {API}info"
                await detail(400, problem)(scope, receive, send)
            else:
                _log.exception("%s failed", scope["path"])
                await detail(500, INTERNAL_ERROR)(scope, receive, send)
