"""Every method that the servers have: those of the contract with its rules, health and reflection."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from innosystem.customers.v1 import customer_service_pb2
from innosystem.jobs.v1 import job_service_pb2, job_type_service_pb2
from innosystem.options.v1 import options_pb2
from innosystem.wallets.v1 import wallet_service_pb2

_FILES = {
    "customers": (customer_service_pb2,),
    "wallets": (wallet_service_pb2,),
    "jobs": (job_service_pb2, job_type_service_pb2),
}
# Those for which the contract requires it, so that its policy does not name it.
_IDENTITIES = {"PlaceHold": "hold_id", "BatchPlaceHolds": "requests.hold_id"}
_STANDARD = (health_pb2, reflection_pb2)


@dataclass(frozen=True)
class Method:
    """A method of a server.

    Attributes:
        server: The service that serves it: `customers`, `wallets` or `jobs`.
        path: `/package.Service/Method`.
        request: The type of its requests, with the rules of the contract.
        takes_stream: Whether it takes a stream of requests.
        streams: Whether it streams its responses.
        standard: Whether it is of health or reflection, whose errors have no reason of the contract.
        response: The class of its responses; None if the method does not exist.
        identity: The field with the ID of what it creates; empty if it creates nothing.
        policy: What the contract says about its callers; None if it does not exist there.
    """

    server: str
    path: str
    request: Descriptor
    takes_stream: bool = False
    streams: bool = False
    standard: bool = False
    response: type[Message] | None = None
    identity: str = ""
    policy: options_pb2.MethodPolicy | None = None

    @property
    def listed(self) -> Sequence[str]:
        """The fields of what it lists."""
        fields: Any = self.response.DESCRIPTOR.fields if self.response is not None else ()
        items = [one.message_type for one in fields if one.is_repeated and one.message_type]
        return [field.name for item in items for field in item.fields]

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path.rpartition("/")[2]


def methods() -> Sequence[Method]:
    """Return all methods, in the same order each time."""
    pool = contract()
    found: list[Method] = []
    for server, files in _FILES.items():
        for file in (*files, *_STANDARD):
            standard = file in _STANDARD
            for service in file.DESCRIPTOR.services_by_name.values():
                rules = service if standard else pool.FindServiceByName(service.full_name)
                found += _methods(server, service, rules, standard=standard)
    return found


def _methods(server: str, service: ServiceDescriptor, rules: ServiceDescriptor, *, standard: bool) -> list[Method]:
    return [
        Method(
            server,
            f"/{service.full_name}/{method.name}",
            rules.FindMethodByName(method.name).input_type,
            method.client_streaming,
            method.server_streaming,
            standard,
            GetMessageClass(method.output_type),
            method.GetOptions().Extensions[options_pb2.method].identity or _IDENTITIES.get(method.name, ""),
            None if standard else method.GetOptions().Extensions[options_pb2.method],
        )
        for method in service.methods
    ]


@cache
def contract() -> DescriptorPool:
    """The contract with its rules, which the stubs are without."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(
        resources.files("innosystem.options").joinpath("contract.binpb").read_bytes()
    ).file:
        pool.Add(file)
    return pool


@cache
def rules(field: FieldDescriptor) -> Any:
    """The rules of a field, as buf.validate.FieldRules."""
    pool = contract()
    options = GetMessageClass(pool.FindMessageTypeByName("google.protobuf.FieldOptions"))
    read = options.FromString(field.GetOptions().SerializeToString())
    extension: Any = pool.FindExtensionByName("buf.validate.field")
    return read.Extensions[extension]
