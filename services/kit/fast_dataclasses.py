"""Frozen dataclasses that are created and changed without their `__init__`: for entities in batches of hundreds.

The `__init__` of a frozen dataclass sets each field with a call, and `dataclasses.replace` inspects each field as well.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def made(kind: type[T], values: Mapping[str, Any]) -> T:
    """Create an instance.

    Args:
        kind: A dataclass without slots and without `__post_init__`.
        values: All of its fields, and nothing else, which is not checked.
    """
    record = kind.__new__(kind)
    record.__dict__.update(values)
    return record


def changed(record: T, **changes: Any) -> T:
    """Return a copy of an instance with some fields changed.

    Args:
        record: An instance of such a dataclass.
        changes: The changed fields.

    Raises:
        TypeError: If the dataclass has no such field.
    """
    present = record.__dict__
    if not changes.keys() <= present.keys():
        raise TypeError(f"{type(record).__name__} has no field {', '.join(sorted(changes.keys() - present.keys()))}")
    return made(type(record), {**present, **changes})
