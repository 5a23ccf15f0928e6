"""How a server's connections are protected: by TLS with files that may be replaced, or not at all on this machine."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

import grpc

from innosystem.shared.tls_files import TlsContents, TlsFiles
from innosystem.shared.tls_renewals import renewals
from innosystem.shared.transport import PLAINTEXT, PREFIX, Transport, TransportError, is_local
from services.kit.settings import StartupError, TransportSettings, load


@dataclass(frozen=True)
class ServerTransport:
    """The protection of what a process listens on.

    Attributes:
        files: The files of TLS; None for none.
        demands_certificates: Whether callers without a certificate are refused.
        plaintext: Whether connections without TLS may come from other machines.
        metrics: Whether metrics are served by TLS.
    """

    files: TlsFiles | None = None
    demands_certificates: bool = False
    plaintext: bool = False
    metrics: bool = False

    @property
    def metrics_files(self) -> TlsFiles | None:
        """The files of TLS for metrics; None for none."""
        return self.files if self.metrics else None

    @classmethod
    def of(cls, settings: TransportSettings) -> Self:
        """Return what the settings say.

        Raises:
            StartupError: If they contradict each other, or a file can't be used.
        """
        plaintext = settings.plaintext == "allow"
        if not settings.tls_certificate_file and not settings.tls_key_file:
            if settings.tls_client_ca_file or settings.tls_metrics:
                raise StartupError(f"TLS needs {PREFIX}TLS_CERTIFICATE_FILE and {PREFIX}TLS_KEY_FILE as well")
            return cls(plaintext=plaintext)
        try:
            files = TlsFiles(
                ca_file=settings.tls_client_ca_file,
                certificate_file=settings.tls_certificate_file,
                key_file=settings.tls_key_file,
                report=renewals("server"),
            )
        except TransportError as error:
            raise StartupError(str(error)) from None
        return cls(files, bool(settings.tls_client_ca_file), plaintext, settings.tls_metrics)

    def add_port(self, server: grpc.aio.Server, address: str) -> int:
        """Make a server listen on an address, and return the port.

        Raises:
            StartupError: If callers on other machines would not be protected.
            RuntimeError: If gRPC can't listen there.
        """
        if self.files is not None:
            return server.add_secure_port(address, _credentials(self.files, demanding=self.demands_certificates))
        if not self.plaintext and not is_local(address):
            raise StartupError(
                f"calls to {address} would not be encrypted: set {PREFIX}TLS_CERTIFICATE_FILE and "
                f"{PREFIX}TLS_KEY_FILE, or {PLAINTEXT}=allow if the network is to be trusted"
            )
        return server.add_insecure_port(address)


#: Connections without TLS, from this machine only.
LOCAL_PLAINTEXT = ServerTransport()


def client_transport() -> Transport:
    """Return how calls to other services are protected, by the settings of the environment.

    Raises:
        StartupError: If environment variables are wrong; names each of them.
    """
    settings = load(TransportSettings, PREFIX)
    return Transport(
        ca_file=settings.tls_ca_file,
        certificate_file=settings.tls_certificate_file,
        key_file=settings.tls_key_file,
        server_name=settings.tls_server_name,
        plaintext=settings.plaintext == "allow",
        report=renewals("client"),
    )


def server_transport() -> ServerTransport:
    """Return how connections to this process are protected, by the settings of the environment.

    Raises:
        StartupError: If environment variables are wrong, or a file can't be used.
    """
    return ServerTransport.of(load(TransportSettings, PREFIX))


def _credentials(files: TlsFiles, *, demanding: bool) -> grpc.ServerCredentials:
    """Return credentials that follow the files: gRPC asks at each handshake."""
    used = files.current()

    def newest() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        found = files.current()
        if found is used:
            return None
        used = found
        return _configuration(found)

    # The type stubs lack None, which means that nothing has changed.
    fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", newest)
    return grpc.dynamic_ssl_server_credentials(_configuration(used), fetch, demanding)


def _configuration(contents: TlsContents) -> grpc.ServerCertificateConfiguration:
    if contents.key is None or contents.certificate is None:
        raise ValueError("a server needs a certificate")
    return grpc.ssl_server_certificate_configuration([(contents.key, contents.certificate)], contents.ca)
