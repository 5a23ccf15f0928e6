"""Pages of a list (AIP-158).

A cursor marks the end of a page; callers receive it as a signed token. It contains the sort values
of the last entity of the page (keyset), so that each page costs the same, and concurrent inserts
and deletes neither repeat nor hide other entities. An entity whose own sort values change between
two pages may be on both pages or on neither: the contract names the affected orders.
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
    """The query of one page of a list, for which repositories return a `Page`.

    Attributes:
        ordering: The fields to sort by; the last is unique.
        specification: The condition on the entities.
        page_size: The maximum number of entities.
        cursor: The end of the previous page; None for the first page.
        binding: The parameters to which page tokens of this list are bound.
        narrowing: The part of the condition that says which entities exist for the caller: cursors name no others.
    """

    ordering: Ordering
    specification: Specification = ALWAYS
    page_size: int = PAGE_SIZE_DEFAULT
    cursor: Cursor | None = None
    binding: bytes = b""
    narrowing: Specification = ALWAYS

    def cursor_after(self, entity: object) -> Cursor:
        """Return where the next page starts if this entity was the last to be examined."""
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
        """Return the page of the next entities.

        Args:
            entities: The entities; one more than the page size implies a next page.
            query: The query.
            more: Whether a next page exists even if all entities fit.
        """
        items = tuple(entities[: query.page_size])
        if not items or not (more or len(entities) > query.page_size):
            return cls(items, None)
        return cls(items, query.cursor_after(items[-1]))


class PageTokens:
    """Converts cursors into tokens and back.

    A token is signed (HMAC-SHA256, 16 bytes) together with all other parameters of the list: forged
    and changed tokens are refused, and so are those of another list, filter, order or parent. It is
    signed, not secret: callers can read the sort values in it, which the list has shown them.
    """

    def __init__(self, key: bytes | Callable[[], bytes]) -> None:
        """Share tokens with all replicas that have the key.

        Args:
            key: At least 16 random bytes, or a function that returns them on demand. A new key invalidates the tokens
                of lists in progress.
        """
        if isinstance(key, bytes) and len(key) < KEY_LENGTH_MIN:
            raise ValueError(f"the key has {len(key)} bytes and needs {KEY_LENGTH_MIN}")
        self._key = key

    def encode(self, cursor: Cursor | None, ordering: Ordering, binding: bytes) -> str:
        """Return the token of a cursor; empty for None, which ends a list (AIP-158)."""
        if cursor is None:
            return ""
        values = [order.field.to_json(value) for order, value in zip(ordering, cursor, strict=True)]
        payload = json.dumps(values, separators=(",", ":")).encode()
        return _to_text(self._signature(payload, binding) + payload)

    def decode(self, token: str, ordering: Ordering, binding: bytes) -> Cursor | None:
        """Return the cursor of a token; None for the empty token.

        Raises:
            InvalidPageToken: If `encode` did not create the token for this ordering and binding.
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
        except ValueError as error:  # signed by a release with other types of fields
            raise InvalidPageToken from error

    def _signature(self, payload: bytes, binding: bytes) -> bytes:
        # The length separates the binding from the payload.
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
    if _to_text(data) != token:  # base64 has several texts for the same bytes, but a cursor has one token
        raise InvalidPageToken
    return data
