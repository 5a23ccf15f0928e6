"""The keys of entries, and their form in messages between processes."""

import json
from typing import TypeAlias
from uuid import UUID

Key: TypeAlias = "UUID | str | int | tuple[Key, ...]"
"""A primary key, a name, or a tuple of such: the parameters of a query."""


def dump(key: Key) -> str:
    """Return a key as JSON that keeps its types: a UUID and its text are different keys.

    Raises:
        TypeError: If the type is not that of a key, which type checkers find first.
    """
    return json.dumps(_plain(key))


def parse(text: str) -> Key:
    """Return the key that `dump` wrote.

    Raises:
        ValueError: If the text was not written by `dump`.
    """
    return _key(json.loads(text))


def _plain(key: object) -> object:
    match key:
        case UUID():
            return {"uuid": key.hex}
        case str() | int():
            return key
        case tuple():
            return [_plain(part) for part in key]
        case _:
            raise TypeError(f"{type(key).__name__} can't be a part of a cache key")


def _key(plain: object) -> Key:
    match plain:
        case {"uuid": str(digits)}:
            return UUID(digits)
        case str() | int():
            return plain
        case list():
            return tuple(_key(part) for part in plain)
        case _:
            raise ValueError(f"{plain!r} is no cache key")
