"""Methods have to declare who may call them and whether they may be repeated."""

from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

from innosystem.client.contract import services
from innosystem.options.v1 import options_pb2
from services.kit.rpc.policy import check_policies, check_policy
from services.kit.settings import StartupError


def method(*callers: int, repeat: int = options_pb2.REPEAT_UNSPECIFIED, **others: Any) -> MethodDescriptor:
    file = FileDescriptorProto(name="shop.proto", package="shop", syntax="proto3")
    nothing = file.message_type.add(name="Nothing")
    nothing.field.add(name="token", number=1, type=FieldDescriptorProto.TYPE_STRING)
    nothing.field.add(name="count", number=2, type=FieldDescriptorProto.TYPE_INT32)
    described = file.service.add(name="Shop").method.add(
        name="Sell", input_type=".shop.Nothing", output_type=".shop.Nothing"
    )
    policy = options_pb2.MethodPolicy(callers=callers, repeat=repeat, **others)  # type: ignore[arg-type] # numbers, unknown ones too
    described.options.Extensions[options_pb2.method].CopyFrom(policy)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("shop.Shop").FindMethodByName("Sell")


def test_a_method_with_callers_and_repeat_may_be_served() -> None:
    check_policy(method(options_pb2.CALLER_CLIENT, repeat=options_pb2.REPEAT_UNSAFE))


@pytest.mark.parametrize(
    "described",
    [
        method(),
        method(options_pb2.CALLER_CLIENT),
        method(repeat=options_pb2.REPEAT_SAFE),
        method(options_pb2.CALLER_UNSPECIFIED, repeat=options_pb2.REPEAT_SAFE),
    ],
    ids=["nothing", "repeat missing", "callers missing", "caller unspecified"],
)
def test_a_method_that_leaves_something_out_may_not(described: MethodDescriptor) -> None:
    with pytest.raises(StartupError, match=r"shop\.Shop\.Sell has no policy"):
        check_policy(described)


def test_a_method_whose_request_has_the_credentials_may_be_served() -> None:
    check_policy(method(options_pb2.CALLER_CALLBACK, repeat=options_pb2.REPEAT_SAFE, credential="token"))


@pytest.mark.parametrize(
    ("callers", "others"),
    [
        ([options_pb2.CALLER_CALLBACK], {}),
        ([options_pb2.CALLER_CALLBACK], {"credential": "missing"}),
        ([options_pb2.CALLER_CALLBACK], {"credential": "count"}),
        ([options_pb2.CALLER_CALLBACK, options_pb2.CALLER_CLIENT], {"credential": "token"}),
        ([options_pb2.CALLER_CLIENT], {"credential": "token"}),
        ([options_pb2.CALLER_CALLBACK], {"credential": "token", "binding": options_pb2.BINDING_OWN}),
        ([options_pb2.CALLER_CALLBACK], {"credential": "token", "scope": options_pb2.SCOPE_READ}),
    ],
    ids=["no field", "no such field", "no text", "others too", "others only", "bound", "with a scope"],
)
def test_a_method_whose_callers_would_prove_nothing_may_not(callers: list[int], others: dict[str, Any]) -> None:
    with pytest.raises(StartupError, match=r"shop\.Shop\.Sell is for CALLER_CALLBACK or has a credential"):
        check_policy(method(*callers, repeat=options_pb2.REPEAT_SAFE, **others))


def test_every_service_of_the_contract_may_be_served() -> None:
    assert len(services()) >= 4
    for service in services():
        check_policies(service)
