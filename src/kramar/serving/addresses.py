"""Which addresses of the internet a photo may be fetched from: public ones, and none that stands for another."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What Python's own table (of IANA's special-purpose registries) calls public, or has no say in.
_REFUSED = tuple(
    ipaddress.ip_network(one)
    for one in (
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is a cloud's metadata
        "192.88.99.0/24",  # relays from 6to4
        "168.63.129.16/32",  # Azure's metadata, at a public address
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4: an IPv4 address inside
        "2001:db8::/32",
        "3fff::/20",
    )
)
# Global unicast: all others are mapped, translated (NAT64), local, multicast or not assigned.
_GLOBAL_6 = ipaddress.ip_network("2000::/3")


def is_public(text: str) -> bool:
    """Whether ``text`` is an address that anyone on the internet has, reached as what it is."""
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 6 and (address not in _GLOBAL_6 or address.scope_id is not None):
        return False
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return not any(address in one for one in _REFUSED if one.version == address.version)
