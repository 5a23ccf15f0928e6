"""Measure the operations of the repositories on PostgreSQL and, next to each, in memory."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services import SERVICES
from services.customers.store.memory import MemoryCustomerRepository
from services.customers.store.sql import SqlCustomerRepository
from services.jobs.store.job_types_memory import MemoryJobTypeRepository
from services.jobs.store.job_types_sql import SqlJobTypeRepository
from services.jobs.store.memory import MemoryJobRepository
from services.jobs.store.sql import SqlJobRepository
from services.kit.data.transactions.memory import MemoryStore, MemoryTransactions
from services.kit.data.transactions.sql import SqlTransactions
from services.wallets.store.ledger_sql import SqlLedger
from services.wallets.store.memory import MemoryLedger, MemoryWalletRepository
from services.wallets.store.sql import SqlWalletRepository
from tools.bench.data.operations import CustomerOperations, JobOperations, LedgerOperations
from tools.bench.data.pools import connect
from tools.bench.data.timings import Operation, Timings

Subjects = tuple[CustomerOperations, JobOperations, LedgerOperations]


async def compare(urls: Mapping[str, str], seconds: float, runs: int) -> list[dict[str, Any]]:
    """Measure each operation on PostgreSQL and in memory, by one caller.

    Args:
        urls: The services' databases.
        seconds: The length of a run.
        runs: How many runs of each operation, after an uncounted half run.
    """
    opened = {service: connect(urls[service], 1) for service in SERVICES}
    stores = {service: MemoryStore() for service in SERVICES}
    try:
        on_sql = _on_sql({service: SqlTransactions(database) for service, database in opened.items()})
        in_memory = _in_memory({service: MemoryTransactions(store) for service, store in stores.items()})
        for subject in (*on_sql, *in_memory):
            await subject.fill()
        sides = ((_operations(on_sql), _keep), (_operations(in_memory), _restorer(list(stores.values()))))
        return await _measure(sides, seconds, runs)
    finally:
        for database in opened.values():
            await database.close()


async def _measure(
    sides: tuple[tuple[list[Operation], Callable[[], None]], ...], seconds: float, runs: int
) -> list[dict[str, Any]]:
    rows = list(zip(*([(operation, restore, Timings()) for operation in side] for side, restore in sides), strict=True))
    # Run by run, so that a slow moment of the machine does not fall on one operation alone.
    for run in range(runs):
        for row in rows:
            for operation, restore, timings in row:
                if run == 0:
                    await operation.measure(seconds / 2, restore)
                timings.runs.append(await operation.measure(seconds, restore))
    return [
        {"operation": one.name, "rows": one.rows, "sql": sql.figures(), "memory": memory.figures()}
        for (one, _, sql), (_, _, memory) in rows
    ]


def _on_sql(transactions: Mapping[str, SqlTransactions]) -> Subjects:
    customers, wallets, jobs = (transactions[service] for service in SERVICES)
    return (
        CustomerOperations(customers, SqlCustomerRepository(customers)),
        JobOperations(jobs, SqlJobRepository(jobs), SqlJobTypeRepository(jobs)),
        LedgerOperations(wallets, SqlWalletRepository(wallets), SqlLedger(wallets)),
    )


def _in_memory(transactions: Mapping[str, MemoryTransactions]) -> Subjects:
    customers, wallets, jobs = (transactions[service] for service in SERVICES)
    return (
        CustomerOperations(customers, MemoryCustomerRepository(customers)),
        JobOperations(jobs, MemoryJobRepository(jobs), MemoryJobTypeRepository(jobs)),
        LedgerOperations(wallets, MemoryWalletRepository(wallets), MemoryLedger(wallets)),
    )


def _operations(subjects: Subjects) -> list[Operation]:
    return [operation for subject in subjects for operation in subject.operations()]


def _keep() -> None:
    """Do nothing: with indexes, some more rows make no difference."""


def _restorer(stores: Sequence[MemoryStore]) -> Callable[[], None]:
    """Return a function that restores the present rows: in memory every row is read, so their number matters."""
    kept = [{name: dict(rows) for name, rows in store.tables.items()} for store in stores]

    def restore() -> None:
        for store, tables in zip(stores, kept, strict=True):
            store.tables = {name: dict(rows) for name, rows in tables.items()}

    return restore
