"""D4: transactions on real PostgreSQL. docs/data-layer.md has the table whose cells are tested here."""
# ruff: noqa: PT012 - what raises is the end of a transaction, after what is done in it

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import text

from services.kit.data.engine.database import Database
from services.kit.data.errors import (
    AlreadyExists,
    CommitUnknown,
    Conflict,
    LockTimedOut,
    PoolExhausted,
    TimedOut,
    TransactionMisused,
    UnexpectedRollback,
)
from services.kit.data.transactions.ambient import Isolation, Propagation
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.data.transactions.transactional import transactional
from services.kit.settings import DatabaseSettings

P = Propagation


class Wrong(Exception):
    """What a test raises."""


class Worse(Wrong):
    """A kind of it."""


@dataclass
class Notes:
    """A table of one column, through a repository of one's own."""

    transactions: SqlTransactions
    url: str

    async def add(self, note: str) -> None:
        await self.transactions.resource.execute(text("INSERT INTO notes VALUES (:note)"), {"note": note})

    async def ask(self, question: str) -> object:
        return (await self.transactions.resource.execute(text(question))).scalar()

    async def number(self) -> int:
        """The number of the present transaction, which PostgreSQL gives at the first change."""
        number = await self.ask("SELECT pg_current_xact_id()::text::bigint")
        assert isinstance(number, int)
        return number

    def kept(self) -> set[str]:
        """What others see."""
        with psycopg.connect(self.url) as connection:
            return {note for (note,) in connection.execute("SELECT note FROM notes").fetchall()}


@pytest.fixture
async def open_notes(fresh_database: Callable[[str], str]) -> AsyncIterator[Callable[..., Notes]]:
    """Makes pools on a database with a table of notes; at the end no connection may be in use."""
    url = fresh_database("customers")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE notes (note text CONSTRAINT pk_notes PRIMARY KEY)")
    opened: list[Database] = []

    def make(**settings: Any) -> Notes:
        database = Database.connect(DatabaseSettings(url=SecretStr(url), **settings), application_name="test")
        opened.append(database)
        return Notes(SqlTransactions(database), url)

    yield make
    for database in opened:
        assert database._engine.pool.checkedout() == 0, "a connection was not given back"  # type: ignore[attr-defined]
        await database.close()


@pytest.fixture
def notes(open_notes: Callable[..., Notes]) -> Notes:
    return open_notes()


# The table: a mode, and no transaction open.


@pytest.mark.parametrize("mode", [P.REQUIRED, P.REQUIRES_NEW, P.NESTED])
async def test_without_an_open_transaction_these_modes_begin_one(notes: Notes, mode: Propagation) -> None:
    async with notes.transactions.begin(mode):
        await notes.add("a")
        assert notes.kept() == set()
    assert notes.kept() == {"a"}
    with pytest.raises(Wrong):
        async with notes.transactions.begin(mode):
            await notes.add("b")
            raise Wrong
    assert notes.kept() == {"a"}


@pytest.mark.parametrize("mode", [P.SUPPORTS, P.NOT_SUPPORTED, P.NEVER])
async def test_without_an_open_transaction_these_modes_commit_each_statement(notes: Notes, mode: Propagation) -> None:
    with pytest.raises(Wrong):
        async with notes.transactions.begin(mode):
            await notes.add("a")
            assert notes.kept() == {"a"}
            assert not notes.transactions.is_open
            raise Wrong
    assert notes.kept() == {"a"}


async def test_without_a_transaction_a_joined_block_that_failed_takes_nothing_back(notes: Notes) -> None:
    async with notes.transactions.begin(P.SUPPORTS):
        with suppress(Wrong):
            async with notes.transactions.begin(P.SUPPORTS):
                await notes.add("a")
                raise Wrong
        await notes.add("b")
    assert notes.kept() == {"a", "b"}


async def test_mandatory_without_an_open_transaction_is_an_error(notes: Notes) -> None:
    with pytest.raises(TransactionMisused, match="MANDATORY"):
        async with notes.transactions.begin(P.MANDATORY):
            pass


# The table: a mode inside an open transaction.


@pytest.mark.parametrize("mode", [P.REQUIRED, P.SUPPORTS, P.MANDATORY])
async def test_in_an_open_transaction_these_modes_join_it(notes: Notes, mode: Propagation) -> None:
    async with notes.transactions.begin() as outer:
        number = await notes.number()
        async with notes.transactions.begin(mode) as inner:
            assert inner is outer
            assert await notes.number() == number
            await notes.add("a")
        assert notes.kept() == set()
    assert notes.kept() == {"a"}


@pytest.mark.parametrize("mode", [P.REQUIRED, P.SUPPORTS, P.MANDATORY])
async def test_a_joined_block_that_failed_rolls_all_back_even_if_its_error_is_swallowed(
    notes: Notes, mode: Propagation
) -> None:
    with pytest.raises(UnexpectedRollback):
        async with notes.transactions.begin():
            await notes.add("a")
            with suppress(Wrong):
                async with notes.transactions.begin(mode):
                    raise Wrong
    assert notes.kept() == set()


async def test_in_an_open_transaction_requires_new_is_a_transaction_of_its_own(notes: Notes) -> None:
    with pytest.raises(Wrong):
        async with notes.transactions.begin() as outer:
            await notes.add("outer")
            number = await notes.number()
            async with notes.transactions.begin(P.REQUIRES_NEW) as inner:
                assert inner.id != outer.id
                assert await notes.number() != number
                await notes.add("inner")
            assert notes.kept() == {"inner"}
            assert await notes.number() == number
            raise Wrong
    assert notes.kept() == {"inner"}


async def test_in_an_open_transaction_nested_is_a_savepoint(notes: Notes) -> None:
    async with notes.transactions.begin():
        await notes.add("outer")
        number = await notes.number()
        with suppress(Wrong):
            async with notes.transactions.begin(P.NESTED):
                await notes.add("lost")
                raise Wrong
        async with notes.transactions.begin(P.NESTED):
            await notes.add("inner")
        # The number of a transaction is that of the outermost.
        assert await notes.number() == number
        assert notes.kept() == set()
    assert notes.kept() == {"outer", "inner"}


async def test_a_failed_statement_in_a_savepoint_leaves_the_rest_usable(notes: Notes) -> None:
    async with notes.transactions.begin():
        await notes.add("a")
        with pytest.raises(AlreadyExists):
            async with notes.transactions.begin(P.NESTED):
                await notes.add("a")
        await notes.add("b")
    assert notes.kept() == {"a", "b"}


async def test_in_an_open_transaction_not_supported_works_beside_it(notes: Notes) -> None:
    with pytest.raises(Wrong):
        async with notes.transactions.begin():
            await notes.add("outer")
            async with notes.transactions.begin(P.NOT_SUPPORTED):
                await notes.add("beside")
                assert notes.kept() == {"beside"}
            assert notes.transactions.is_open
            raise Wrong
    assert notes.kept() == {"beside"}


async def test_in_an_open_transaction_never_is_an_error(notes: Notes) -> None:
    with pytest.raises(TransactionMisused, match="NEVER"):
        async with notes.transactions.begin(), notes.transactions.begin(P.NEVER):
            pass


# Options.


@pytest.mark.parametrize("isolation", list(Isolation))
async def test_the_isolation_level_holds_for_the_transaction_and_no_longer(
    open_notes: Callable[..., Notes], isolation: Isolation
) -> None:
    notes = open_notes(pool_size=1)
    async with notes.transactions.begin(isolation=isolation):
        assert await notes.ask("SHOW transaction_isolation") == isolation.value.lower()
    async with notes.transactions.begin():
        assert await notes.ask("SHOW transaction_isolation") == "read committed"


async def test_a_read_only_transaction_refuses_changes_and_the_next_one_takes_them(
    open_notes: Callable[..., Notes],
) -> None:
    notes = open_notes(pool_size=1)
    with pytest.raises(TransactionMisused, match="read-only"):
        async with notes.transactions.begin(read_only=True):
            await notes.add("a")
    async with notes.transactions.begin():
        await notes.add("b")
    assert notes.kept() == {"b"}


async def test_a_transaction_can_not_be_joined_for_more_than_it_is(notes: Notes) -> None:
    with pytest.raises(TransactionMisused, match="read-only"):
        async with notes.transactions.begin(read_only=True), notes.transactions.begin():
            pass
    with pytest.raises(TransactionMisused, match="isolation"):
        async with notes.transactions.begin(), notes.transactions.begin(isolation=Isolation.SERIALIZABLE):
            pass


async def test_a_transaction_that_takes_too_long_is_rolled_back(notes: Notes) -> None:
    with pytest.raises(TimedOut):
        async with notes.transactions.begin(timeout_seconds=0.1):
            await notes.add("a")
            await notes.ask("SELECT pg_sleep(30)")
    assert notes.kept() == set()


class Rules:
    """Methods with rollback rules."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.transactions = notes.transactions

    @transactional(no_rollback_for=(Wrong,), rollback_for=(Worse,))
    async def fail(self, note: str, error: Exception) -> None:
        await self.notes.add(note)
        raise error


async def test_the_rule_that_names_the_nearest_class_of_an_exception_decides(notes: Notes) -> None:
    rules = Rules(notes)
    for error in (Wrong(), Worse(), KeyError()):
        with pytest.raises(type(error)):
            await rules.fail(type(error).__name__, error)
    assert notes.kept() == {"Wrong"}


async def test_a_swallowed_database_error_is_not_taken_for_a_commit(notes: Notes) -> None:
    with pytest.raises(UnexpectedRollback):
        async with notes.transactions.begin():
            await notes.add("a")
            with suppress(AlreadyExists):
                await notes.add("a")
    assert notes.kept() == set()


async def test_a_transaction_can_be_told_to_roll_back_without_an_error(notes: Notes) -> None:
    async with notes.transactions.begin() as transaction:
        await notes.add("a")
        transaction.roll_back()
    assert notes.kept() == set()


# Whose a transaction is, and that it is always cleaned up.


async def test_repositories_need_a_transaction(notes: Notes) -> None:
    with pytest.raises(TransactionMisused, match="no transaction is open"):
        await notes.add("a")


async def test_a_child_task_can_not_share_the_connection_and_is_told_so(notes: Notes) -> None:
    async def join() -> None:
        async with notes.transactions.begin():
            await notes.add("child")

    async with notes.transactions.begin():
        await notes.add("parent")
        results = await asyncio.gather(notes.add("child"), join(), return_exceptions=True)
    assert [type(result) for result in results] == [TransactionMisused] * 2
    assert "belongs to the task" in str(results[0])
    assert notes.kept() == {"parent"}


async def test_a_child_task_may_begin_a_transaction_of_its_own(notes: Notes) -> None:
    async def child() -> None:
        async with notes.transactions.begin(P.REQUIRES_NEW):
            await notes.add("child")

    async with notes.transactions.begin():
        await asyncio.gather(child())
        assert notes.kept() == {"child"}


async def test_a_task_that_outlives_the_transaction_it_was_started_in_has_none(notes: Notes) -> None:
    ended = asyncio.Event()

    async def child() -> None:
        await ended.wait()
        async with notes.transactions.begin():
            await notes.add("child")

    async with notes.transactions.begin():
        task = asyncio.create_task(child())
    ended.set()
    await task
    assert notes.kept() == {"child"}


async def test_cancellation_rolls_back_and_cleans_up(notes: Notes) -> None:
    added = asyncio.Event()

    async def work() -> None:
        async with notes.transactions.begin():
            await notes.add("a")
            added.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await added.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not notes.transactions.is_open
    assert notes.kept() == set()


async def test_the_transaction_id_is_in_log_lines_of_the_transaction_and_in_no_other(notes: Notes) -> None:
    def logged() -> object:
        return structlog.contextvars.get_contextvars().get("transaction_id")

    async with notes.transactions.begin() as outer:
        assert logged() == outer.id
        async with notes.transactions.begin(P.REQUIRES_NEW) as inner:
            assert logged() == inner.id
        assert logged() == outer.id
    assert logged() is None


async def test_two_databases_have_transactions_of_their_own(open_notes: Callable[..., Notes]) -> None:
    first, second = open_notes(), open_notes()
    with pytest.raises(Wrong):
        async with first.transactions.begin():
            await first.add("first")
            async with second.transactions.begin():
                await second.add("second")
            await first.add("first again")
            raise Wrong
    assert first.kept() == {"second"}


# Hooks.


class Called:
    """Remembers what was called."""

    def __init__(self, notes: Notes) -> None:
        self.names: list[str] = []
        for name in ("commit", "rollback", "end"):
            register = getattr(notes.transactions, f"after_{name}")
            register(lambda name=name: self.names.append(name))


async def test_hooks_are_called_once_the_outcome_is_there(notes: Notes) -> None:
    async with notes.transactions.begin():
        await notes.add("a")
        kept: list[set[str]] = []
        notes.transactions.after_commit(lambda: kept.append(notes.kept()))
        committed = Called(notes)
        assert committed.names == []
    assert kept == [{"a"}]
    assert committed.names == ["commit", "end"]

    with pytest.raises(Wrong):
        async with notes.transactions.begin():
            rolled_back = Called(notes)
            raise Wrong
    assert rolled_back.names == ["rollback", "end"]


async def test_hooks_of_a_savepoint_wait_for_the_transaction_around_it(notes: Notes) -> None:
    async with notes.transactions.begin():
        async with notes.transactions.begin(P.NESTED):
            kept = Called(notes)
        with suppress(Wrong):
            async with notes.transactions.begin(P.NESTED):
                lost = Called(notes)
                raise Wrong
        assert (kept.names, lost.names) == ([], ["rollback", "end"])
    assert kept.names == ["commit", "end"]


async def test_without_a_transaction_a_hook_is_called_at_once(notes: Notes) -> None:
    assert Called(notes).names == ["commit", "end"]


async def test_a_hook_that_fails_is_logged_and_hinders_nobody(notes: Notes) -> None:
    def fail() -> None:
        raise Wrong

    with structlog.testing.capture_logs() as lines:
        async with notes.transactions.begin():
            notes.transactions.after_commit(fail)
            called = Called(notes)
            await notes.add("a")
    assert called.names == ["commit", "end"]
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["transaction_hook_failed"]
    assert notes.kept() == {"a"}


# Lost connections, conflicts and the pool.


async def lose_connection_in_commit(notes: Notes) -> None:
    """Has the server close the present connection while it commits, after a deferred trigger has begun its work."""
    await notes.transactions.resource.execute(
        text("CREATE FUNCTION die() RETURNS trigger AS 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid());"
             " PERFORM pg_sleep(30); RETURN NULL; END' LANGUAGE plpgsql")
    )  # fmt: skip
    await notes.transactions.resource.execute(
        text("CREATE CONSTRAINT TRIGGER die AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED"
             " FOR EACH ROW EXECUTE FUNCTION die()")
    )  # fmt: skip
    await notes.add("a")


async def test_a_connection_lost_in_the_commit_is_an_unknown_outcome_and_not_repeated(notes: Notes) -> None:
    class Work:
        transactions = notes.transactions
        runs = 0

        @transactional(retries=3)
        async def run(self) -> Called:
            self.runs += 1
            self.called = Called(notes)
            await lose_connection_in_commit(notes)
            return self.called

    work = Work()
    with pytest.raises(CommitUnknown):
        await work.run()
    assert work.runs == 1
    assert work.called.names == ["end"]


class Counter:
    """Adds to a number that others change meanwhile."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self.transactions = notes.transactions
        self.runs = 0

    @transactional(isolation=Isolation.SERIALIZABLE, retries=5)
    async def add(self, together: asyncio.Barrier | None) -> None:
        self.runs += 1
        found = await self.notes.ask("SELECT count(*) FROM notes")
        if together is not None and self.runs <= together.parties:
            await together.wait()
        await self.notes.add(f"{found}")

    @transactional(isolation=Isolation.SERIALIZABLE)
    async def add_in_a_larger_one(self, conflict: asyncio.Event) -> None:
        await self.add(None)
        conflict.set()
        raise Conflict


async def test_serialization_failures_repeat_the_whole_unit(notes: Notes) -> None:
    counter = Counter(notes)
    together = asyncio.Barrier(2)

    async def add() -> None:
        with suppress(AlreadyExists):
            await counter.add(together)

    await asyncio.gather(add(), add())
    # The one that was repeated has seen what the other has written.
    assert notes.kept() in ({"0", "1"}, {"0"})
    assert counter.runs >= 2


async def test_a_method_repeats_only_the_transaction_that_it_began(notes: Notes) -> None:
    counter = Counter(notes)
    with pytest.raises(Conflict):
        await counter.add_in_a_larger_one(asyncio.Event())
    assert counter.runs == 1
    assert notes.kept() == set()


async def test_conflicts_are_repeated_as_often_as_said_and_then_raised(notes: Notes) -> None:
    class Work:
        transactions = notes.transactions
        runs = 0

        @transactional(retries=2)
        async def run(self) -> None:
            self.runs += 1
            raise Conflict

    work = Work()
    with pytest.raises(Conflict):
        await work.run()
    assert work.runs == 3


@pytest.mark.parametrize("patient", [False, True])
async def test_a_lock_that_was_not_to_be_had_is_waited_for_again_by_who_is_patient(notes: Notes, patient: bool) -> None:
    class Work:
        transactions = notes.transactions
        runs = 0

        @transactional(retries=2, patient=patient)
        async def run(self) -> None:
            self.runs += 1
            raise LockTimedOut

    work = Work()
    with pytest.raises(LockTimedOut):
        await work.run()
    assert work.runs == (3 if patient else 1)


@pytest.mark.parametrize("mode", [P.REQUIRES_NEW, P.NOT_SUPPORTED])
async def test_a_second_connection_from_an_exhausted_pool_fails_at_once(
    open_notes: Callable[..., Notes], mode: Propagation
) -> None:
    notes = open_notes(pool_size=1, pool_timeout_seconds=60)
    async with asyncio.timeout(30):
        async with notes.transactions.begin():
            await notes.add("a")
            with pytest.raises(PoolExhausted):
                async with notes.transactions.begin(mode):
                    pass
        assert notes.kept() == {"a"}


async def test_many_transactions_that_need_a_second_connection_do_not_wait_for_one_another(
    open_notes: Callable[..., Notes],
) -> None:
    notes = open_notes(pool_size=2, pool_timeout_seconds=60)
    both = asyncio.Barrier(2)

    async def work(name: str) -> None:
        async with notes.transactions.begin():
            await notes.add(name)
            await both.wait()
            async with notes.transactions.begin(P.REQUIRES_NEW):
                pass

    async with asyncio.timeout(30):
        results = await asyncio.gather(work("a"), work("b"), return_exceptions=True)
    assert [type(result) for result in results] == [PoolExhausted] * 2
    assert notes.kept() == set()
