"""What goes between the page, its broker and the replicas."""

import pickle
import struct
from dataclasses import dataclass
from typing import Any, Literal

from lineup.inference.cluster.status import Seen

_LENGTH = struct.Struct("!Q")
HEADER_BYTES = _LENGTH.size
What = Literal["output", "load", "cancel"]
Outcome = Literal["answered", "died", "busy", "late"]


@dataclass(frozen=True)
class Ask:
    """A request to a replica.

    Attributes:
        name: of an entry.
        kind: what to compute: ``classes`` or ``features``.
        digest: identifies the entry in the page's config; see `settings.digest`.
        wait_s: how long to wait for its load.
        model_input: whether the network's input is to come back as JPEG.
        image_name: what error messages call the image.
    """

    name: str
    kind: Any
    digest: str
    wait_s: float
    model_input: bool = False
    image_name: str = "image"


@dataclass(frozen=True)
class Request:
    """What the page sends to its broker.

    Attributes:
        number: identifies it among the page's requests.
        what: ``output``, ``load``, or ``cancel`` the request of that number.
        ask: what the replica is asked.
        image: the content of an image file.
        deadline_s: how long an answer may take.
    """

    number: int
    what: What
    ask: Ask | None = None
    image: bytes = b""
    deadline_s: float = 0.0


@dataclass(frozen=True)
class Reply:
    """What the broker sends back.

    Attributes:
        number: that of the request.
        outcome: answered; or why there is no answer.
        value: the answer, which may be an error that a replica has returned; or a few words on the reason.
    """

    number: int
    outcome: Outcome
    value: Any = None


@dataclass(frozen=True)
class State:
    """What the broker knows of the cluster: whether requests can be sent, how many replicas run, and what each does.

    Attributes:
        problem: why no request can be sent: the parts of a LineupError; or empty.
        replicas: how many run.
        dashboard: the address of Ray's dashboard, or empty.
        seen: what the cluster does, a few seconds ago; None while that is unknown.
    """

    problem: tuple[str, ...] = ()
    replicas: int = 0
    dashboard: str = ""
    seen: Seen | None = None


def packed(message: Request | Reply | State) -> bytes:
    """Return a message as bytes, with their number before them."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


def length(header: bytes) -> int:
    """Return the number of bytes that a header announces."""
    return int(_LENGTH.unpack(header)[0])


def unpacked(content: bytes) -> Any:
    """Return the message that bytes from this machine's own broker mean, or from the page to it."""
    return pickle.loads(content)
