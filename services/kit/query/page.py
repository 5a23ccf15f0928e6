"""Pages of a list, as AIP-158 has them.

Where the last page ended is a cursor, and callers get it as a signed token. A cursor holds the
sort values of the last entity of a page (keyset), so that a page costs the same wherever it is, and
entities that come or go meanwhile neither repeat nor hide others. One whose own sort values change between
two pages may be on both of them or on none: the contract names the orders that this can happen to.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from services.kit.errors import InvalidPageToken
from services.kit.query.resource import Ordering
from services.kit.query.specification import ALWAYS, Specification

T = TypeVar("T")

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1000
KEY_LENGTH_MIN = 16
_SIGNATURE_LENGTH = 16

#: The sort values of an entity, one for each field of the ordering.
Cursor = tuple[Any, ...]


@dataclass(frozen=True)
class ListQuery:
    """What one page of a list is: repositories take it and answer a `Page`.

    Attributes:
        ordering: The fields to sort by; the last is unique.
        specification: Which entities.
        page_size: How many at most.
        cursor: Where the page before ended; None for the first page.
        binding: What page tokens of this list are bound to.
    """

    ordering: Ordering
    specification: Specification = ALWAYS
    page_size: int = PAGE_SIZE_DEFAULT
    cursor: Cursor | None = None
    binding: bytes = b""

    def cursor_after(self, entity: object) -> Cursor:
        """Return where the next page starts when this entity was the last to be looked at."""
        return tuple(order.field.read(entity) for order in self.ordering)


@dataclass(frozen=True)
class Page(Generic[T]):
    """One page.

    Attributes:
        items: The entities, in order.
        next_cursor: Where the next page starts; None if this one is the last.
    """

    items: tuple[T, ...]
    next_cursor: Cursor | None

    @classmethod
    def cut(cls, entities: Sequence[T], query: ListQuery, *, more: bool = False) -> "Page[T]":
        """Makes the page of the entities that come next.

        Args:
            entities: One more than the page may have means a next page.
            query: What was asked for.
            more: Whether there is a next page also if all of them fit.
        """
        items = tuple(entities[: query.page_size])
        if not items or not (more or len(entities) > query.page_size):
            return cls(items, None)
        return cls(items, query.cursor_after(items[-1]))


class PageTokens:
    """Turns cursors into tokens and back.

    A token is signed (HMAC-SHA256, 16 bytes) together with everything else the list depends on: one
    that was made up, changed, or belongs to another list, filter, order or parent is refused. It is
    signed, not secret: callers can read the sort values in it, which they have seen in the list.
    """

    def __init__(self, key: bytes | Callable[[], bytes]) -> None:
        """Makes the tokens of all replicas that share the key.

        Args:
            key: At least 16 random bytes, or what tells them when they are needed. With a new key, lists that are being
                walked have to start again.
        """
        if isinstance(key, bytes) and len(key) < KEY_LENGTH_MIN:
            raise ValueError(f"the key has {len(key)} bytes and needs {KEY_LENGTH_MIN}")
        self._key = key

    def encode(self, cursor: Cursor | None, ordering: Ordering, binding: bytes) -> str:
        """The token for a cursor; empty for None, as AIP-158 ends a list."""
        if cursor is None:
            return ""
        values = [order.field.to_json(value) for order, value in zip(ordering, cursor, strict=True)]
        payload = json.dumps(values, separators=(",", ":")).encode()
        return _to_text(self._signature(payload, binding) + payload)

    def decode(self, token: str, ordering: Ordering, binding: bytes) -> Cursor | None:
        """The cursor in a token; None for the empty token.

        Raises:
            InvalidPageToken: It is not a token that `encode` made for this ordering and binding.
        """
        if not token:
            return None
        signed = _from_text(token)
        signature, payload = signed[:_SIGNATURE_LENGTH], signed[_SIGNATURE_LENGTH:]
        if not hmac.compare_digest(signature, self._signature(payload, binding)):
            raise InvalidPageToken
        try:
            values = json.loads(payload)
            return tuple(order.field.from_json(value) for order, value in zip(ordering, values, strict=True))
        except ValueError as error:  # signed by a release whose fields had other types
            raise InvalidPageToken from error

    def _signature(self, payload: bytes, binding: bytes) -> bytes:
        # The binding's length keeps what is bound and what is carried apart.
        message = len(binding).to_bytes(8, "big") + binding + payload
        key = self._key if isinstance(self._key, bytes) else self._key()
        return hmac.digest(key, message, hashlib.sha256)[:_SIGNATURE_LENGTH]


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_text(token: str) -> bytes:
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidPageToken from error
    if _to_text(data) != token:  # base64 has several texts for the same bytes; there is one token for a cursor
        raise InvalidPageToken
    return data
