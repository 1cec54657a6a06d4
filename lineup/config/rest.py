"""Checks the values of the section `rest`."""

import re

_ORIGIN = re.compile(r"https?://[^/?#\s@]+")


def origin(text: str) -> str:
    """Return an origin as browsers send it, or `*`.

    Raises:
        ValueError: when it is none.
    """
    if text != "*" and not _ORIGIN.fullmatch(text):
        raise ValueError(f"expected an origin such as https://example.org, or *; got {text!r}; write no path after it")
    return text


def rate_limit(text: str) -> str:
    """Return a rate limit in the notation of the library `limits`, or an empty text for none.

    Raises:
        ValueError: when it is neither.
    """
    if text:
        from limits import parse_many  # takes 0.1 s, and is seldom needed

        try:
            items = parse_many(text)
        except ValueError:
            items = []
        if len(items) != 1 or not items[0].amount:
            raise ValueError(
                f"expected one limit such as 60/minute; got {text!r}; write requests, / and a unit of time"
            )
    return text
