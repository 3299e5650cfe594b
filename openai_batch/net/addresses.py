"""Whether an IP address is public: on the internet, and not a way to a private one.

The ranges are those that IANA's special-purpose address registries (RFC 6890) do not call globally reachable, with
multicast and what reaches IPv4 addresses. They are listed since what `is_global` says differs between Python releases.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private use
        "100.64.0.0/10",  # shared by the customers of a carrier
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link local; the metadata of clouds
        "172.16.0.0/12",  # private use
        "192.0.0.0/24",  # IETF protocols
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private use
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

_NAT64 = IPv6Network("64:ff9b::/96")
"""How a network without IPv4 reaches an IPv4 address, the last 32 bits. It counts as that address."""

_PUBLIC_V6 = IPv6Network("2000::/3")
"""All that IANA gives out as global unicast. Outside are loopback, private, site-local, link-local and multicast
addresses, and ways to IPv4: compatible (::a.b.c.d), mapped (::ffff:a.b.c.d), a network's own NAT64 (64:ff9b:1::/48)."""

_NOT_PUBLIC_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # IETF protocols, with Teredo, benchmarking and ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: leads to an IPv4 address
        "3fff::/20",  # documentation
    )
)

_ISATAP = (0x00005EFE, 0x02005EFE)
"""What comes before the IPv4 address in the last 64 bits of an address that leads to it (RFC 5214)."""


def is_public(address: str) -> bool:
    """Return whether the text of an IP address is a public one. Text that is not an address is not public."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _NOT_PUBLIC_V4)
    if ip in _NAT64:
        return is_public(str(IPv4Address(int(ip) & 0xFFFFFFFF)))
    if int(ip) >> 32 & 0xFFFFFFFF in _ISATAP:
        return False
    return ip in _PUBLIC_V6 and not any(ip in network for network in _NOT_PUBLIC_V6)
