"""Reads the books of wallets in memory, for tests."""

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Any

from typing_extensions import override

from services.kit.data.transactions.memory import MemoryTransactions
from services.wallets.rules.books import ChainPart, Position, WalletState
from services.wallets.rules.entities import CounterAccount, Hold, HoldState, Transaction, Wallet
from services.wallets.store.memory import (
    MemoryHoldRepository,
    MemoryTransactionRepository,
    MemoryWalletRepository,
)
from services.wallets.usecases.ports import BooksReader


class MemoryBooksReader(BooksReader):
    """The books of a `MemoryStore`."""

    def __init__(self, transactions: MemoryTransactions) -> None:
        self._transactions = transactions

    @override
    async def states(self, after: Position, limit: int) -> list[WalletState]:
        wallets: list[Wallet] = list(self._rows(MemoryWalletRepository.table))
        left = [one for one in wallets if (one.id, Position.FINISHED) > (after.wallet_id, after.sequence)]
        return [self._state(wallet) for wallet in sorted(left, key=lambda one: one.id)[:limit]]

    @override
    async def chain(self, after: Position, states: Sequence[WalletState], limit: int) -> list[ChainPart]:
        known = {state.wallet_id: state.last_sequence for state in states}
        lines: list[Transaction] = [
            one
            for one in self._rows(MemoryTransactionRepository.table)
            if one.sequence <= known.get(one.wallet_id, 0)
            and (one.wallet_id, one.sequence) >= (after.wallet_id, after.sequence)
        ]
        lines.sort(key=lambda one: (one.wallet_id, one.sequence))
        return [_summed(list(part), after) for _, part in groupby(lines[:limit], key=lambda one: one.wallet_id)]

    def _rows(self, table: str) -> list[Any]:
        return list(self._transactions.resource.tables.setdefault(table, {}).values())

    def _state(self, wallet: Wallet) -> WalletState:
        holds: list[Hold] = [
            one
            for one in self._rows(MemoryHoldRepository.table)
            if one.wallet_id == wallet.id and one.state is HoldState.ACTIVE
        ]
        lines: list[Transaction] = [
            one for one in self._rows(MemoryTransactionRepository.table) if one.wallet_id == wallet.id
        ]
        top = max(lines, key=lambda one: one.sequence, default=None)
        return WalletState(
            wallet_id=wallet.id,
            currency=wallet.currency,
            current_balance_cents=wallet.current_balance_cents,
            pending_charges_cents=wallet.pending_charges_cents,
            last_sequence=wallet.last_sequence,
            held_cents=sum(one.amount_cents for one in holds),
            active_holds=len(holds),
            top_sequence=0 if top is None else top.sequence,
            top_balance_cents=0 if top is None else top.balance_after_cents,
        )


def _summed(lines: list[Transaction], after: Position) -> ChainPart:
    first = lines[0]
    new = [one for one in lines if (one.wallet_id, one.sequence) != (after.wallet_id, after.sequence)]
    pairs = list(pairwise(lines))
    steps = [(before.sequence, before.balance_after_cents, one) for before, one in pairs]
    if new[:1] == [first]:
        steps.insert(0, (0, 0, first))
    gaps = [one.sequence for sequence, _, one in steps if one.sequence != sequence + 1]
    breaks = {
        one.sequence: one.balance_after_cents - one.amount_cents - balance
        for _, balance, one in steps
        if one.balance_after_cents - one.amount_cents != balance
    }

    def booked(account: CounterAccount) -> int:
        return sum(one.amount_cents for one in new if one.counter_account is account)

    return ChainPart(
        wallet_id=first.wallet_id,
        last_sequence=lines[-1].sequence,
        rows=len(lines),
        transactions=len(new),
        gaps=len(gaps),
        first_gap=min(gaps, default=None),
        breaks=len(breaks),
        first_break=min(breaks, default=None),
        broken_cents=sum(abs(cents) for cents in breaks.values()),
        funding_cents=booked(CounterAccount.FUNDING),
        revenue_cents=booked(CounterAccount.REVENUE),
        adjustment_cents=booked(CounterAccount.ADJUSTMENT),
    )
