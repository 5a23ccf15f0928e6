"""What the in-memory repositories have in common. They stand in for PostgreSQL in tests and keep its promises."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.data.transactions_memory import MemoryTransactions
from services.kit.query import memory
from services.kit.query.page import ListQuery, Page
from services.kit.query.resource import Resource

E = TypeVar("E")
N = TypeVar("N")


@dataclass(frozen=True)
class Unique:
    """A unique constraint: rows with the same key exclude one another; a row whose key is None excludes none."""

    constraint: str
    key: Callable[[Any], object]


class MemoryRepository(Generic[E, N]):
    """Entities of one class in a `MemoryStore`.

    Attributes:
        table: The name of the table.
        entity: The stored class; it has the fields of the new one, and defaults for what the database would set.
        resource: What can be filtered and sorted.
        unique: The unique constraints, in the order in which they are checked.
    """

    table: ClassVar[str]
    entity: ClassVar[type[Any]]
    resource: ClassVar[Resource]
    unique: ClassVar[tuple[Unique, ...]]

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._transactions = transactions

    @property
    def _rows(self) -> dict[UUID, E]:
        return self._transactions.resource.tables.setdefault(self.table, {})

    def now(self) -> datetime:
        """The time that rows are stamped with."""
        return datetime.now(UTC)

    async def get(self, entity_id: UUID) -> E | None:
        """Answers the entity, or None."""
        return self._rows.get(entity_id)

    async def get_many(self, ids: Iterable[UUID]) -> dict[UUID, E]:
        """Answers those that exist, by ID."""
        return {key: row for key in ids if (row := self._rows.get(key)) is not None}

    async def list_page(self, query: ListQuery) -> Page[E]:
        """Answers a page."""
        return memory.apply(self._rows.values(), query)

    async def create(self, new: N) -> E:
        """Stores an entity."""
        now = self.now()
        values = {field.name: getattr(new, field.name) for field in fields(new)}  # type: ignore[arg-type]
        stored: E = self.entity(**values, created_at=now, updated_at=now)
        self._check_unique(stored)
        self._rows[values["id"]] = stored
        return stored

    async def update(self, entity: E) -> E:
        """Stores a changed entity under its next version."""
        changed: Any = entity
        present: Any = self._rows.get(changed.id)
        if present is None or present.version != changed.version:
            raise Conflict
        stored: E = replace(changed, version=changed.version + 1, updated_at=self.now())
        self._check_unique(stored, but=changed.id)
        self._rows[changed.id] = stored
        return stored

    async def delete(self, entity_id: UUID) -> bool:
        """Removes the entity; False if there was none."""
        return self._rows.pop(entity_id, None) is not None

    def _check_unique(self, entity: E, but: UUID | None = None) -> None:
        for unique in self.unique:
            key = unique.key(entity)
            if key is None:
                continue
            for other_id, other in self._rows.items():
                if other_id != but and unique.key(other) == key:
                    raise AlreadyExists(unique.constraint)
