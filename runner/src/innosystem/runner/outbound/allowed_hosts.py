"""The hosts that may be called."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import httpx

_HOST: Final = re.compile(r"[0-9a-z_.:-]+")
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """One entry of the list.

    Attributes:
        scheme: `https` or `http`.
        host: The host in ASCII, `*.` and a domain for all hosts below the domain, or `*` for all hosts.
        port: The port.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `[http://]host[:port]`: a host, `*.example.com` or `*`; without a scheme, HTTPS is meant.

        Raises:
            ValueError: The text is no such entry.
        """
        scheme, _, rest = text.lower().rpartition("://")
        wild = "*." if rest.startswith("*.") else "*" if rest.partition(":")[0] == "*" else ""
        try:
            # `*` alone becomes a name, so that the rest is a URL.
            url = httpx.URL(f"{scheme or 'https'}://{'any' if wild == '*' else ''}{rest[len(wild) :]}")
        except httpx.InvalidURL as exc:
            raise ValueError(f"{text!r} is no host: {exc}") from None
        is_host_only = url.raw_path == b"/" and not url.userinfo and not url.fragment
        if url.scheme not in _PORTS or not _HOST.fullmatch(host_of(url)) or not is_host_only:
            raise ValueError(f"{text!r} is no host: write api.example.com, *.example.com, http://localhost:8080 or *")
        return cls(url.scheme, wild if wild == "*" else wild + host_of(url), port_of(url))

    def allows(self, url: httpx.URL) -> bool:
        """Return whether the entry allows a URL."""
        if (url.scheme, port_of(url)) != (self.scheme, self.port):
            return False
        if self.host.startswith("*."):
            return host_of(url).endswith(self.host[1:])
        return self.host in ("*", host_of(url))


class AllowedHosts:
    """The hosts that may be called; none at all for an empty list."""

    def __init__(self, entries: Iterable[AllowedHost]) -> None:
        self._entries = tuple(entries)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def allows(self, url: httpx.URL) -> bool:
        """Return whether the host of a URL may be called with its scheme at its port."""
        return any(entry.allows(url) for entry in self._entries)


def host_of(url: httpx.URL) -> str:
    """Return the host of a URL in lower case and ASCII: the form that is resolved and connected to."""
    return url.raw_host.decode("ascii")


def port_of(url: httpx.URL) -> int:
    """Return the port of a URL, written or implied."""
    return url.port or _PORTS[url.scheme]


def origin_of(url: httpx.URL) -> tuple[str, str, int]:
    """Return what must be the same for two URLs to be of one origin."""
    return url.scheme, host_of(url), port_of(url)
