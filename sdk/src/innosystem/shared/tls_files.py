"""Certificates and keys in files that are replaced while a process runs, as Kubernetes and certificate managers do.

New files are used once they are complete: a certificate without its key, or half a file, leaves the old ones in use.
"""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NoReturn, TypeAlias

from innosystem.shared.transport import Report, TransportError, log_renewal

_Mark: TypeAlias = tuple[int, int, int] | None


@dataclass(frozen=True)
class TlsContents:
    """What the files hold, in PEM; None where there is no file.

    Attributes:
        ca: The CA certificates.
        certificate: The certificate with its chain.
        key: Its key.
        server: A server's context with certificate and key, for what does not use gRPC.
    """

    ca: bytes | None
    certificate: bytes | None
    key: bytes | None = field(repr=False)
    server: ssl.SSLContext = field(compare=False, repr=False)


class TlsFiles:
    """The files of one side of a connection, which are read again when they change. Can be used by several threads.

    Args:
        ca_file: The CA certificates that the other side's certificate must be signed by; empty for none.
        certificate_file: The own certificate with its chain; empty for none.
        key_file: Its key.
        report: Called after each change of the files.

    Raises:
        TransportError: If the files can't be used.
    """

    def __init__(
        self, *, ca_file: str = "", certificate_file: str = "", key_file: str = "", report: Report = log_renewal
    ) -> None:
        if bool(certificate_file) != bool(key_file):
            raise TransportError(
                f"{certificate_file or key_file}: a certificate needs its key, and a key a certificate"
            )
        self._ca_file = ca_file
        self._certificate_file = certificate_file
        self._key_file = key_file
        self._report = report
        self._lock = Lock()
        self._marks = self._look()
        self._contents = self._read()

    def current(self) -> TlsContents:
        """Return the newest usable contents: the same object as before while the files have not changed."""
        with self._lock:
            marks = self._look()
            if marks != self._marks:
                self._renew(marks)
            return self._contents

    def _renew(self, marks: list[_Mark]) -> None:
        problem = ""
        try:
            contents = self._read()
        except TransportError as error:
            problem, contents = str(error), self._contents
        if self._look() != marks:
            # They are being replaced: what was checked may not be what was read.
            return
        self._marks = marks
        if problem or contents != self._contents:
            self._contents = contents
            self._report(problem)

    def _look(self) -> list[_Mark]:
        return [_mark(file) for file in (self._ca_file, self._certificate_file, self._key_file) if file]

    def _read(self) -> TlsContents:
        """Read the files, and check that TLS can use them.

        Raises:
            TransportError: If it can't.
        """
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca, certificate, key = map(_bytes, (self._ca_file, self._certificate_file, self._key_file))
        if ca is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self._ca_file)
            except (ssl.SSLError, OSError) as error:
                raise TransportError(f"{self._ca_file} has no CA certificates in PEM ({_said(error)})") from None
        if certificate is not None:
            try:
                server.load_cert_chain(self._certificate_file, self._key_file, self._refuse_password)
            except (ssl.SSLError, OSError) as error:
                raise TransportError(
                    f"{self._certificate_file} and {self._key_file} are no certificate with its key ({_said(error)})"
                ) from None
        return TlsContents(ca, certificate, key, server)

    def _refuse_password(self) -> NoReturn:
        raise TransportError(f"{self._key_file} is encrypted: TLS needs a key without a password")


def _mark(file: str) -> _Mark:
    """Return what changes with a file, also with one that is reached by links, as in a volume of Kubernetes."""
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _bytes(file: str) -> bytes | None:
    if not file:
        return None
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise TransportError(f"{file} can't be read: {error.strerror or error}") from None


def _said(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
