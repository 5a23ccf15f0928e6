"""Checks of requests against the rules of the contract.

The stubs that users install carry no rules, so that they depend on nothing of buf's. The SDK ships the full contract
beside them, as descriptors; this module loads it into a pool of its own, and parses a message into a class of that pool
to check it.
"""

from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import protovalidate
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from services.kit.errors import BatchTooLarge, DomainError, FieldViolation, InvalidField

M = TypeVar("M", bound=Message)

# Replacements for the library's messages that describe a rule in place of the right value.
_MESSAGES = {
    "required": "must be set",
    "string.uuid_empty": "must be a valid UUID; it is empty",
    "string.email_empty": "must be a valid email address; it is empty",
}
_NO_NUL = r"^[^\x00]*$"


class ContractValidator:
    """The rules of all messages of the contract. Created once per process; a check takes a few microseconds."""

    def __init__(self) -> None:
        contract = resources.files("innosystem.options").joinpath("contract.binpb").read_bytes()
        pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(contract).file:
            pool.Add(file)
        self._validator = protovalidate.Validator()
        self._class_of = cache(lambda name: GetMessageClass(pool.FindMessageTypeByName(name)))

    def warm_up(self, message_name: str) -> None:
        """Compile the rules of a message, so that the first request does not wait for it."""
        self._validator.collect_violations(self._class_of(message_name)())

    def check(self, message: Message, prefix: str = "") -> None:
        """Check a message.

        Args:
            message: A message of the stubs.
            prefix: The prefix of the fields' names, such as `requests[3].`.

        Raises:
            InvalidField: If fields break rules; names each of them.
            BatchTooLarge: If a list has too many items.
        """
        whole = self._class_of(message.DESCRIPTOR.full_name).FromString(message.SerializeToString())
        violations = self._validator.collect_violations(whole)
        if violations:
            raise _error(violations, prefix)

    def reader(self, name: str, deserialize: Callable[[bytes], M]) -> Callable[[bytes], M]:
        """Return a function that parses requests of one type and checks them.

        The rules of the type are compiled immediately, which saves the first request some milliseconds.

        Args:
            name: The full name of the message.
            deserialize: Parses a message of the stubs.

        Returns:
            A function that returns the message or raises the errors of `check`, and `InvalidField` for bytes that are
            no such message.

        Raises:
            KeyError: If the contract lacks the message.
        """
        parse = self._class_of(name).FromString
        collect = self._validator.collect_violations
        collect(parse(b""))

        def read(raw: bytes) -> M:
            try:
                violations = collect(parse(raw))
                message = deserialize(raw)
            except DecodeError:
                raise InvalidField.of("request", f"must be the bytes of a {name}, with texts in UTF-8") from None
            if violations:
                raise _error(violations, "")
            return message

        return read


def _error(violations: list[protovalidate.Violation], prefix: str) -> DomainError:
    for violation in violations:
        if violation.proto.rule_id == "repeated.max_items":
            too_large = BatchTooLarge(len(violation.field_value), violation.rule_value)
            return too_large.within(prefix + _path(violation.proto.field))
    return InvalidField(
        tuple(
            FieldViolation(prefix + _path(violation.proto.field), _description(violation)) for violation in violations
        )
    )


def _description(violation: protovalidate.Violation) -> str:
    """Describe the right value. Rules with messages in the contract keep those."""
    rule, message = violation.proto.rule_id, violation.proto.message
    if rule == "string.pattern":
        pattern = violation.rule_value
        return "must not contain NUL characters" if pattern == _NO_NUL else f"must match {pattern}"
    if rule == "enum.defined_only":
        return "must be one of the values that the contract names"
    return _MESSAGES.get(rule) or message or f"must follow the rule {rule}"


def _path(path: Any) -> str:
    """Return the readable path of a field: `customer.email`, `requests[3].job_id`, `labels["a"]`."""
    steps = []
    for element in path.elements if path else ():
        subscript = element.subscript
        suffix = ""
        if subscript is not None:
            value = subscript.value
            suffix = f'["{value}"]' if isinstance(value, str) else f"[{value}]"
        steps.append(element.field_name + suffix)
    return ".".join(steps)
