"""`innosystem audit`. It reads the databases, because the audit trail is for operators only."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cyclopts import App

from services import SERVICES, Service
from tools.cli.databases import check_databases
from tools.cli.listing import Found
from tools.cli.options import Limit, OrderBy, filter_such_as
from tools.cli.output import NOTHING, TABLE, Column, Columns, Output, logs_on_stderr, print_list, shown_time
from tools.errors import CommandError
from tools.local.target import announced

if TYPE_CHECKING:
    from services.kit.data.audit.entries import AuditEntry
    from services.kit.data.engine.database import Database
    from services.kit.query.resource import Ordering
    from services.kit.query.specification import Specification

app = App(name="audit", help="Show who changed customers, money, jobs and job types.")

_Filter: TypeAlias = Annotated[str, filter_such_as('action = UPDATE AND actor = "ada@host"')]
_ALWAYS_CHANGED = frozenset({"updated_at", "version"})


@app.command(name="list")
async def list_audit(
    service: Service | None = None,
    /,
    *,
    filter: _Filter = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    output: Output = TABLE,
) -> None:
    """List changes, the newest first.

    Filters may name action, actor, created_at, entity_id, entity_type, method, request_id and transaction_id:
    `entity_id = "..." AND action = UPDATE`.

    Args:
        service: The service, whose database CUSTOMERS_DATABASE_URL and so on name; by default all of them.
    """
    with logs_on_stderr():
        entries, total = await _read([service] if service else SERVICES, filter, order_by, limit)
    found = Found(entries)
    if len(entries) < total:
        found.note = f"{len(entries):,} of {total:,} shown; --limit {2 * limit} for more"
    print_list(found, _columns(), output, nothing="No changes found.")


def _columns() -> Columns:
    return Columns(
        (
            Column("age", _age, usual=4, fields=("created_at",), absolute_title="created at"),
            Column("action", lambda entry, now: entry.action.value),
            Column("entity", lambda entry, now: entry.entity_type, priority=2, usual=9, fields=("entity_type",)),
            Column("id", lambda entry, now: _named(entry), usual=36, fields=("entity_id",)),
            Column("method", lambda entry, now: entry.method.rpartition("/")[2] or NOTHING, priority=4, usual=18),
            Column(
                "request", lambda entry, now: entry.request_id or NOTHING, priority=5, usual=36, fields=("request_id",)
            ),
            Column("actor", lambda entry, now: entry.actor or NOTHING, priority=1, cut=14, usual=20),
            Column("changes", lambda entry, now: _changes(entry), priority=3, cut=14, fields=("before", "after")),
        ),
        document=_json,
    )


def _age(entry: "AuditEntry", now: datetime | None) -> str:
    return shown_time(entry.created_at, now).removesuffix(" ago")


def _named(entry: "AuditEntry") -> str:
    """Return the ID of what was changed, or the name of a queue: commands take that, and its ID is made from it."""
    values = entry.after or entry.before or {}
    return str(values["name"] if entry.entity_type == "queues" else entry.entity_id)


async def _read(services: Sequence[str], filter: str, order_by: str, limit: int) -> tuple[list["AuditEntry"], int]:
    """Return the first entries of the trails of services, as if they were one, and how many there are."""
    from services.kit.data.audit.entries import AUDIT_LOG
    from services.kit.data.engine.database import Database
    from services.kit.data.errors import SchemaBehind
    from services.kit.query.filter import parse_filter
    from services.kit.query.order import parse_order_by
    from services.kit.settings import DatabaseSettings, load

    urls = announced().database_urls(*services)
    wanted, ordering = parse_filter(filter, AUDIT_LOG), parse_order_by(order_by, AUDIT_LOG)
    settings = {each: load(DatabaseSettings, f"{each.upper()}_DATABASE_", url=urls[each]) for each in services}
    await check_databases(settings)
    entries: list[AuditEntry] = []
    total = 0
    for service in services:
        database = Database.connect(settings[service], application_name="innosystem-audit")
        try:
            found, count = await _read_one(database, wanted, ordering, limit)
        except SchemaBehind as error:
            raise CommandError(
                f"the {service} database has no audit trail: `innosystem migrate up` creates it"
            ) from error
        finally:
            await database.close()
        entries += found
        total += count
    for order in reversed(ordering):
        entries.sort(key=lambda each: getattr(each, order.field.name), reverse=order.descending)
    return entries[:limit], total


async def _read_one(
    database: "Database", wanted: "Specification", ordering: "Ordering", limit: int
) -> tuple[list["AuditEntry"], int]:
    from services.kit.data.audit.sql import SqlAuditLog
    from services.kit.data.transactions.sql import SqlTransactions
    from services.kit.query.page import PAGE_SIZE_MAX, ListQuery

    transactions = SqlTransactions(database)
    audit_log = SqlAuditLog(transactions)
    entries: list[AuditEntry] = []
    cursor = None
    async with transactions.begin(read_only=True):
        total = await audit_log.count(wanted)
        while len(entries) < limit:
            size = min(limit - len(entries), PAGE_SIZE_MAX)
            page = await audit_log.list_page(ListQuery(ordering, wanted, size, cursor))
            entries += page.items
            if (cursor := page.next_cursor) is None:
                break
    return entries, total


def _json(entry: "AuditEntry") -> dict[str, Any]:
    return asdict(entry) | {
        "id": str(entry.id),
        "entity_id": str(entry.entity_id),
        "action": entry.action.value,
        "created_at": entry.created_at.isoformat(),
    }


def _changes(entry: "AuditEntry") -> str:
    if entry.before is None or entry.after is None:
        return NOTHING
    return "; ".join(
        f"{name}: {json.dumps(before, ensure_ascii=False)} -> {json.dumps(after, ensure_ascii=False)}"
        for name, (before, after) in entry.changes().items()
        if name not in _ALWAYS_CHANGED
    )
