"""The modes of propagation, one for each cell of the table in docs/data-layer.md (D4)."""
# ruff: noqa: PT012 - a transaction raises at its end, after the statements inside it

from contextlib import suppress

import pytest

from services.kit.data.errors import (
    AlreadyExists,
    TransactionMisused,
    UnexpectedRollback,
)
from services.kit.data.transactions.ambient import Propagation
from tests.integration.kit.transactions.notes import Notes, Wrong

P = Propagation


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
