"""The messages about changes between processes."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from services.kit.cache import keys
from services.kit.cache.keys import Key


@dataclass(frozen=True)
class Invalidation:
    """Keys of a cache that have changed.

    Attributes:
        sender: The instance that sent the message and has dropped the keys already.
        cache: The name of the cache.
        keys: The keys; None for all.
    """

    sender: UUID
    cache: str
    keys: tuple[Key, ...] | None


def encode(sender: UUID, cache: str, dumped: Collection[str] | None) -> str:
    """Return a message; the keys are given as `keys.dump` wrote them."""
    changed = None if dumped is None else sorted(dumped)
    return json.dumps({"sender": sender.hex, "cache": cache, "keys": changed})


def decode(data: bytes | str) -> Invalidation:
    """Return the content of a message.

    Raises:
        ValueError: If the data is no message, or one of a later release that this release does not understand.
    """
    match json.loads(data):
        case {"sender": str(sender), "cache": str(cache), "keys": None}:
            return Invalidation(UUID(sender), cache, None)
        case {"sender": str(sender), "cache": str(cache), "keys": list(dumped)}:
            return Invalidation(UUID(sender), cache, tuple(_parsed(one) for one in dumped))
    raise ValueError("not a message about a cache")


def _parsed(dumped: object) -> Key:
    if not isinstance(dumped, str):
        raise ValueError("a key is not a text")  # noqa: TRY004 - the content of the message is wrong
    return keys.parse(dumped)
