"""Output for programs: JSON, JSON Lines and YAML with the contract's field names."""

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

_INT64 = frozenset(
    {
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_SINT64,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED64,
    }
)


def to_json(value: Any) -> Any:
    """Convert messages, wherever they are in a value, into JSON values with the contract's field names.

    Unlike in the JSON of gRPC, whole numbers of 64 bits are numbers, so that programs can add amounts. An empty text of
    JSON, such as the `input_json` of a list without inputs, is left out: it means that it was not asked for.
    """
    if isinstance(value, Message):
        found = MessageToDict(value, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        return _for_programs(value.DESCRIPTOR, found)
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """Print one JSON document: an object or a list."""
    print(json.dumps(to_json(value), indent=2, ensure_ascii=False))


def print_json_line(value: Any) -> None:
    """Print one JSON document as a line, immediately."""
    print(json.dumps(to_json(value), ensure_ascii=False), flush=True)


def print_yaml(value: Any) -> None:
    """Print one YAML document."""
    import yaml

    print(yaml.safe_dump(to_json(value), sort_keys=False, allow_unicode=True), end="")


def _for_programs(descriptor: Any, found: dict[str, Any]) -> dict[str, Any]:
    converted = {}
    for name, value in found.items():
        if name.endswith("_json") and value == "":
            continue
        field = descriptor.fields_by_name.get(name)
        converted[name] = value if field is None else _field_for_programs(field, value)
    return converted


def _field_for_programs(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        return {key: _field_for_programs(entry, item) for key, item in value.items()}
    if isinstance(value, list):
        return [_one_for_programs(field, item) for item in value]
    return _one_for_programs(field, value)


def _one_for_programs(field: FieldDescriptor, value: Any) -> Any:
    if field.type in _INT64:
        return int(value)
    # Timestamps and durations are texts.
    if field.message_type is not None and isinstance(value, dict):
        return _for_programs(field.message_type, value)
    return value
