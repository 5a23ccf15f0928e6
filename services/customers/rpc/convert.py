"""Conversion between the messages of the customers contract and the domain."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, ParseDict

from innosystem.customers.v1 import customer_pb2
from innosystem.customers.v1 import customer_service_pb2 as pb
from innosystem.options.v1 import options_pb2
from services.customers.rules.api_keys import ApiKey
from services.customers.rules.entities import Customer
from services.kit.auth.principal import Scope
from services.kit.errors import DomainError
from services.kit.rpc.convert import numbers, timestamp
from services.kit.rpc.status import to_status

_SCOPES: Final = numbers(Scope, options_pb2.Scope, "SCOPE_")


def customer_message(customer: Customer) -> customer_pb2.Customer:
    """Return the customer as clients see it: no hash leaves the service."""
    return customer_pb2.Customer(
        id=str(customer.id),
        name=customer.name,
        email=customer.email,
        api_key_prefix=customer.api_key_prefix,
        active=customer.active,
        created_at=timestamp(customer.created_at),
        updated_at=timestamp(customer.updated_at),
        etag=customer.etag,
        limits=None if customer.limits is None else ParseDict(dict(customer.limits), customer_pb2.CustomerLimits()),
    )


def stored_limits(limits: customer_pb2.CustomerLimits) -> Mapping[str, Any] | None:
    """Return limits as they are stored; None if they have none."""
    return MessageToDict(limits, preserving_proto_field_name=True) or None


def customer_result(result: Customer | DomainError) -> pb.BatchGetCustomersResult:
    """Return the result of one ID of a batch."""
    if isinstance(result, DomainError):
        return pb.BatchGetCustomersResult(error=to_status(result))
    return pb.BatchGetCustomersResult(customer=customer_message(result))


def api_key_message(key: ApiKey) -> customer_pb2.ApiKey:
    """Return the key as clients see it: no hash leaves the service."""
    return customer_pb2.ApiKey(
        id=str(key.id),
        customer_id=str(key.customer_id),
        prefix=key.prefix,
        created_at=timestamp(key.created_at),
        expires_at=timestamp(key.expires_at),
        name=key.name,
        scopes=sorted(_SCOPES[scope] for scope in key.scopes),
        last_used_at=timestamp(key.last_used_at),
    )


def scopes(asked: Collection[int]) -> frozenset[Scope]:
    """Return the scopes of a request, which the contract has checked."""
    return frozenset(scope for scope, number in _SCOPES.items() if number in asked)
