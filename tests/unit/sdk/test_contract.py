from importlib.resources import files

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from innosystem.jobs.v1 import job_service_pb2
from innosystem.wallets.v1 import wallet_service_pb2

RULES = "buf/validate/validate.proto"


def full_contract() -> dict[str, FileDescriptorProto]:
    content = files("innosystem.options").joinpath("contract.binpb").read_bytes()
    return {file.name: file for file in FileDescriptorSet.FromString(content).file}


def test_the_full_contract_keeps_the_validation_rules_and_everything_it_imports() -> None:
    contract = full_contract()
    for file in contract.values():
        assert contract.keys() >= set(file.dependency), file.name
    job_service = contract["innosystem/jobs/v1/job_service.proto"]
    assert RULES in job_service.dependency
    (create,) = (item for item in job_service.message_type if item.name == "CreateJobRequest")
    assert create.field[0].name == "job_id"
    assert create.field[0].options.ByteSize() > 0


def test_the_stubs_carry_no_validation_rules() -> None:
    for module in (job_service_pb2, wallet_service_pb2):
        file = FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        assert RULES not in file.dependency
        for message in file.message_type:
            assert not message.options.ByteSize(), message.name
            for field in message.field:
                assert not field.options.ByteSize(), f"{message.name}.{field.name}"
            for oneof in message.oneof_decl:
                assert not oneof.options.ByteSize(), f"{message.name}.{oneof.name}"


def test_the_stubs_describe_the_same_messages_as_the_full_contract() -> None:
    file = FileDescriptorProto.FromString(job_service_pb2.DESCRIPTOR.serialized_pb)
    full = full_contract()[file.name]
    assert [message.name for message in file.message_type] == [message.name for message in full.message_type]
    assert [service.SerializeToString() for service in file.service] == [
        service.SerializeToString() for service in full.service
    ]
