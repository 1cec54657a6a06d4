"""Checks the address of a Ray cluster."""

import re

_ADDRESS = re.compile(r"(?:ray://)?(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})")


def checked(text: str) -> str:
    """Return the address of a Ray cluster.

    Raises:
        ValueError: when it is none.
    """
    match = _ADDRESS.fullmatch(text)
    if text != "auto" and not (match and 0 < int(match["port"]) < 65536):
        remedy = "write the port too: 10001 is that of Ray's clients, 6379 that of its nodes"
        raise ValueError(f"expected auto, ray://host:port or host:port; got {text!r}; {remedy}")
    return text
