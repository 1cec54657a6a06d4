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
    return network_of((os.environ.get("SPACE_ID") and _forwarded(headers)) or host)


def _forwarded(headers: Mapping[str, str]) -> str:
    for each in reversed(headers.get("x-forwarded-for", "").split(",")):
        try:
            if ipaddress.ip_address(each.strip()).is_global:
                return each.strip()
        except ValueError:
            continue
    return ""


def parsed(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, that of IPv4 where it is mapped to IPv6; None if it is none, as a test's client has."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def network_of(host: str) -> str:
    """Return the address of a client; of IPv6 its network; of what is no address, the beginning."""
    address = parsed(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
    return str(address or host[:100])
