"""Reads the books of the wallets in PostgreSQL, which sums them up."""

import json
from collections.abc import Sequence

from sqlalchemy import Boolean, Uuid, bindparam, text
from typing_extensions import override

from services.kit.data.transactions.sql import SqlTransactions
from services.wallets.rules.books import ActiveHolds, ChainPart, Position, WalletState
from services.wallets.usecases.ports import ActiveHoldsReader, BooksReader

# One statement, so that it sees each wallet, its holds and its last transaction at the same moment.
_STATES = text(
    """
    SELECT wallet.id AS wallet_id, wallet.currency, wallet.current_balance_cents, wallet.pending_charges_cents,
        wallet.last_sequence, coalesce(held.cents, 0) AS held_cents, held.count AS active_holds,
        coalesce(top.sequence, 0) AS top_sequence, coalesce(top.balance_after_cents, 0) AS top_balance_cents
    FROM (
        SELECT * FROM wallets WHERE id >= :wallet_id AND NOT (id = :wallet_id AND :finished) ORDER BY id LIMIT :count
    ) AS wallet
    CROSS JOIN LATERAL (
        SELECT sum(amount_cents) AS cents, count(*) AS count FROM holds
        WHERE holds.wallet_id = wallet.id AND state = 'ACTIVE'
    ) AS held
    LEFT JOIN LATERAL (
        SELECT sequence, balance_after_cents FROM wallet_transactions AS line
        WHERE line.wallet_id = wallet.id ORDER BY sequence DESC LIMIT 1
    ) AS top ON true
    ORDER BY wallet.id
    """
).bindparams(bindparam("wallet_id", type_=Uuid()), bindparam("finished", type_=Boolean()))

# Walks the index of sequences: at most `count` rows, anywhere in the table. The last sequence of each wallet is looked
# up row by row: PostgreSQL would begin a join with the wallets, and read and sort all of their lines for the first row.
_CHAIN = text(
    """
    WITH part AS (
        SELECT line.wallet_id, line.sequence, line.amount_cents, line.balance_after_cents, line.counter_account
        FROM wallet_transactions AS line
        WHERE (line.wallet_id, line.sequence) >= (:wallet_id, :sequence) AND line.wallet_id <= :last_wallet_id
            AND line.sequence <= CAST(CAST(:last_sequences AS jsonb) ->> CAST(line.wallet_id AS text) AS bigint)
        ORDER BY line.wallet_id, line.sequence
        LIMIT :count
    ), chained AS (
        SELECT *, NOT (wallet_id = :wallet_id AND sequence = :sequence) AS is_new,
            coalesce(lag(sequence) OVER wallet, 0) AS sequence_before,
            balance_after_cents - CAST(amount_cents AS numeric)
                - coalesce(lag(balance_after_cents) OVER wallet, 0) AS broken_cents
        FROM part WINDOW wallet AS (PARTITION BY wallet_id ORDER BY sequence)
    )
    SELECT wallet_id, max(sequence) AS last_sequence, count(*) AS rows, count(*) FILTER (WHERE is_new) AS transactions,
        count(*) FILTER (WHERE is_new AND sequence <> sequence_before + 1) AS gaps,
        min(sequence) FILTER (WHERE is_new AND sequence <> sequence_before + 1) AS first_gap,
        count(*) FILTER (WHERE is_new AND broken_cents <> 0) AS breaks,
        min(sequence) FILTER (WHERE is_new AND broken_cents <> 0) AS first_break,
        coalesce(sum(abs(broken_cents)) FILTER (WHERE is_new), 0) AS broken_cents,
        coalesce(sum(amount_cents) FILTER (WHERE is_new AND counter_account = 'FUNDING'), 0) AS funding_cents,
        coalesce(sum(amount_cents) FILTER (WHERE is_new AND counter_account = 'REVENUE'), 0) AS revenue_cents,
        coalesce(sum(amount_cents) FILTER (WHERE is_new AND counter_account = 'ADJUSTMENT'), 0) AS adjustment_cents
    FROM chained GROUP BY wallet_id ORDER BY wallet_id
    """
).bindparams(
    bindparam("wallet_id", type_=Uuid()),
    bindparam("last_wallet_id", type_=Uuid()),
)
# Sums of bigints are numerics.
_SUMS = ("broken_cents", "funding_cents", "revenue_cents", "adjustment_cents")

# As many rows as there are jobs in progress: the partial index holds no others.
_ACTIVE_HOLDS = text(
    """
    SELECT wallets.currency, count(*) AS count, sum(holds.amount_cents) AS cents,
        extract(epoch FROM statement_timestamp() - min(holds.created_at)) AS oldest_seconds
    FROM holds JOIN wallets ON wallets.id = holds.wallet_id
    WHERE holds.state = 'ACTIVE' GROUP BY wallets.currency
    """
)


class SqlBooksReader(BooksReader, ActiveHoldsReader):
    """The books in the open database transaction."""

    def __init__(self, transactions: SqlTransactions) -> None:
        self._transactions = transactions

    @override
    async def states(self, after: Position, limit: int) -> list[WalletState]:
        parameters = {"wallet_id": after.wallet_id, "finished": after.finished, "count": limit}
        result = await self._transactions.resource.execute(_STATES, parameters)
        return [WalletState(**{**row, "held_cents": int(row["held_cents"])}) for row in result.mappings()]

    @override
    async def chain(self, after: Position, states: Sequence[WalletState], limit: int) -> list[ChainPart]:
        parameters = {
            "last_sequences": json.dumps({str(state.wallet_id): state.last_sequence for state in states}),
            "last_wallet_id": states[-1].wallet_id,
            "wallet_id": after.wallet_id,
            "sequence": after.sequence,
            "count": limit,
        }
        result = await self._transactions.resource.execute(_CHAIN, parameters)
        return [ChainPart(**{**row, **{name: int(row[name]) for name in _SUMS}}) for row in result.mappings()]

    @override
    async def active_holds(self) -> list[ActiveHolds]:
        result = await self._transactions.resource.execute(_ACTIVE_HOLDS)
        return [
            ActiveHolds(row["currency"], row["count"], int(row["cents"]), max(0.0, float(row["oldest_seconds"])))
            for row in result.mappings()
        ]
