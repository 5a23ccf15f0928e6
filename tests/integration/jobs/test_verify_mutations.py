"""The check of the books is checked: each kind of wrong that a value can be is planted in books that are right.

What the check can't find stands in docs/verify.md, and nowhere else. A column that is new is planted as well, so nobody
can add one without deciding what is said of it.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, closing
from datetime import timedelta
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr
from sqlalchemy import Table

from services import SERVICES
from services.kit.settings import DatabaseSettings
from tests.integration.jobs.conftest import Neighbours
from tests.support.rpc.healthy_books import Lives, keep_receipts
from tests.support.rpc.jobs_stack import JobsStack
from tests.support.rpc.loop_thread import LoopThread
from tests.support.rpc.mutations import Row, wrongs
from tests.support.rpc.planting import Planting, copied
from tools.verify.findings import Limits, VerifyReport
from tools.verify.store.books import OpenBooks, open_books
from tools.verify.verification import verify

_DOC = Path(__file__).parents[3] / "docs" / "verify.md"
# Of the services that these tests run: their settler leaves charges alone for an hour, and no housekeeping follows
# what is late, however long the test takes.
_LIMITS = Limits(grace=timedelta(), late=timedelta(hours=2)).allowing(
    housekeeping_every=timedelta(seconds=2),
    settled_after=timedelta(hours=1),
    hold_orphan_after=timedelta(minutes=10),
    holds_kept=timedelta(days=90),
)
_ROW = "(row)"
TABLES = {
    f"{service}.{table.name}": table
    for service in SERVICES
    for table in importlib.import_module(f"services.{service}.store.tables").metadata.sorted_tables
}


class Case(NamedTuple):
    """A wrong in a row of a table."""

    column: str
    rows: str
    wrong: str


class Unfound(NamedTuple):
    """What the check can't find, as docs/verify.md says it: patterns."""

    column: str
    rows: str
    wrong: str

    def names(self, table: Table) -> bool:
        """Whether it is about a table."""
        return f"`{table.name}." in self.column

    def says(self, case: Case) -> bool:
        """Whether a case is one of these."""
        patterns = [[one.strip().strip("`") for one in field.split(",")] for field in self]
        return all(any(fnmatchcase(value, one) for one in wanted) for value, wanted in zip(case, patterns, strict=True))


def unfound() -> list[Unfound]:
    """Read the list in docs/verify.md."""
    text = _DOC.read_text(encoding="utf-8")
    table = text.split("<!-- not found -->")[1].split("<!-- end -->")[0]
    cells = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| `")]
    return [Unfound(*row[:3]) for row in cells]


def label(table: Table, row: Row) -> str:
    """Return the sort of a row: one row of each sort is made wrong."""
    if table.name == "jobs":
        state = f"{row['status']} {row['billing_status']}"
        if row["unit_price_micro_cents"] is None:
            return f"{state} with usage" if row["usage_units"] else state
        return f"{state} metered{_usage(row)}"
    if table.name == "customers":
        return "active" if row["active"] == "true" else "deleted"
    if table.name == "wallets":
        return "only credited" if row["version"] == "2" else "used"
    if table.name == "holds":
        return f"{row['state']}" if row["wallet_id"] else "never placed"
    if table.name == "job_types":
        return "any" if row["metering_unit"] is None else "metered"
    if table.name == "wallet_transactions":
        return f"{row['kind']} of a job" if row["job_id"] else f"{row['kind']}"
    return "any"


def _usage(row: Row) -> str:
    if row["usage_units"] is None:
        return " unreported" if row["cost_cents"] else ""
    return " up to the maximum" if row["cost_cents"] == row["estimated_cost_cents"] else " in part"


@pytest.fixture(scope="module")
def urls(
    world: JobsStack,
    database_url: str,
    neighbours: Neighbours,
    loop_thread: LoopThread,
    fresh_database: Callable[[str], str],
) -> dict[str, str]:
    """Return copies of the databases in which jobs went through all their lives."""
    lives = Lives(world)
    lives.to_be_deleted()
    loop_thread.run(keep_receipts(database_url))
    lives.all()
    sources = {"customers": neighbours[0].url, "wallets": neighbours[1].url, "jobs": database_url}
    copies = {service: fresh_database(service) for service in sources}
    for service, source in sources.items():
        copied(importlib.import_module(f"services.{service}.store.tables").metadata, source, copies[service])
    return copies


class Checking:
    """Check the copies repeatedly."""

    def __init__(self, opened: OpenBooks) -> None:
        self._opened = opened

    async def __call__(self) -> VerifyReport:
        """Check once."""
        return await verify(self._opened.books, limits=_LIMITS)


def planted(table: Table, planting: Planting) -> Iterator[tuple[Case, AbstractContextManager[None]]]:
    """All wrongs, each with how it is planted."""
    rows = planting.rows()
    for name, row in {label(table, row): row for row in reversed(rows)}.items():
        yield Case(f"{table.name}.{_ROW}", name, "deleted"), planting.deleted(row)
        yield Case(f"{table.name}.{_ROW}", name, "doubled"), planting.doubled(row)
        for wrong in chain.from_iterable(wrongs(table.name, column, row, rows) for column in table.columns):
            yield Case(f"{table.name}.{wrong.column}", name, wrong.name), planting.changed(row, wrong)


# What is read of these is nothing, so nothing can be found in them.
READ = {
    name: table for name, table in TABLES.items() if not any(f"`{table.name}.*`" in one.column for one in unfound())
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", READ)
async def test_every_wrong_value_is_found_or_said_to_be_beyond_the_check(name: str, urls: dict[str, str]) -> None:
    settings = {service: DatabaseSettings(url=SecretStr(url)) for service, url in urls.items()}
    planting = Planting(urls[name.partition(".")[0]], READ[name])
    beyond = {entry: 0 for entry in unfound() if entry.names(READ[name])}
    missed: list[Case] = []
    count = 0
    async with AsyncExitStack() as stack:
        stack.enter_context(closing(planting))
        check = Checking(await stack.enter_async_context(open_books(**settings, limits=_LIMITS)))
        assert (before := await check()).ok, before.offenders
        for case, plant in planted(READ[name], planting):
            count += 1
            with plant:
                report = await check()
            if report.ok:
                if not (said := [entry for entry in beyond if entry.says(case)]):
                    missed.append(case)
                for entry in said:
                    beyond[entry] += 1
        assert (after := await check()).ok, after.offenders
    assert count > len(READ[name].columns)
    assert not missed, f"{len(missed)} of {count}: " + "\n".join(map(str, missed))
    of_others = {entry for entry in beyond if any(entry.names(one) for one in READ.values() if one is not READ[name])}
    found = [entry for entry, times in beyond.items() if not times and entry not in of_others]
    assert not found, "they are found, and are said not to be"


def test_the_list_of_what_is_not_found_names_columns_that_exist() -> None:
    columns = [f"{table.name}.{column.name}" for table in TABLES.values() for column in table.columns]
    columns += [f"{table.name}.{_ROW}" for table in TABLES.values()]
    for entry in unfound():
        assert any(entry._replace(rows="*", wrong="*").says(Case(column, "", "")) for column in columns), entry
