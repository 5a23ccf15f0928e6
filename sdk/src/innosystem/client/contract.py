"""The options of the contract's methods, read from the descriptors of the generated stubs."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from innosystem.options.v1 import options_pb2

SERVICE_MODULES: Final = (
    "innosystem.customers.v1.customer_service_pb2",
    "innosystem.jobs.v1.job_service_pb2",
    "innosystem.jobs.v1.job_type_service_pb2",
    "innosystem.wallets.v1.wallet_service_pb2",
)


@cache
def services() -> tuple[ServiceDescriptor, ...]:
    """Return all services of the platform."""
    return tuple(
        service for module in SERVICE_MODULES for service in import_module(module).DESCRIPTOR.services_by_name.values()
    )


def policy_of(method: MethodDescriptor) -> options_pb2.MethodPolicy:
    """Return which callers a method admits, and whether it is safe to repeat.

    Args:
        method: A method of one of the `services`.
    """
    return method.GetOptions().Extensions[options_pb2.method]


@cache
def id_paths() -> Mapping[str, tuple[str, ...]]:
    """Return which IDs the client generates to make calls safe to repeat.

    Returns:
        The path of the ID, a part of which may be a repeated field, by the full name of the request.
    """
    methods = {method.input_type: tuple(policy_of(method).identity.split(".")) for method in _identified()}
    return {request.full_name: path for request, path in methods.items() if _is_text(request, path)}


def safe_to_repeat() -> Iterator[MethodDescriptor]:
    """Yield the methods whose requests, as this client sends them, may be repeated without a response."""
    for service in services():
        for method in service.methods:
            if policy_of(method).repeat == options_pb2.REPEAT_SAFE or method.input_type.full_name in id_paths():
                yield method


@cache
def repeatable_methods() -> frozenset[str]:
    """Return the methods of `safe_to_repeat`, as they are called: `/package.Service/Method`."""
    return frozenset(f"/{method.containing_service.full_name}/{method.name}" for method in safe_to_repeat())


def _identified() -> Iterator[MethodDescriptor]:
    for service in services():
        for method in service.methods:
            if policy_of(method).repeat == options_pb2.REPEAT_SAFE_WITH_IDENTITY:
                yield method


def _is_text(request: Descriptor, path: Sequence[str]) -> bool:
    """Return whether the identity is an ID, which the client can generate; a number is state of the caller."""
    first, *rest = path
    field = request.fields_by_name[first]
    if field.message_type is not None:
        return _is_text(field.message_type, rest)
    return field.type == FieldDescriptor.TYPE_STRING
