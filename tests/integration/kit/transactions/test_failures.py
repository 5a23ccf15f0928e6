"""Lost connections, conflicts, locks and an exhausted pool (D4)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
from sqlalchemy import text

from services.kit.data.errors import (
    AlreadyExists,
    CommitUnknown,
    Conflict,
    LockTimedOut,
    PoolExhausted,
)
from services.kit.data.transactions.ambient import Isolation, Propagation
from services.kit.data.transactions.transactional import transactional
from tests.integration.kit.transactions.notes import HookCalls, Notes

P = Propagation


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
        async def run(self) -> HookCalls:
            self.runs += 1
            self.called = HookCalls(notes)
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
async def test_a_second_connection_from_an_exhausted_pool_fails_immediately(
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
