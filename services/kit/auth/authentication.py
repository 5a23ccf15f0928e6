"""Authentication: the principal of a call, from its bearer token or the certificate of its connection."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc

from services.kit.auth.principal import ANYONE, Principal
from services.kit.errors import BadCredentials, NoCredentials

AUTHORIZATION_KEY: Final = "authorization"
_BEARER: Final = "bearer "

Certificate = Callable[[Mapping[str, Iterable[bytes]]], Principal | None]


class Bearers(Protocol):
    """One kind of bearer token."""

    def knows(self, token: str) -> bool:
        """Whether a token is of this kind, by its form."""
        ...

    async def principal(self, token: str, peer: str) -> Principal:
        """Return the principal of a token.

        Args:
            token: The token.
            peer: Who has sent it, as gRPC names it: what unknown tokens cost is at the expense of its address.

        Raises:
            BadCredentials: If the token is unknown, forged, expired or revoked; the error does not tell which.
            DependencyUnavailable: If that can't be found out now.
            Overloaded: If the address of its sender sends too many unknown tokens.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Authentication:
    """How callers prove who they are.

    Attributes:
        required: Whether they have to. If not, each call is that of `ANYONE`.
        bearers: The kinds of bearer tokens.
        certificate: Returns the principal of a connection, from gRPC's authentication context; None if it has no
            certificate, or one without a name.
        refresh: Called about every second while the process serves, to read again what credentials are checked with.
        unchecked_seconds: How long a stream continues whose credentials can't be checked again.
    """

    required: bool
    bearers: Sequence[Bearers] = ()
    certificate: Certificate | None = None
    refresh: Callable[[], Awaitable[None]] | None = None
    unchecked_seconds: float = 30

    async def principal(self, context: "grpc.aio.ServicerContext[Any, Any]") -> Principal:
        """Return the principal of a call. A token takes precedence over the connection's certificate.

        Raises:
            NoCredentials: If the call has neither.
            BadCredentials: If it has wrong ones.
            DependencyUnavailable: If that can't be found out now.
        """
        if not self.required:
            return ANYONE
        token = _token(context)
        if token is not None:
            for one in self.bearers:
                if one.knows(token):
                    return await one.principal(token, context.peer())
            raise BadCredentials
        if self.certificate is not None and (found := self.certificate(context.auth_context())) is not None:
            return found
        raise NoCredentials


#: For tests and for services that only their own machine reaches.
OFF: Final = Authentication(required=False)


def _token(context: "grpc.aio.ServicerContext[Any, Any]") -> str | None:
    """Return the bearer token of a call; None if it has no such metadata, and empty if that holds none."""
    for key, value in context.invocation_metadata() or ():
        if key == AUTHORIZATION_KEY:
            text = value if isinstance(value, str) else ""
            return text[len(_BEARER) :].strip() if text[: len(_BEARER)].lower() == _BEARER else ""
    return None
