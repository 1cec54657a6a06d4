"""The address by which a client's limits are counted."""

import ipaddress
import os
from collections.abc import Mapping
from typing import Any

_IPV6_PREFIX = 64  # of one client's network: it has all of its addresses


def client_address(request: Any) -> str:
    """Return the address of a request's client: of IPv6 its network.

    In a Space the connection is that of the Hub's proxies, and they name the client: it is the last public address in
    X-Forwarded-For, as a client may have put any before it. Elsewhere uvicorn has taken it from trusted proxies.

    Args:
        request: of Gradio or Starlette.
    """
    client, headers = getattr(request, "client", None), getattr(request, "headers", {})
    host = str(getattr(client, "host", "") or "")
    return _network((os.environ.get("SPACE_ID") and _forwarded(headers)) or host)


def _forwarded(headers: Mapping[str, str]) -> str:
    for each in reversed(headers.get("x-forwarded-for", "").split(",")):
        try:
            if ipaddress.ip_address(each.strip()).is_global:
                return each.strip()
        except ValueError:
            continue
    return ""


def _network(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a test's client
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else address
    return str(mapped or ipaddress.ip_network((int(address), _IPV6_PREFIX), strict=False))
