"""What the contract says about its methods, read from the descriptors of the generated stubs."""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Final

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from innosystem.options.v1 import options_pb2

SERVICE_MODULES: Final = (
    "innosystem.customers.v1.customer_service_pb2",
    "innosystem.jobs.v1.job_service_pb2",
    "innosystem.jobs.v1.job_type_service_pb2",
    "innosystem.wallets.v1.wallet_service_pb2",
)


@cache
def services() -> tuple[ServiceDescriptor, ...]:
    """List every service of the platform."""
    return tuple(
        service for module in SERVICE_MODULES for service in import_module(module).DESCRIPTOR.services_by_name.values()
    )


def policy_of(method: MethodDescriptor) -> options_pb2.MethodPolicy:
    """Tell who may call a method and whether it may be called twice.

    Args:
        method: A method of one of the `services`.
    """
    return method.GetOptions().Extensions[options_pb2.method]


def safe_to_repeat() -> Iterator[MethodDescriptor]:
    """List the methods whose requests may be sent again when no answer came."""
    for service in services():
        for method in service.methods:
            if policy_of(method).repeat == options_pb2.REPEAT_SAFE:
                yield method
