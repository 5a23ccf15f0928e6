"""Server reflection: clients such as grpcurl read the contract with its comments and its rules.

The library alone would show neither, because stubs have neither, and would not find methods by name.
"""

from collections.abc import Sequence
from importlib import resources
from typing import Any, cast

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server


class _File:
    """A file of a pool, as the library uses it, with the contents that were compiled."""

    def __init__(self, descriptor: FileDescriptor, sources: dict[str, FileDescriptorProto]) -> None:
        self.name = descriptor.name
        self._descriptor = descriptor
        self._sources = sources

    @property
    def dependencies(self) -> list["_File"]:
        return [_File(one, self._sources) for one in self._descriptor.dependencies]

    def CopyToProto(self, proto: FileDescriptorProto) -> None:  # noqa: N802 - the library calls it
        if self.name in self._sources:
            proto.CopyFrom(self._sources[self.name])
        else:
            self._descriptor.CopyToProto(proto)


class ContractPool:
    """A descriptor pool for the library: the full contract first, then everything else that this process serves."""

    def __init__(self) -> None:
        contract = resources.files("innosystem.options").joinpath("contract.binpb").read_bytes()
        self._sources = {file.name: file for file in FileDescriptorSet.FromString(contract).file}
        self._contract = descriptor_pool.DescriptorPool()
        for file in self._sources.values():
            self._contract.Add(file)

    def FindFileByName(self, name: str) -> _File:  # noqa: N802 - the library calls it, as all below
        """Return a file; KeyError if it does not exist."""
        return _File(self._first("FindFileByName", name), self._sources)

    def FindFileContainingSymbol(self, symbol: str) -> _File:  # noqa: N802
        """Return the file that declares a message, an enum, a service or a method; KeyError if none does."""
        try:
            file = self._first("FindFileContainingSymbol", symbol)
        except KeyError:
            file = self._first("FindMethodByName", symbol).containing_service.file
        return _File(file, self._sources)

    def FindMessageTypeByName(self, name: str) -> Any:  # noqa: N802
        """Return a message; KeyError if it does not exist."""
        return self._first("FindMessageTypeByName", name)

    def FindExtensionByNumber(self, message: Any, number: int) -> Any:  # noqa: N802
        """Return an extension of a message; KeyError if it does not exist."""
        return message.file.pool.FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Any) -> Any:  # noqa: N802
        """Return all extensions of a message."""
        return message.file.pool.FindAllExtensions(message)

    def _first(self, find: str, name: str) -> Any:
        try:
            return getattr(self._contract, find)(name)
        except KeyError:
            return getattr(descriptor_pool.Default(), find)(name)


def enable(services: Sequence[str], server: grpc.aio.Server) -> None:
    """Add reflection to a server.

    Args:
        services: The full names of the services to show, besides reflection itself.
        server: The server, before its start, or its stand-in.
    """
    pool = cast("descriptor_pool.DescriptorPool", ContractPool())
    # The library's own function would take the stand-in for a synchronous server.
    servicer = reflection.aio.ReflectionServicer([*services, reflection.SERVICE_NAME], pool=pool)
    add_ServerReflectionServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
