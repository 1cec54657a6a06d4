"""Checks the key `trusted_proxies`."""

import ipaddress

LOOPBACK = ("127.0.0.1", "::1")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parsed(text: str) -> Network:
    """Return an address or network; that of IPv4 where it is mapped to IPv6.

    Raises:
        ValueError: when it is neither.
    """
    network = ipaddress.ip_network(text, strict=False)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    return ipaddress.ip_network((mapped, network.prefixlen - 96)) if mapped and network.prefixlen >= 96 else network


def network(text: str) -> str:
    """Return the address or network of a proxy.

    Raises:
        ValueError: when it is none.
    """
    try:
        parsed(text)
    except ValueError:
        remedy = "write its address, not its name"
        raise ValueError(f"expected an address or a network such as 10.0.0.0/8; got {text!r}; {remedy}") from None
    return text
