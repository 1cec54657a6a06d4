"""What the middleware has to know of a request's client, which a feature's middleware may set."""

from dataclasses import dataclass

from starlette.types import Scope

from lineup.errors import LineupError
from lineup.inference.queue import PAGE

_KEY = "lineup.client"  # of an ASGI scope


@dataclass
class Client:
    """The client of a request.

    Attributes:
        kind: kinds of clients have queue slots of their own, and take turns.
        documentation: where its API is described, for its errors.
        refusal: the error with which the request was refused; set by the middleware that refuses it.
    """

    kind: str = PAGE
    documentation: str = "/gradio_api/info"
    refusal: str | LineupError = ""


def client_of(scope: Scope) -> Client:
    """Return the client of a request: of the page and of Gradio's API, unless `from_client` has set another one."""
    client = scope.get(_KEY)
    return client if isinstance(client, Client) else Client()


def from_client(scope: Scope, client: Client) -> Scope:
    """Return the scope of a request of a client."""
    return {**scope, _KEY: client}
