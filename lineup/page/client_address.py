"""The address by which a client's limits are counted: of feedback, of the owner's sign-in, and of the HTTP API."""

import ipaddress
import logging
import os
from collections.abc import Iterable
from functools import cache
from typing import Any

from lineup.config import proxies
from lineup.config.proxies import LOOPBACK, Network

UVICORN = "FORWARDED_ALLOW_IPS"  # uvicorn's variable: the proxies whose address it replaces
FORWARDED = "forwarded"  # stands for all clients whose address a proxy has forwarded that is not trusted
_IPV6_PREFIX = 64  # of one client's network: it has all of its addresses
_log = logging.getLogger(__name__)


class Proxies:
    """The proxies whose X-Forwarded-For is believed; in a Space, those of the Hub too.

    Proxies that uvicorn's variable names are trusted here as well.

    Args:
        trusted: their addresses or networks, as in the config.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        of_uvicorn, self._is_uvicorn_right = _of_uvicorn(os.environ.get(UVICORN))
        self._networks = [*map(proxies.parsed, trusted), *of_uvicorn]
        self._is_space = bool(os.environ.get("SPACE_ID"))
        if os.environ.get(UVICORN) is None:  # then uvicorn believes those on this machine
            self._is_uvicorn_right = any(map(self._trusts, LOOPBACK))

    def address_of(self, request: Any) -> str:
        """Return the address of a request's client; of IPv6 the network of 64 bits, all of which one client has.

        It is the last one in X-Forwarded-For that is none of a trusted proxy, as a client may have put any before it.
        uvicorn has already replaced the address of a proxy that it believes. Where that may be wrong, all requests that
        have been forwarded count as those of one client.

        Args:
            request: of Gradio or Starlette; its client may be unknown, which is an empty text.
        """
        host = str(getattr(getattr(request, "client", None), "host", "") or "")
        forwarded = _forwarded(getattr(request, "headers", {}))
        if not forwarded:
            return network_of(host)
        if self._is_space or self._trusts(host):
            return network_of(self._client_in(forwarded) or host)
        return network_of(host) if self._is_uvicorn_right else FORWARDED

    def _client_in(self, forwarded: str) -> str:
        for each in reversed(forwarded.split(",")):
            if not self._trusts(host := _host(each)):
                return host if parsed(host) else ""  # what is no address hides all that was there before
        return ""

    def _trusts(self, host: str) -> bool:
        if (address := parsed(host)) is None:
            return False
        # between a Space and the Internet there are the Hub's proxies, with addresses of private networks
        return (self._is_space and not address.is_global) or any(address in network for network in self._networks)


@cache
def _of_uvicorn(text: str | None) -> tuple[list[Network], bool]:
    """Return the networks that uvicorn's variable names, and whether these are all of its entries."""
    networks, entries = [], [each.strip() for each in (text or "").split(",") if each.strip()]
    for entry in entries:
        try:
            networks.append(proxies.parsed(entry))
        except ValueError:
            _log.warning(
                "%s: expected addresses or networks; got %r, with which a client chooses its own address: all "
                "forwarded requests count as those of one client; write the proxies' addresses, or use the config's "
                "trusted_proxies",
                UVICORN,
                entry,
            )
    return networks, len(networks) == len(entries)


def _forwarded(headers: Any) -> str:
    """Return all of X-Forwarded-For: a proxy may add a header instead of a part of it."""
    get_all = getattr(headers, "getlist", None)
    return ",".join(get_all("x-forwarded-for")) if get_all else str(headers.get("x-forwarded-for", ""))


def _host(text: str) -> str:
    """Return the address of an entry of X-Forwarded-For, which may have a port."""
    text = text.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


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
