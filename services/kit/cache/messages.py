"""What processes tell each other about changes."""

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
        sender: The instance that tells it, which has dropped them already.
        cache: The name of the cache.
        keys: Which; None for all.
    """

    sender: UUID
    cache: str
    keys: tuple[Key, ...] | None


def encode(sender: UUID, cache: str, dumped: Collection[str] | None) -> str:
    """Writes a message; the keys are given as `keys.dump` wrote them."""
    told = None if dumped is None else sorted(dumped)
    return json.dumps({"sender": sender.hex, "cache": cache, "keys": told})


def decode(data: bytes | str) -> Invalidation:
    """Reads a message.

    Raises:
        ValueError: If it is none, or one of a later release that this one does not understand.
    """
    match json.loads(data):
        case {"sender": str(sender), "cache": str(cache), "keys": None}:
            return Invalidation(UUID(sender), cache, None)
        case {"sender": str(sender), "cache": str(cache), "keys": list(dumped)}:
            return Invalidation(UUID(sender), cache, tuple(_parsed(one) for one in dumped))
    raise ValueError("not a message about a cache")


def _parsed(dumped: object) -> Key:
    if not isinstance(dumped, str):
        raise ValueError("a key is not a text")  # noqa: TRY004 - it is the message that is wrong
    return keys.parse(dumped)
