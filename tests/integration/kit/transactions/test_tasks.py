"""Transactions belong to one task and one database, and are always cleaned up (D4)."""
# ruff: noqa: PT012 - a transaction raises at its end, after the statements inside it

import asyncio
from collections.abc import Callable

import pytest
import structlog

from services.kit.data.errors import (
    TransactionMisused,
)
from services.kit.data.transactions.ambient import Propagation
from tests.integration.kit.transactions.notes import Notes, Wrong

P = Propagation


async def test_repositories_need_a_transaction(notes: Notes) -> None:
    with pytest.raises(TransactionMisused, match="no transaction is open"):
        await notes.add("a")


async def test_a_child_task_that_shares_the_connection_is_refused(notes: Notes) -> None:
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
