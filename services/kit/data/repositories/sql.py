"""The base of the SQL repositories. Only entities leave a repository, never statements or rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from enum import Enum
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar, get_type_hints
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import Executable

from services.kit.data.audit import entries as audit
from services.kit.data.corrupt import noted, understood
from services.kit.data.dialects import DIALECTS
from services.kit.data.dialects.types import now
from services.kit.data.engine.prepared import Prepared, Row
from services.kit.data.errors import Conflict
from services.kit.data.repositories import query_sql
from services.kit.data.repositories.search import Search
from services.kit.data.tables import audit_log
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.errors import DataCorrupt
from services.kit.fast_dataclasses import made
from services.kit.query.page import PAGE_SIZE_MAX, Cursor, ListQuery, Page
from services.kit.query.resource import Ordering, Resource
from services.kit.query.specification import Comparison, Operator, Specification

E = TypeVar("E")
N = TypeVar("N")

# The columns that the database sets; `update` never writes them from the entity.
_DATABASE_SETS = frozenset({"id", "created_at", "updated_at", "version"})


class SqlRepository(Generic[E, N]):
    """Entities of one class in one table, in the open transaction.

    The fields of the entity have the names of the columns. Enums are stored by value. Constant statements are built
    once, with the class: building one costs SQLAlchemy more than executing it.

    Attributes:
        table: The table.
        entity: The stored class.
        resource: The fields for filters and orders.
        columns: The columns to read, one for each field of the entity; a class may define its own.
        indexed: The columns for whose values an index has the rows side by side, in the order of the list. Defined by
            repositories of tables that grow without bound, on PostgreSQL: a filter on any other column reads a bounded
            number of rows.
        audited: Whether changes through `create`, `update` and `delete` are written to the audit trail as well.
    """

    table: ClassVar[Table]
    entity: ClassVar[type[Any]]
    resource: ClassVar[Resource]

    columns: ClassVar[tuple[ColumnElement[Any], ...]]
    indexed: ClassVar[frozenset[str] | None] = None
    audited: ClassVar[bool] = False

    _members: ClassVar[Mapping[str, Mapping[Any, Enum]]]
    _get: ClassVar[Select[Any]]
    _get_many: ClassVar[Mapping[str, Executable | Prepared]]
    _names: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._members = {
            name: {member.value: member for member in hint}
            for name, hint in get_type_hints(cls.entity).items()
            if isinstance(hint, type) and issubclass(hint, Enum)
        }
        if "columns" not in vars(cls):
            cls.columns = tuple(cls.table.c[field.name] for field in fields(cls.entity))
        cls._names = tuple(field.name for field in fields(cls.entity))
        cls._get = select(*cls.columns).where(cls.table.c.id == bindparam("entity_id"))
        cls._get_many = {
            one.name: one.prepared(select(*cls.columns).where(one.any_of(cls.table.c.id, "ids"))) for one in DIALECTS
        }

    def __init__(self, transactions: SqlTransactions) -> None:
        self._transactions = transactions

    @property
    def _connection(self) -> AsyncConnection:
        return self._transactions.resource

    async def get(self, entity_id: UUID) -> E | None:
        """Return the entity, or None."""
        return await self._one(self._get, {"entity_id": entity_id})

    async def get_locked(self, entity_id: UUID) -> E | None:
        """Return the entity, or None, and lock its row against changes until the transaction ends.

        An update and its entry in the audit trail then start from the returned state. Transactions that only refer to
        the row, such as a new job to its type, do not wait for the lock.
        """
        return await self._one(self._get.with_for_update(key_share=True), {"entity_id": entity_id})

    async def get_many(self, ids: Iterable[UUID]) -> dict[UUID, E | DataCorrupt]:
        """Return the existing entities by ID; `DataCorrupt` in place of a row that is not understood."""
        return await self._by_id(self._get_many[self._transactions.dialect.name], {"ids": list(ids)})

    async def list_page(self, query: ListQuery) -> Page[E]:
        """Return a page. Rows that are not understood are left out, and never end a list.

        In a table that grows without bound, a page reads a bounded number of rows.
        """
        if self.indexed is not None:
            search = Search.of(self.table, query, partial(self._leads, query.ordering))
            if not search.is_bounded:
                return await self._searched(search, query)
        cursor, step = query.cursor, query.page_size
        while True:
            asked = replace(query, cursor=cursor, page_size=step)
            statement = query_sql.select_page(self._select(), asked, self.table.c, self._transactions.dialect)
            rows = list(await self._rows(statement))
            found = understood(map(self._decoded, rows[:step]))
            more = len(rows) > step
            if found or not more:
                return Page.cut(found, query, more=more)
            # A token cannot hold a value that is not understood: continue behind the rows, which may be many.
            cursor, step = self._cursor(rows[step - 1], query), PAGE_SIZE_MAX

    async def _searched(self, search: Search, query: ListQuery) -> Page[E]:
        page = self._page(list(await self._rows(search.found(self.columns))), query)
        if page.next_cursor is not None:
            return page
        last = list(await self._rows(search.last(self.columns)))
        return Page(page.items, self._cursor(last[0], query) if last else None)

    def _page(self, rows: Sequence[Sequence[Any]], query: ListQuery) -> Page[E]:
        """Return a page of rows; one row beyond the page size means that a next page exists."""
        found = tuple(understood(map(self._decoded, rows[: query.page_size])))
        return Page(found, self._cursor(rows[query.page_size - 1], query) if len(rows) > query.page_size else None)

    def _cursor(self, row: Sequence[Any], query: ListQuery) -> Cursor:
        """Return the cursor behind a row, understood or not."""
        stored = dict(zip(self._names, row, strict=True))
        names = [order.field.attribute for order in query.ordering]
        # A cursor may hold a value that is not understood.
        return tuple(self._members.get(name, {}).get(stored[name], stored[name]) for name in names)

    def _leads(self, ordering: Ordering, comparison: Comparison) -> bool:
        """Whether an index has the rows of a comparison side by side, in the order of the list."""
        return comparison.operator is Operator.EQUAL and comparison.operand.attribute in (self.indexed or ())

    async def create(self, new: N) -> E:
        """Store an entity."""
        stored = await self._changed(insert(self.table).values(values_of(new)))
        if self.audited:
            await self._audit(None, stored)
        return stored

    async def create_many(self, new: Sequence[N]) -> dict[UUID, E]:
        """Store entities, all or none, and return them by ID."""
        if not new:
            return {}
        statement = insert(self.table).returning(*self.columns)
        created: dict[UUID, Any] = {}
        for row in (await self._connection.execute(statement, [values_of(one) for one in new])).mappings():
            created[row["id"]] = self._entity(row)
        if self.audited:
            for entity in created.values():
                await self._audit(None, entity)
        return created

    async def update(self, entity: E) -> E:
        """Store a changed entity under its next version, if the stored version is the entity's."""
        changed: Any = entity
        before = await self.get_locked(changed.id) if self.audited else None
        table = self.table
        values = {name: value for name, value in values_of(entity).items() if name not in _DATABASE_SETS}
        statement = (
            update(table)
            .where(table.c.id == changed.id, table.c.version == changed.version)
            .values(**values, version=table.c.version + 1, updated_at=now())
        )
        stored = await self._changed(statement, changed.id)
        if self.audited:
            await self._audit(before, stored)
        return stored

    async def delete(self, entity_id: UUID) -> bool:
        """Remove the entity; return whether it existed."""
        before = await self.get_locked(entity_id) if self.audited else None
        result = await self._connection.execute(delete(self.table).where(self.table.c.id == entity_id))
        if before is not None:
            await self._audit(before, None)
        return result.rowcount > 0

    async def count(self, specification: Specification) -> int:
        """Return the number of entities that match a specification, reading all rows: for explicit requests only."""
        condition = query_sql.where(specification, self.table.c, self._transactions.dialect)
        statement = select(func.count()).select_from(self.table).where(condition)
        return (await self._connection.execute(statement)).scalar_one()

    async def _audit(self, before: E | None, after: E | None) -> None:
        written = audit.entry(self.table.name, self._transactions.transaction_id, before, after)
        await self._connection.execute(insert(audit_log).values(values_of(written)))

    def _select(self) -> Select[Any]:
        return select(*self.columns)

    async def _one(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> E | None:
        row = (await self._connection.execute(statement, parameters)).mappings().one_or_none()
        try:
            return None if row is None else self._entity(row)
        except DataCorrupt as error:
            raise noted(error) from None

    async def _execute(self, prepared: Prepared, parameters: Mapping[str, Any]) -> Sequence[Row]:
        return await self._transactions.execute(prepared, parameters)

    async def _all(
        self, statement: Executable | Prepared, parameters: Mapping[str, Any] | None = None
    ) -> list[E | DataCorrupt]:
        """Return the entities of a statement that selects `columns`."""
        return [self._decoded(row) for row in await self._rows(statement, parameters)]

    async def _by_id(
        self, statement: Executable | Prepared, parameters: Mapping[str, Any]
    ) -> dict[UUID, E | DataCorrupt]:
        """Return the entities of a statement that selects `columns`, by ID."""
        at = self._names.index("id")
        return {row[at]: self._decoded(row) for row in await self._rows(statement, parameters)}

    async def _rows(
        self, statement: Executable | Prepared, parameters: Mapping[str, Any] | None = None
    ) -> Iterable[Sequence[Any]]:
        if isinstance(statement, Prepared):
            return await self._execute(statement, parameters or {})
        return await self._connection.execute(statement, parameters)

    def _decoded(self, row: Sequence[Any]) -> E | DataCorrupt:
        """Return the entity of a row, or the error: a bad row does not affect the others."""
        try:
            # SQLAlchemy's mapping of a row would take longer than everything else here.
            return self._entity(dict(zip(self._names, row, strict=True)))
        except DataCorrupt as error:
            return noted(error)

    async def _changed(self, statement: Any, entity_id: UUID | None = None) -> E:
        if statement.is_update and not self._transactions.dialect.returns_updated:
            # No change can come in between: this transaction holds the row's lock.
            done = await self._connection.execute(statement)
            stored = await self._one(self._get, {"entity_id": entity_id}) if done.rowcount else None
        else:
            stored = await self._one(statement.returning(*self.columns))
        if stored is None:
            raise Conflict
        return stored

    def _entity(self, row: Mapping[Any, Any]) -> E:
        values = dict(row)
        for name, members in self._members.items():
            try:
                values[name] = members[values[name]]
            except KeyError as error:
                raise DataCorrupt(self.table.name, str(values["id"]), name, str(values[name])) from error
        entity: E = made(self.entity, values)
        return entity


def values_of(entity: Any) -> dict[str, Any]:
    """Return the stored values of an entity, by column."""
    values = {field.name: getattr(entity, field.name) for field in fields(entity)}
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}
