"""What the contract says about the callers of a method."""

from dataclasses import dataclass
from enum import Enum
from typing import Self

from google.protobuf.descriptor import MethodDescriptor

from innosystem.options.v1 import options_pb2
from services.kit.auth.principal import ANYONE, Kind, Principal, Scope
from services.kit.errors import NotAllowed

_KINDS = {
    options_pb2.CALLER_CLIENT: Kind.CLIENT,
    options_pb2.CALLER_RUNNER: Kind.RUNNER,
    options_pb2.CALLER_OPERATOR: Kind.OPERATOR,
    options_pb2.CALLER_SERVICE: Kind.SERVICE,
}
_SCOPES = {options_pb2.SCOPE_READ: Scope.READ, options_pb2.SCOPE_SUBMIT: Scope.SUBMIT}


class Binding(Enum):
    """What a bound caller gets from a method, as the contract's `Binding`."""

    NOTHING = options_pb2.BINDING_UNSPECIFIED
    OWN = options_pb2.BINDING_OWN
    SHARED = options_pb2.BINDING_SHARED


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The callers of one method.

    Attributes:
        method: The full name of the method, such as `innosystem.jobs.v1.JobService.CreateJob`.
        callers: The kinds of callers that may use it.
        binding: What a bound caller gets.
        scope: What an API key must be allowed; None if no API key may use the method.
        credential: The field of the request by which callers prove themselves, in place of credentials of the call.
    """

    method: str
    callers: frozenset[Kind]
    binding: Binding = Binding.NOTHING
    scope: Scope | None = None
    credential: str = ""

    @classmethod
    def of(cls, method: MethodDescriptor) -> Self:
        """Read the rule of a method. A method without a policy admits nobody, and values of later releases nothing."""
        policy = method.GetOptions().Extensions[options_pb2.method]
        known = policy.binding in options_pb2.Binding.values()
        return cls(
            method=method.full_name,
            callers=frozenset(_KINDS[caller] for caller in policy.callers if caller in _KINDS),
            binding=Binding(policy.binding) if known else Binding.NOTHING,
            scope=_SCOPES.get(policy.scope),
            credential=policy.credential if policy.callers == [options_pb2.CALLER_CALLBACK] else "",
        )

    def check(self, who: Principal) -> None:
        """Check that a caller may use the method.

        Raises:
            NotAllowed: If it may not.
        """
        if who is ANYONE:
            return
        allowed = who.kind in self.callers
        if who.is_bound:
            allowed &= self.binding is not Binding.NOTHING
        if who.scopes is not None:
            allowed &= self.scope in who.scopes
        if not allowed:
            raise NotAllowed(self.method, (who.kind or "").lower())
