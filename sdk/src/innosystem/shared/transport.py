"""How connections to services are protected: by TLS, or not at all.

A connection that is not encrypted stays on this machine, unless INNOSYSTEM_PLAINTEXT says otherwise.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, Self, TypeAlias

PREFIX: Final = "INNOSYSTEM_"
PLAINTEXT: Final = f"{PREFIX}PLAINTEXT"

#: The settings of the connections to a platform: they go with its addresses.
TRANSPORT: Final = (
    *(f"{PREFIX}TLS_{name}" for name in ("CA_FILE", "CERTIFICATE_FILE", "KEY_FILE", "SERVER_NAME")),
    PLAINTEXT,
)


#: Called after each change of the files of TLS: with what is wrong with them, or with nothing once they are in use.
Report: TypeAlias = Callable[[str], None]


class TransportError(Exception):
    """A connection can't be protected as the settings say; the message says what to set."""


def log_renewal(problem: str) -> None:
    """Report a change of files to the standard library's log."""
    log = logging.getLogger(__name__)
    if problem:
        log.error("the files of TLS are not renewed, the old ones stay in use: %s", problem)
    else:
        log.info("the files of TLS are renewed")


@dataclass(frozen=True)
class Transport:
    """How a client's connections are protected.

    Attributes:
        ca_file: The file with the CA certificates, in PEM, that must have signed the certificates of services. With it,
            all connections use TLS.
        certificate_file: The file with this client's own certificate, followed by its chain; empty for none.
        key_file: The file with the certificate's private key, not encrypted.
        server_name: The name that certificates of services must have; by default the host of the address.
        plaintext: Whether connections without TLS may leave this machine.
        report: Called after each change of the files.
    """

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    server_name: str = ""
    plaintext: bool = False
    report: Report = field(default=log_renewal, compare=False)

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Self:
        """Return what variables of an environment say: INNOSYSTEM_TLS_CA_FILE and so on.

        Raises:
            TransportError: If INNOSYSTEM_PLAINTEXT has a value that is not known.
        """
        ca_file, certificate_file, key_file, server_name, plaintext = (variables.get(name, "") for name in TRANSPORT)
        return cls(ca_file, certificate_file, key_file, server_name, allows_plaintext(plaintext))

    def check(self, target: str) -> None:
        """Check that a connection to a target may be opened.

        Raises:
            TransportError: If it would leave this machine without TLS.
        """
        if self.ca_file or self.plaintext or is_local(target):
            return
        raise TransportError(
            f"the connection to {target} would not be encrypted: set {PREFIX}TLS_CA_FILE to a file with the CA "
            f"certificates of the platform, or {PLAINTEXT}=allow if its network is to be trusted"
        )


def allows_plaintext(value: str) -> bool:
    """Return what a value of INNOSYSTEM_PLAINTEXT means.

    Raises:
        TransportError: If it is neither `allow` nor empty.
    """
    if value not in {"", "allow"}:
        raise TransportError(f"{PLAINTEXT} can only be `allow`, or not set")
    return bool(value)


def is_local(target: str) -> bool:
    """Return whether connections to a target, or to an address to listen on, can't leave this machine.

    Args:
        target: A target of gRPC (`host:port`, `dns:///host:port`, `ipv4:...`, `unix:/path`), or an address to listen
            on.
    """
    scheme, _, rest = target.partition(":")
    if scheme in {"unix", "unix-abstract"}:
        return True
    if scheme == "dns":
        # A name server that the target names may resolve `localhost` to anything.
        authority, _, hosts = rest.removeprefix("//").partition("/") if rest.startswith("//") else ("", "", rest)
        return not authority and _is_loopback(hosts)
    if scheme in {"ipv4", "ipv6"}:
        return all(map(_is_loopback, rest.split(",")))
    return _is_loopback(target)


def _is_loopback(address: str) -> bool:
    """Return whether `host:port` is on this machine; a host without a port, too."""
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    else:
        host = address.partition(":")[0] if address.count(":") == 1 else address
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
