"""The addresses that may be called: public ones, and those of networks that the settings name."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# The registries of special-purpose addresses of IANA, written out: `is_global` of the standard library differs between
# releases of Python, and calls multicast global.
_SPECIAL_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network; 0.0.0.0 connects to the machine itself
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by carriers, and by metadata servers of clouds
            "127.0.0.0/8",
            "168.63.129.16/32",  # public by its number, and the machine's host in Azure
            "169.254.0.0/16",  # link-local: metadata servers of clouds
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
# Global unicast addresses begin with 001; all others are special. These are the special ones among them.
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_SPECIAL_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols, among them Teredo, which has an IPv4 address inside
            "2001:db8::/32",
            "2002::/16",  # 6to4, which has an IPv4 address inside
            "3fff::/20",
        ),
    )
)
# Addresses that lead to the IPv4 address in their last four bytes: mapped ones, and those of NAT64.
_WITH_V4: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))


def is_permitted(text: str, networks: Sequence[Network] = ()) -> bool:
    """Return whether an address may be called.

    Args:
        text: The address, as a resolver returns it.
        networks: Networks whose addresses may be called although they are not public.
    """
    address = _effective(ip_address(text.partition("%")[0]))
    return any(address in network for network in networks) or _is_public(address)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    return address in _GLOBAL_V6 and not any(address in network for network in _SPECIAL_V6)


def _effective(address: Address) -> Address:
    if isinstance(address, IPv6Address) and any(address in network for network in _WITH_V4):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def parse_network(text: str) -> Network:
    """Parse a network, such as `10.1.0.0/16`, or a single address.

    Raises:
        ValueError: It is none, or has bits set beyond its prefix.
    """
    return ip_network(text)
