"""Reads the address of a backbone on another Lineup: ``https://other.host/resnet50``."""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

_API = "/v1/models/"  # stands between the server and the name; it may be left out where the server has no path
_A_BACKBONE = "expected lineup:https://host/name, the address of another Lineup and the name of a backbone there; got "


class LineupAddress(NamedTuple):
    """A server and the name of a backbone there."""

    server: str  # without a slash at its end
    name: str

    def __str__(self) -> str:
        """Return the address in its usual form."""
        has_path = self.server.count("/") > 2 or f"/{self.name}".startswith("/v1/")
        return f"{self.server}{_API if has_path else '/'}{quote(self.name, safe='/:@')}"

    @property
    def host(self) -> str:
        """The host, as messages name it."""
        return urlsplit(self.server).netloc


def parse_lineup(text: str) -> LineupAddress:
    """Return the server and the name that an address means.

    All of its path is the name, which may have slashes. A server below a path is written as its API has it:
    ``https://host/path/v1/models/name``.

    Raises:
        ValueError: when it is no such address; the message says what to write instead.
    """
    if not re.match(r"https?://", text, re.IGNORECASE):
        example = f"lineup:https://{text.lstrip('/')}" if re.match(r"/*[\w.-]+(:\d+)?/.", text) else ""
        raise ValueError(f"{_A_BACKBONE}{text!r}; write {example or 'https:// and the host'}")
    try:
        url = urlsplit(text)
        port, host = url.port, (url.hostname or "").lower()
    except ValueError:
        raise ValueError(f"{_A_BACKBONE}{text!r}; fix its host or port") from None
    if url.username is not None or url.password is not None:
        raise ValueError(f"{_A_BACKBONE}one with a password; set LINEUP_REMOTE_KEY in the environment instead")
    if url.query or url.fragment:
        raise ValueError(f"{_A_BACKBONE}{text!r}; remove what follows ? or #")
    path, api, name = url.path.partition(_API)
    if not api:
        path, name = "", url.path
    name = unquote(name.strip("/"))
    if not host or not name or not name.isprintable():
        raise ValueError(f"{_A_BACKBONE}{text!r}; add the name of a backbone, as {host or 'host'}/v1/models lists it")
    host = f"[{host}]" if ":" in host else host
    server = f"{url.scheme.lower()}://{host}" + (f":{port}" if port else "") + path.rstrip("/")
    return LineupAddress(server, name)
