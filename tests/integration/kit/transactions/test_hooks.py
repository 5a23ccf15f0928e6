"""Hooks run once the outcome of their transaction is known (D4)."""
# ruff: noqa: PT012 - a transaction raises at its end, after the statements inside it

from contextlib import suppress

import pytest
import structlog

from services.kit.data.transactions.ambient import Propagation
from tests.integration.kit.transactions.notes import HookCalls, Notes, Wrong

P = Propagation


async def test_hooks_are_called_once_the_outcome_is_there(notes: Notes) -> None:
    async with notes.transactions.begin():
        await notes.add("a")
        kept: list[set[str]] = []
        notes.transactions.after_commit(lambda: kept.append(notes.kept()))
        committed = HookCalls(notes)
        assert committed.names == []
    assert kept == [{"a"}]
    assert committed.names == ["commit", "end"]

    with pytest.raises(Wrong):
        async with notes.transactions.begin():
            rolled_back = HookCalls(notes)
            raise Wrong
    assert rolled_back.names == ["rollback", "end"]


async def test_hooks_of_a_savepoint_wait_for_the_transaction_around_it(notes: Notes) -> None:
    async with notes.transactions.begin():
        async with notes.transactions.begin(P.NESTED):
            kept = HookCalls(notes)
        with suppress(Wrong):
            async with notes.transactions.begin(P.NESTED):
                lost = HookCalls(notes)
                raise Wrong
        assert (kept.names, lost.names) == ([], ["rollback", "end"])
    assert kept.names == ["commit", "end"]


async def test_without_a_transaction_a_hook_is_called_immediately(notes: Notes) -> None:
    assert HookCalls(notes).names == ["commit", "end"]


async def test_a_hook_that_fails_is_logged_and_affects_nothing_else(notes: Notes) -> None:
    def fail() -> None:
        raise Wrong

    with structlog.testing.capture_logs() as lines:
        async with notes.transactions.begin():
            notes.transactions.after_commit(fail)
            called = HookCalls(notes)
            await notes.add("a")
    assert called.names == ["commit", "end"]
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["transaction_hook_failed"]
    assert notes.kept() == {"a"}
