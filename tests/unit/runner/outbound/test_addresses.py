"""Only public addresses are called, whatever they look like, and those of networks that the settings name."""

import ipaddress

import pytest

from innosystem.runner.outbound.addresses import is_permitted, parse_network

SPECIAL = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:2::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.1",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    "2a00::1",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
]


@pytest.mark.parametrize("address", SPECIAL)
def test_an_address_that_is_not_public_is_not_called(address: str) -> None:
    assert not is_permitted(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_called(address: str) -> None:
    assert is_permitted(address)


def test_what_the_standard_library_calls_private_is_not_called() -> None:
    networks = [*ipaddress._IPv4Constants._private_networks, *ipaddress._IPv6Constants._private_networks]  # type: ignore[attr-defined] # its list
    private = [str(one) for network in networks for one in (network[0], network[-1])]

    assert len(private) > 20
    assert [one for one in private if is_permitted(one)] == []


@pytest.mark.parametrize(
    ("network", "permitted", "refused"),
    [
        ("10.1.0.0/16", "10.1.2.3", "10.2.0.1"),
        ("10.1.0.0/16", "::ffff:10.1.2.3", "::ffff:10.2.0.1"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
        ("fd12::/16", "fd12::1", "fd13::1"),
        ("10.0.0.0/8", "10.0.0.1", "169.254.169.254"),
    ],
)
def test_a_private_network_that_the_settings_name_is_called_and_no_other(
    network: str, permitted: str, refused: str
) -> None:
    networks = [parse_network(network)]

    assert is_permitted(permitted, networks)
    assert not is_permitted(refused, networks)


def test_a_network_with_bits_beyond_its_prefix_is_an_error() -> None:
    with pytest.raises(ValueError, match="host bits set"):
        parse_network("10.1.2.3/8")
