"""The layers around every call, from the outside in: log, span, errors, deadline, drain, caller, rates, load, contract.

The stack is built once for each method, when its service is registered, and is the method's handler for gRPC: gRPC
would call an interceptor again for each call.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from services.kit.auth.authentication import Authentication
from services.kit.auth.principal import Kind
from services.kit.auth.rule import Binding, Rule
from services.kit.limits.limits import UNLIMITED, Limits
from services.kit.rpc.for_tenants import takes_tenants
from services.kit.rpc.layers.access_log import logged
from services.kit.rpc.layers.authorization import authorized, proven_by_request
from services.kit.rpc.layers.call import Call, streaming
from services.kit.rpc.layers.concurrency import limited, limited_stream
from services.kit.rpc.layers.contract import checked, parsed
from services.kit.rpc.layers.deadline import timed
from services.kit.rpc.layers.drain import drained, ended_at_drain
from services.kit.rpc.layers.errors import reported
from services.kit.rpc.layers.load import Load
from services.kit.rpc.layers.rates import rated
from services.kit.rpc.layers.tracing import traced
from services.kit.rpc.validation import ContractValidator
from services.kit.settings import StartupError

__all__ = ["Layers", "Load"]

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

# These have no policy, no rules and nothing to drain, and must work while all other calls are refused.
_REFLECTION = "/grpc.reflection."
_EXEMPT = ("/grpc.health.", _REFLECTION)


@dataclass(frozen=True)
class Layers:
    """The layers of one server.

    Attributes:
        load: The server's load, shared with the server.
        deadline_seconds_max: How long a call without a deadline may take. Streams without a deadline last as long as
            their readers want.
        authentication: How callers prove who they are.
        validator: The rules of the contract.
        open_reflection: Whether reflection shows the contract to everybody, and not only to operators.
        limits: The limits of callers.
    """

    load: Load
    deadline_seconds_max: float
    authentication: Authentication
    validator: ContractValidator = field(default_factory=ContractValidator)
    open_reflection: bool = False
    limits: Limits = UNLIMITED

    def around(self, method: str, handler: "Handler") -> "Handler":
        """Return a method's handler wrapped in the layers.

        Args:
            method: The full name of the method: `/package.Service/Method`.
            handler: The registered handler, which is not changed.

        Raises:
            StartupError: If callers get only what is theirs by the contract, and the handler does not ask whose it is.
        """
        call = _call(handler)
        if method.startswith(_EXEMPT):
            call = parsed(call, cast("Callable[[bytes], Any]", handler.request_deserializer))
            if method.startswith(_REFLECTION) and not self.open_reflection:
                call = authorized(call, _operators_only(method), self.authentication)
            if handler.response_streaming:
                call = ended_at_drain(call, self.load)
            return _like(handler, logged(method, reported(call), quiet=True))
        call = checked(call, self._reader(method, handler))
        limit = limited_stream if handler.response_streaming else limited
        rule = Rule.of(_described(method))
        if rule.binding is Binding.OWN and not takes_tenants(_behavior(handler)):
            raise StartupError(
                f"{rule.method} has BINDING_OWN in the contract: its servicer's method needs @for_tenants"
            )
        call = rated(limit(call, self.load), self.limits, streams=handler.response_streaming)
        if rule.credential:
            call = proven_by_request(call)
        else:
            call = authorized(call, rule, self.authentication, streams=handler.response_streaming)
        call = drained(call, self.load)
        call = timed(call, None if handler.response_streaming else self.deadline_seconds_max)
        call = logged(method, traced(method, reported(call)), streams=handler.response_streaming)
        return _like(handler, call)

    def _reader(self, method: str, handler: "Handler") -> Callable[[bytes], Any]:
        deserialize = cast("Callable[[bytes], Any]", handler.request_deserializer)
        return self.validator.reader(_described(method).input_type.full_name, deserialize)


def _operators_only(method: str) -> Rule:
    return Rule(method=method.removeprefix("/").replace("/", "."), callers=frozenset({Kind.OPERATOR}))


def _described(method: str) -> MethodDescriptor:
    service, _, name = method.removeprefix("/").partition("/")
    return descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name)


def _call(handler: "Handler") -> Call:
    behavior = _behavior(handler)
    return streaming(behavior) if handler.response_streaming else behavior


def _behavior(handler: "Handler") -> Call:
    if handler.response_streaming:
        return cast("Call", handler.unary_stream or handler.stream_stream)
    return cast("Call", handler.unary_unary or handler.stream_unary)


def _like(handler: "Handler", call: Call) -> "Handler":
    """Return a handler of the same kind with another call, which parses the request itself.

    So the layers also handle bytes that are no request.
    """
    kinds: dict[tuple[bool, bool], Callable[..., Handler]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    create = kinds[handler.request_streaming, handler.response_streaming]
    return create(call, response_serializer=handler.response_serializer)
