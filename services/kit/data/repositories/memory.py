"""The base of the in-memory repositories, which stand in for PostgreSQL in tests and keep its guarantees."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, TypeVar, cast
from uuid import UUID

from services.kit.data.audit import entries as audit
from services.kit.data.errors import AlreadyExists, Conflict
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.query import memory
from services.kit.query.page import ListQuery, Page
from services.kit.query.resource import Resource
from services.kit.query.specification import Specification

E = TypeVar("E")
N = TypeVar("N")


@dataclass(frozen=True)
class Unique:
    """A unique constraint: two rows with the same key violate it; a row whose key is None never does."""

    constraint: str
    key: Callable[[Any], object]


class MemoryRepository(Generic[E, N]):
    """Entities of one class in a `MemoryStore`.

    Attributes:
        table: The name of the table.
        entity: The stored class; it has the fields of the new class, and defaults for the columns that the database
            sets.
        resource: The fields for filters and orders.
        unique: The unique constraints, in the order of their checks.
        audited: Whether changes are written to the audit trail as well.
    """

    table: ClassVar[str]
    entity: ClassVar[type[Any]]
    resource: ClassVar[Resource]
    unique: ClassVar[tuple[Unique, ...]]
    audited: ClassVar[bool] = False

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._transactions = transactions

    @property
    def _rows(self) -> dict[UUID, E]:
        return self._transactions.resource.tables.setdefault(self.table, {})

    def now(self) -> datetime:
        """Return the time for the timestamps of rows."""
        return datetime.now(UTC)

    async def get(self, entity_id: UUID) -> E | None:
        """Return the entity, or None."""
        return self._rows.get(entity_id)

    async def get_locked(self, entity_id: UUID) -> E | None:
        """Return the entity, or None. Transactions in memory are serial, so no other one changes it."""
        return await self.get(entity_id)

    async def get_many(self, ids: Iterable[UUID]) -> dict[UUID, E]:
        """Return the existing entities by ID."""
        return {key: row for key in ids if (row := self._rows.get(key)) is not None}

    async def list_page(self, query: ListQuery) -> Page[E]:
        """Return a page."""
        return memory.apply(self._rows.values(), query)

    async def create(self, new: N) -> E:
        """Store an entity."""
        values = _values(new)
        new_id: UUID = values["id"]
        stored = self._stamped(values)
        self._check_unique(stored)
        self._rows[new_id] = stored
        self._audit(None, stored)
        return stored

    async def create_many(self, new: Sequence[N]) -> dict[UUID, E]:
        """Store entities, all or none, and return them by ID."""
        before = dict(self._rows)
        try:
            return {created.id: created for created in [cast("Any", await self.create(one)) for one in new]}
        except AlreadyExists:
            self._rows.clear()
            self._rows.update(before)
            raise

    async def update(self, entity: E) -> E:
        """Store a changed entity under its next version."""
        changed: Any = entity
        present: Any = self._rows.get(changed.id)
        if present is None or present.version != changed.version:
            raise Conflict
        stored: E = replace(changed, version=changed.version + 1, updated_at=self.now())
        self._check_unique(stored, but=changed.id)
        self._rows[changed.id] = stored
        self._audit(present, stored)
        return stored

    async def delete(self, entity_id: UUID) -> bool:
        """Remove the entity; return whether it existed."""
        removed = self._rows.pop(entity_id, None)
        if removed is not None:
            self._audit(removed, None)
        return removed is not None

    async def count(self, specification: Specification) -> int:
        """Return the number of entities that match a specification."""
        return sum(specification.matches(entity) for entity in self._rows.values())

    def _stamped(self, values: dict[str, Any]) -> E:
        now = self.now()
        names = {field.name for field in fields(self.entity)}
        stamps = {name: now for name in ("created_at", "updated_at") if name in names and name not in values}
        entity: E = self.entity(**values, **stamps)
        return entity

    def _audit(self, before: E | None, after: E | None) -> None:
        if not self.audited:
            return
        new = audit.entry(self.table, self._transactions.transaction_id, before, after)
        written = audit.AuditEntry(**_values(new), created_at=self.now())
        self._transactions.resource.tables.setdefault(audit.AUDIT_LOG.name, {})[written.id] = written

    def _check_unique(self, entity: E, but: UUID | None = None) -> None:
        for unique in self.unique:
            key = unique.key(entity)
            if key is None:
                continue
            for other_id, other in self._rows.items():
                if other_id != but and unique.key(other) == key:
                    raise AlreadyExists(unique.constraint)


def _values(entity: Any) -> dict[str, Any]:
    return {field.name: getattr(entity, field.name) for field in fields(entity)}
