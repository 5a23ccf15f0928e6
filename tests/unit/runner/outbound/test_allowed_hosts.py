"""The list of hosts allows what it names: scheme, host and port."""

import httpx
import pytest

from innosystem.runner.outbound.allowed_hosts import AllowedHost, AllowedHosts


def allows(entry: str, url: str) -> bool:
    return AllowedHosts([AllowedHost.parse(entry)]).allows(httpx.URL(url))


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("api.example.com", "https://api.example.com/v1?x=1"),
        ("api.example.com", "https://API.EXAMPLE.COM:443/"),
        ("API.example.com", "https://api.example.com/"),
        ("https://api.example.com", "https://api.example.com/"),
        ("api.example.com:8443", "https://api.example.com:8443/"),
        ("http://localhost:8080", "http://localhost:8080/"),
        ("http://localhost", "http://localhost/"),
        ("*.example.com", "https://a.example.com/"),
        ("*.example.com", "https://a.b.example.com/"),
        ("*.example.com:8443", "https://a.example.com:8443/"),
        ("*", "https://anything.example/"),
        ("http://*:8080", "http://anything.example:8080/"),
        ("bücher.example", "https://bücher.example/"),
        ("bücher.example", "https://xn--bcher-kva.example/"),
        ("127.0.0.1", "https://127.0.0.1/"),
        ("[::1]:8443", "https://[::1]:8443/"),
    ],
)
def test_a_host_on_the_list_is_allowed(entry: str, url: str) -> None:
    assert allows(entry, url)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("api.example.com", "http://api.example.com/"),
        ("api.example.com", "https://api.example.com:8443/"),
        ("api.example.com", "https://example.com/"),
        ("api.example.com", "https://api.example.com.evil.example/"),
        ("api.example.com", "https://evil-api.example.com/"),
        ("api.example.com", "https://api.example.com@evil.example/"),
        ("api.example.com", "https://evil.example/#@api.example.com"),
        ("api.example.com", "https://api.example.com./"),
        ("*.example.com", "https://example.com/"),
        ("*.example.com", "https://evilexample.com/"),
        ("*", "http://anything.example/"),
        ("*", "https://anything.example:8443/"),
        ("http://localhost:8080", "https://localhost:8080/"),
        ("127.0.0.1", "https://2130706433/"),
        ("127.0.0.1", "https://0x7f.0.0.1/"),
        ("127.0.0.1", "https://127.1/"),
        ("127.0.0.1", "https://[::ffff:127.0.0.1]/"),
    ],
)
def test_another_host_scheme_or_port_is_not_allowed(entry: str, url: str) -> None:
    assert not allows(entry, url)


def test_an_empty_list_allows_nothing() -> None:
    hosts = AllowedHosts([])

    assert not hosts
    assert not hosts.allows(httpx.URL("https://api.example.com/"))


@pytest.mark.parametrize(
    "entry",
    [
        "https://",
        "ftp://a.example",
        "a.example/path",
        "a.example?x",
        "a.example#f",
        "a.example:x",
        "u:p@a.example",
        "//a.example",
        "a.*.example",
        "**",
        "*a",
        "*.",
        "a b",
        "0177.0.0.1",
    ],
)
def test_an_entry_that_is_no_host_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        AllowedHost.parse(entry)
