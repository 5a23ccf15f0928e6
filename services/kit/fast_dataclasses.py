"""Entities of which a batch has hundreds: frozen dataclasses that are made and changed without their `__init__`.

That of a frozen dataclass sets each field by a call of its own, and `dataclasses.replace` looks at each field as well.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def made(kind: type[T], values: Mapping[str, Any]) -> T:
    """Makes an instance.

    Args:
        kind: A dataclass without slots and without `__post_init__`.
        values: All of its fields, and nothing else: nobody checks that.
    """
    record = kind.__new__(kind)
    record.__dict__.update(values)
    return record


def changed(record: T, **changes: Any) -> T:
    """Makes an instance that differs in some fields.

    Args:
        record: An instance of such a dataclass.
        changes: The fields that differ.

    Raises:
        TypeError: If it has no such field.
    """
    present = record.__dict__
    if not changes.keys() <= present.keys():
        raise TypeError(f"{type(record).__name__} has no field {', '.join(sorted(changes.keys() - present.keys()))}")
    return made(type(record), {**present, **changes})
