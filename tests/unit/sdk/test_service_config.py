import json
from importlib.resources import files

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor

from innosystem.client.contract import policy_of, safe_to_repeat, services
from innosystem.client.service_config import service_config
from innosystem.options.v1 import options_pb2


def test_only_methods_declared_safe_have_a_retry_policy() -> None:
    config = json.loads(service_config())
    named = {(entry["service"], entry["method"]) for group in config["methodConfig"] for entry in group["name"]}
    declared = {
        (service.full_name, method.name): policy_of(method).repeat
        for service in services()
        for method in service.methods
    }
    # A request that is safe only with a value that the caller has read may lack that value.
    assert ("innosystem.jobs.v1.JobService", "RetryJob") not in named
    safe = {options_pb2.REPEAT_SAFE, options_pb2.REPEAT_SAFE_WITH_IDENTITY}
    assert {key for key, repeat in declared.items() if repeat in safe} - named == {
        ("innosystem.jobs.v1.JobService", "RetryJob")
    }
    assert not {key for key, repeat in declared.items() if repeat not in safe} & named
    assert ("innosystem.jobs.v1.JobService", "CreateJob") in named
    assert ("innosystem.customers.v1.CustomerService", "UpdateCustomer") not in named


def test_an_identity_is_a_field_of_the_request_and_given_where_it_is_needed() -> None:
    for service in services():
        for method in service.methods:
            policy = policy_of(method)
            needed = policy.repeat == options_pb2.REPEAT_SAFE_WITH_IDENTITY
            assert bool(policy.identity) == needed, method.full_name
            message: Descriptor | None = method.input_type
            for part in policy.identity.split(".") if needed else ():
                assert message is not None, method.full_name
                message = message.fields_by_name[part].message_type


def test_only_calls_that_no_server_handled_are_retried_and_within_the_limits_of_grpc() -> None:
    config = json.loads(service_config())
    for group in config["methodConfig"]:
        policy = group["retryPolicy"]
        assert policy["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"]
        assert policy["maxAttempts"] == 5
        # Below 10 ms gRPC can hang.
        assert float(policy["initialBackoff"].removesuffix("s")) >= 0.01
        # gRPC's core handles the timeout of a service config incorrectly.
        assert "timeout" not in group
    assert config["retryThrottling"]["maxTokens"] > 0
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]


def test_every_service_of_the_contract_is_known_to_the_client() -> None:
    contract = files("innosystem.options").joinpath("contract.binpb").read_bytes()
    in_contract = {
        f"{file.package}.{service.name}"
        for file in descriptor_pb2.FileDescriptorSet.FromString(contract).file
        for service in file.service
    }
    assert in_contract == {service.full_name for service in services()}
    assert in_contract


def test_every_method_declares_its_callers_and_whether_it_may_be_repeated() -> None:
    for service in services():
        for method in service.methods:
            policy = policy_of(method)
            assert policy.callers, method.full_name
            assert policy.repeat != options_pb2.REPEAT_UNSPECIFIED, method.full_name
    assert list(safe_to_repeat())
