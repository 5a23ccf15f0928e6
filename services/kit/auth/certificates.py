"""Callers with a client certificate: who they are by its SPIFFE ID, which the connection's handshake has verified."""

from collections.abc import Iterable, Mapping
from typing import Final

import structlog

from services.kit.auth.grants import Callers, Grant, check_name, last_part
from services.kit.auth.principal import Principal
from services.kit.auth.sources import Source
from services.kit.errors import BadCredentials, DependencyUnavailable

log = structlog.get_logger(__name__)

CREDENTIAL: Final = "certificate"

# Set by gRPC if the certificate has exactly one URI, of that form. A list of all its names would not tell a URI from
# a DNS name that looks like one.
_SPIFFE_ID: Final = "peer_spiffe_id"
_SCHEME: Final = "spiffe://"
_NOBODY: Final = Callers()


class Certificates:
    """Who the callers with certificates are.

    An operator or a service is one by the name `spiffe://<trust domain>/<kind>/<name>` alone. A client or a runner also
    needs an entry in the mapping, which says what it is bound to.

    Args:
        trust_domain: The platform's trust domain; empty if its certificates are all in the mapping.
        callers: The mapping, if there is one.
    """

    def __init__(self, trust_domain: str, callers: Source[Callers] | None) -> None:
        self._trust_domain = trust_domain
        self._callers = callers

    def __call__(self, connection: Mapping[str, Iterable[bytes]]) -> Principal | None:
        """Return the principal of a connection.

        Args:
            connection: gRPC's authentication context.

        Returns:
            The principal; None if the connection has no certificate, or one without a SPIFFE ID.

        Raises:
            BadCredentials: If the certificate is nobody's here.
            DependencyUnavailable: If the mapping could not be read for too long.
        """
        spiffe_id = b"".join(connection.get(_SPIFFE_ID, ())).decode("ascii", "replace")
        return self._principal(spiffe_id) if spiffe_id else None

    def _principal(self, spiffe_id: str) -> Principal:
        callers = _NOBODY if self._callers is None else self._callers.value
        if callers is None:
            raise DependencyUnavailable("callers mapping", 1)
        if (caller := callers.certificates.get(spiffe_id)) is not None:
            return caller.caller(last_part(spiffe_id), CREDENTIAL)
        try:
            return self._own(spiffe_id)
        except ValueError as error:
            log.info("certificate_refused", spiffe_id=spiffe_id[:300], why=str(error))
            raise BadCredentials from None

    def _own(self, spiffe_id: str) -> Principal:
        domain, _, path = spiffe_id.removeprefix(_SCHEME).partition("/")
        kind, _, name = path.partition("/")
        if not self._trust_domain or domain != self._trust_domain:
            raise ValueError("it is of another trust domain, and the mapping has no entry for it")
        if kind not in ("operator", "service"):
            raise ValueError("only those of operators and services need no entry in the mapping")
        return Grant.model_validate({"kind": kind}).principal(check_name(name), CREDENTIAL)
