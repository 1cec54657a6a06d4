"""Who sends a request: the holder of a key, or an address."""

import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.types import Scope

from lineup.page.client_address import network_of, parsed

_log = logging.getLogger(__name__)

KEYS = "LINEUP_API_KEYS"  # the environment variable
LOOPBACK = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")


class Keys:
    """The keys of which a request needs one; as hashes, which are compared in a time that says nothing of them.

    Args:
        text: the keys, separated by commas. None are needed if it is empty; where it has only commas, none is right.
    """

    def __init__(self, text: str) -> None:
        self._hashes = [_hash(key.strip().encode()) for key in text.split(",") if key.strip()]
        self._are_needed = bool(text.strip())
        if self._are_needed and not self._hashes:
            _log.error("%s: expected keys separated by commas; got none; every request below /v1 is refused", KEYS)

    def __bool__(self) -> bool:
        return self._are_needed

    def number_of(self, headers: Headers) -> int | None:
        """Return which key a request has, or None; all are compared, whichever it is."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        hashed = _hash(given.strip().encode("latin-1"))  # as Starlette decodes headers
        matches = [hmac.compare_digest(hashed, known) for known in self._hashes]
        return matches.index(True) if scheme.lower() == "bearer" and any(matches) else None


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class Proxies:
    """The proxies whose X-Forwarded-For is believed.

    Args:
        networks: their addresses or networks.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def _trusts(self, host: str) -> bool:
        address = parsed(host)
        return address is not None and any(address in network for network in self._networks)

    def address_of(self, scope: Scope) -> str:
        """Return the address of a request's client; of IPv6 the network of 64 bits, all of which one client has.

        uvicorn has already replaced the address of a proxy on this machine by the one that it forwards. That is right
        only if such proxies are trusted here: all requests that others have forwarded count as those of one client.
        """
        host = (scope.get("client") or ("unknown", 0))[0]
        forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for"))
        if not forwarded:
            return network_of(host)
        if self._trusts(host):
            hosts = [_host(each) for each in reversed(forwarded.split(","))]
            return network_of(next((each for each in hosts if not self._trusts(each)), host))
        return network_of(host) if any(self._trusts(str(address)) for address in LOOPBACK) else "forwarded"


def _host(text: str) -> str:
    """Return the address of an entry of X-Forwarded-For, which may have a port."""
    text = text.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
