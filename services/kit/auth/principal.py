"""The principal of the call that is being served: who calls, and what is theirs."""

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final
from uuid import UUID

from services.kit.auth.tenants import ALL_TENANTS, Tenants
from services.kit.rates import NO_EXCEPTIONS, CustomerLimits


class Kind(StrEnum):
    """A kind of caller, as the contract's `Caller`."""

    CLIENT = "CLIENT"
    RUNNER = "RUNNER"
    OPERATOR = "OPERATOR"
    SERVICE = "SERVICE"


class Scope(StrEnum):
    """What an API key may be allowed to do, as the contract's `Scope`."""

    READ = "READ"
    SUBMIT = "SUBMIT"


#: How a caller has proved itself that sent an API key of a customer.
API_KEY: Final = "api_key"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """An authenticated caller.

    Attributes:
        kind: What the contract lets it call; None for `ANYONE`.
        name: Its name among those of its kind.
        customers: The customers that it is bound to; None for all.
        queues: The queues that it is bound to; None for all.
        scopes: What its API key may do; None for everything that its kind may.
        credential: How it has proved itself: `certificate`, `token` or `api_key`.
        limits: The limits of its customer that differ from the settings, if its credential tells them.
    """

    kind: Kind | None
    name: str
    customers: frozenset[UUID] | None = None
    queues: frozenset[str] | None = None
    scopes: frozenset[Scope] | None = None
    credential: str = ""
    limits: CustomerLimits = NO_EXCEPTIONS

    @cached_property
    def actor(self) -> str:
        """The name in the audit trail, in logs and in limits, such as `operator/ada`; empty for `ANYONE`."""
        return f"{self.kind.lower()}/{self.name}" if self.kind else ""

    @property
    def is_bound(self) -> bool:
        """Whether some customers or queues are not its own."""
        return self.customers is not None or self.queues is not None

    @cached_property
    def tenants(self) -> Tenants:
        """Whose things exist for this caller."""
        return Tenants(self.customers, self.queues) if self.is_bound else ALL_TENANTS


#: Any caller where no authentication is required, and work that a process does by itself.
ANYONE = Principal(kind=None, name="")

#: The principal of the call that is being served. Work that is shared by several calls must not read it.
principal: ContextVar[Principal] = ContextVar("principal", default=ANYONE)
