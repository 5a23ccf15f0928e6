"""Measure the ledger of the wallets service: `python scripts/measure_wallets.py verify --wallets 1000`, or `apply`.

Its databases are created for the run and dropped afterwards, like those of `innosystem bench data`.
"""

import argparse
import logging
import time
from statistics import median

import psycopg
import structlog
import uvloop
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from services.wallets.rules.books import START, Findings, Position
from services.wallets.rules.entities import NewWallet
from services.wallets.rules.requests import Credit, Deduct
from services.wallets.store.ledger_sql import SqlLedger
from services.wallets.store.sql import SqlWalletRepository
from services.wallets.store.verify_sql import SqlBooksReader
from services.wallets.usecases.verify_ledger import LedgerVerification
from tools.bench.platform.databases import server_version, service_databases

_PAGE = 50_000
_WARM_UP = 20

# Inserted in the order of time, as in production: the lines of a wallet are far apart.
_ROWS = """
INSERT INTO wallets (id, customer_id, current_balance_cents, last_sequence)
SELECT gen_random_uuid(), gen_random_uuid(), {each}, {each} FROM generate_series(1, {wallets});
INSERT INTO wallet_transactions (id, wallet_id, sequence, kind, counter_account, amount_cents, balance_after_cents,
    idempotency_key)
SELECT gen_random_uuid(), wallets.id, number, 'CREDIT', 'FUNDING', 1, number, 'key-' || number
FROM generate_series(1, {each}) AS number CROSS JOIN wallets;
"""


async def verify(database: Database, url: str, wallets: int, transactions: int) -> None:
    """Verify generated books three times and print how long it takes."""
    rows = _ROWS.format(each=transactions // wallets, wallets=wallets)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(rows.encode())
        connection.execute("VACUUM ANALYZE")
    opened = SqlTransactions(database)
    verification = LedgerVerification(opened, SqlBooksReader(opened))
    for _ in range(3):
        began, cpu = time.perf_counter(), time.process_time()
        longest, pages, seen = 0.0, 0, Findings()
        position: Position | None = START
        while position is not None:
            page_began = time.perf_counter()
            page = await verification.page(position, _PAGE)
            longest = max(longest, time.perf_counter() - page_began)
            pages += 1
            seen.wallets += page.wallets
            seen.transactions += page.transactions
            seen.offenders += page.offenders
            position = page.position
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"{seen.wallets:,} wallets, {seen.transactions:,} transactions, {len(seen.offenders)} offenders: "
            f"{seconds:.2f} s, {pages} pages, the longest {longest * 1000:.0f} ms, CPU of this process {cpu:.2f} s"
        )


async def apply(database: Database, runs: int) -> None:
    """Charge ten wallets in batches of 1, 100 and 1,000, each in a transaction, and print the medians."""
    transactions = SqlTransactions(database)
    ledger, wallets = SqlLedger(transactions), SqlWalletRepository(transactions)
    async with transactions.begin():
        made = [await wallets.create(NewWallet(id=uuid7(), customer_id=uuid7())) for _ in range(10)]
        owners = [one.owner for one in made]
        await ledger.apply(
            [Credit(transaction_id=uuid7(), owner=one, amount_cents=10**15, idempotency_key="top-up") for one in owners]
        )
    for size, calls in ((1, 600), (100, 200), (1000, 60)):
        medians = []
        for _ in range(runs):
            durations = []
            for call in range(_WARM_UP + calls):
                requests = [
                    Deduct(
                        transaction_id=uuid7(),
                        owner=owners[n % 10],
                        amount_cents=1,
                        idempotency_key=f"job:{job}",
                        job_id=job,
                    )
                    for n, job in enumerate(uuid7() for _ in range(size))
                ]
                began = time.perf_counter()
                async with transactions.begin():
                    await ledger.apply(requests)
                if call >= _WARM_UP:
                    durations.append(time.perf_counter() - began)
            medians.append(median(durations) * 1000)
        print(f"apply, {size} requests: " + ", ".join(f"{one:.2f}" for one in sorted(medians)) + " ms")


async def main() -> None:
    """Run the measurement that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["verify", "apply"])
    parser.add_argument("--wallets", type=int, default=1000)
    parser.add_argument("--transactions", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    async with service_databases() as urls:
        url = urls["wallets"]
        print(f"PostgreSQL {server_version(url)}")
        database = Database.connect(DatabaseSettings(url=SecretStr(url)), application_name="measure")
        try:
            if arguments.what == "verify":
                await verify(database, url, arguments.wallets, arguments.transactions)
            else:
                await apply(database, arguments.runs)
        finally:
            await database.close()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    uvloop.run(main())
