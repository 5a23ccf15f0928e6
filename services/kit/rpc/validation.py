"""Checks requests against the rules of the contract.

The stubs that users install carry no rules, so that they need nothing of buf's. The SDK ships the full contract beside them,
as descriptors; it is loaded into a pool of its own here, and a message is read into a class of that pool to be checked.
"""

from functools import cache
from importlib import resources
from typing import Any

import protovalidate
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from services.kit.errors import BatchTooLarge, DomainError, FieldViolation, InvalidField


class ContractValidator:
    """Knows the rules of all messages of the contract. Made once a process; checking takes a few microseconds."""

    def __init__(self) -> None:
        contract = resources.files("innosystem.options").joinpath("contract.binpb").read_bytes()
        pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(contract).file:
            pool.Add(file)
        self._validator = protovalidate.Validator()
        self._class_of = cache(lambda name: GetMessageClass(pool.FindMessageTypeByName(name)))

    def warm_up(self, message_name: str) -> None:
        """Compiles the rules of a message, so that the first request does not wait for it."""
        self._validator.collect_violations(self._class_of(message_name)())

    def check(self, message: Message, prefix: str = "") -> None:
        """Checks a message.

        Args:
            message: A message of the stubs.
            prefix: Put before the fields' names, such as `requests[3].`.

        Raises:
            InvalidField: Naming each field that breaks a rule.
            BatchTooLarge: If a list has too many items.
        """
        whole = self._class_of(message.DESCRIPTOR.full_name).FromString(message.SerializeToString())
        violations = self._validator.collect_violations(whole)
        if violations:
            raise _error(violations, prefix)


def _error(violations: list[protovalidate.Violation], prefix: str) -> DomainError:
    for violation in violations:
        if violation.proto.rule_id == "repeated.max_items":
            return BatchTooLarge(len(violation.field_value), violation.rule_value)
    return InvalidField(
        tuple(
            FieldViolation(prefix + _path(violation.proto.field), violation.proto.message or violation.proto.rule_id)
            for violation in violations
        )
    )


def _path(path: Any) -> str:
    """The path of a field as people write it: `customer.email`, `requests[3].job_id`, `labels["a"]`."""
    steps = []
    for element in path.elements if path else ():
        subscript = element.subscript
        suffix = ""
        if subscript is not None:
            value = subscript.value
            suffix = f'["{value}"]' if isinstance(value, str) else f"[{value}]"
        steps.append(element.field_name + suffix)
    return ".".join(steps)
