"""Isolation, read-only transactions, time limits, and the rules that decide about a rollback (D4)."""
# ruff: noqa: PT012 - a transaction raises at its end, after the statements inside it

from collections.abc import Callable
from contextlib import suppress

import pytest

from services.kit.data.errors import (
    AlreadyExists,
    TimedOut,
    TransactionMisused,
    UnexpectedRollback,
)
from services.kit.data.transactions.ambient import Isolation
from services.kit.data.transactions.transactional import transactional
from tests.integration.kit.transactions.notes import Notes, Worse, Wrong


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


async def test_a_transaction_rolls_back_on_request_without_an_error(notes: Notes) -> None:
    async with notes.transactions.begin() as transaction:
        await notes.add("a")
        transaction.roll_back()
    assert notes.kept() == set()
