"""Certificate authorities, and certificates in files as a volume of Kubernetes has them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

# The names of this machine, for servers.
HOSTS = ("localhost", "127.0.0.1")


@dataclass
class Certificates:
    """The files of one side of connections.

    Attributes:
        folder: The folder, which is replaced as a whole at each renewal.
        ca: What signs the certificate.
        trusted: What signs those of the other side.
    """

    folder: Path
    ca: trustme.CA
    trusted: trustme.CA
    names: tuple[str, ...] = HOSTS
    _serial: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.renew()

    @property
    def certificate_file(self) -> Path:
        return self.folder / "current" / "tls.crt"

    @property
    def key_file(self) -> Path:
        return self.folder / "current" / "tls.key"

    @property
    def ca_file(self) -> Path:
        return self.folder / "current" / "ca.crt"

    def renew(
        self, ca: trustme.CA | None = None, *, trusted: Sequence[trustme.CA] = (), expires: datetime | None = None
    ) -> None:
        """Issue another certificate, and swap the files in one step, as Kubernetes does.

        Args:
            ca: What signs it instead.
            trusted: What is trusted instead.
            expires: When it expires.
        """
        issued = (ca or self.ca).issue_cert(*self.names, not_after=expires)
        self._serial += 1
        version = self.folder / str(self._serial)
        version.mkdir()
        (version / "tls.key").write_bytes(issued.private_key_pem.bytes())
        (version / "tls.crt").write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        (version / "ca.crt").write_bytes(b"".join(one.cert_pem.bytes() for one in trusted or (self.trusted,)))
        link = self.folder / "next"
        link.symlink_to(version.name)
        link.replace(self.folder / "current")

    def expire(self) -> None:
        """Replace the certificate by one that has expired."""
        self.renew(expires=datetime.now(UTC) - timedelta(hours=1))

    def server(self, *, demanding: bool = True) -> dict[str, str]:
        """The settings of a service; demanding, it wants certificates of callers."""
        settings = {
            "INNOSYSTEM_TLS_CERTIFICATE_FILE": str(self.certificate_file),
            "INNOSYSTEM_TLS_KEY_FILE": str(self.key_file),
        }
        return settings | ({"INNOSYSTEM_TLS_CLIENT_CA_FILE": str(self.ca_file)} if demanding else {})

    def client(self, *, known: bool = True) -> dict[str, str]:
        """The settings of a caller; known, it has a certificate."""
        settings = {"INNOSYSTEM_TLS_CA_FILE": str(self.ca_file)}
        own = {
            "INNOSYSTEM_TLS_CERTIFICATE_FILE": str(self.certificate_file),
            "INNOSYSTEM_TLS_KEY_FILE": str(self.key_file),
        }
        return settings | (own if known else {})
