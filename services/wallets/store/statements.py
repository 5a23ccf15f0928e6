"""The set-based statements of the ledger: a fixed number for any number of requests that are decided together.

Each takes a list for each column of its table of arrays, under the column's name.
"""

from dataclasses import fields
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    DateTime,
    Interval,
    Select,
    Table,
    Text,
    Uuid,
    and_,
    bindparam,
    cast,
    func,
    insert,
    select,
    text,
    true,
    union_all,
    update,
)

from services.kit.data.array_parameters import any_of, unnest
from services.kit.data.engine.prepared import Prepared
from services.wallets.rules.entities import Hold, Transaction, TransactionKind, Wallet
from services.wallets.rules.requests import WRITE_OFF_KEY_PREFIX
from services.wallets.store.tables import holds, wallet_transactions, wallets


def _columns(table: Table, entity: type[Any]) -> list[Any]:
    return [table.c[field.name] for field in fields(entity)]


#: The fields of a hold that come from its wallet.
OF_WALLET = ("customer_id", "currency")

_owners = unnest("owners", {"customer_id": Uuid, "currency": Text})

_of_owners = select(*_columns(wallets, Wallet)).join(
    _owners,
    and_(
        wallets.c.customer_id == _owners.c.customer_id,
        wallets.c.currency == _owners.c.currency,
    ),
)


def _locked(found: Select[Any], *, wait: bool) -> Prepared:
    """Lock wallets in the order of their IDs, so that no two database transactions wait for each other.

    The lock allows others to check foreign keys to a wallet, which no charge changes.
    """
    in_order = found.order_by(wallets.c.id)
    return Prepared(in_order.with_for_update(key_share=True, of=wallets, skip_locked=not wait))


#: Lock wallets, by `wait`: wait for each, or skip those that others have locked.
LOCK = {wait: _locked(_of_owners, wait=wait) for wait in (True, False)}

#: Reads wallets without locks.
OF_OWNERS = Prepared(_of_owners)

#: Reads the IDs of the wallets of customers.
IDS_OF_CUSTOMERS = Prepared(select(wallets.c.id).where(wallets.c.customer_id == any_of("customer_ids", Uuid)))


def _any_in(found: CompoundSelect[Any]) -> Any:
    # An array, because PostgreSQL would plan a join with an unknown number of rows as a read of the whole table.
    return func.any(func.array(found.scalar_subquery()))


# Two subqueries, because no index serves two conditions joined by OR.
_charged = wallet_transactions.alias("charged")
_by_id = _charged.c.id == any_of("transaction_ids", Uuid)
_by_job = and_(
    _charged.c.job_id == any_of("job_ids", Uuid),
    _charged.c.kind == TransactionKind.DEDUCTION.value,
)

_named = select(*_columns(wallets, Wallet)).where(
    wallets.c.id
    == _any_in(
        union_all(
            select(wallets.c.id).join(
                _owners,
                and_(
                    wallets.c.customer_id == _owners.c.customer_id,
                    wallets.c.currency == _owners.c.currency,
                ),
            ),
            select(holds.c.wallet_id).where(holds.c.id == any_of("hold_ids", Uuid)),
            select(_charged.c.wallet_id).where(_by_id),
            select(_charged.c.wallet_id).where(_by_job),
        )
    )
)

#: The same for requests that name wallets by holds or charges as well. A hold or charge never changes its wallet.
LOCK_NAMED = {wait: _locked(_named, wait=wait) for wait in (True, False)}

_keys = unnest("keys", {"wallet_id": Uuid, "idempotency_key": Text})

_clock = select(func.statement_timestamp().label("now")).subquery("clock")
_written = wallet_transactions.join(
    _keys,
    and_(
        wallet_transactions.c.wallet_id == _keys.c.wallet_id,
        wallet_transactions.c.idempotency_key == _keys.c.idempotency_key,
    ),
)

#: Reads the time, and the transactions written under keys. The time is the statement's: read after the wallets were
#: locked, it is later than that of all earlier writes. The outer join returns it even if no key was written.
WRITTEN = Prepared(
    select(_clock.c.now, *_columns(wallet_transactions, Transaction)).select_from(_clock.outerjoin(_written, true()))
)

_of_hold = holds.outerjoin(wallets, wallets.c.id == holds.c.wallet_id)

#: Reads the time in the same way, and the holds that requests name.
NAMED_HOLDS = Prepared(
    select(
        _clock.c.now,
        *(wallets.c[field.name] if field.name in OF_WALLET else holds.c[field.name] for field in fields(Hold)),
    ).select_from(_clock.outerjoin(_of_hold, holds.c.id == any_of("ids", Uuid)))
)

_refunds = wallet_transactions.alias("refunds")
_refunded = (
    select(func.coalesce(func.sum(_refunds.c.amount_cents), 0))
    .where(_refunds.c.refunds_transaction_id == wallet_transactions.c.id)
    .scalar_subquery()
)

_adjustments = wallet_transactions.alias("adjustments")
_written_off = (
    select(func.coalesce(func.sum(_adjustments.c.amount_cents), 0))
    .where(
        _adjustments.c.wallet_id == wallet_transactions.c.wallet_id,
        # The unique index finds the key of a write-off; without a job, the key is null and matches nothing.
        _adjustments.c.idempotency_key == WRITE_OFF_KEY_PREFIX + cast(wallet_transactions.c.job_id, Text),
    )
    .scalar_subquery()
)

#: Reads the transactions that refunds name, and how much of each was refunded or written off.
REFUNDABLES = Prepared(
    select(*_columns(wallet_transactions, Transaction), (_refunded + _written_off).label("refunded_cents")).where(
        wallet_transactions.c.id
        == _any_in(
            union_all(
                select(_charged.c.id).where(_by_id),
                select(_charged.c.id).where(_by_job),
            )
        )
    )
)

#: Reads the transactions that charged jobs.
CHARGED_BY = Prepared(select(_charged.c.job_id, _charged.c.id).where(_by_job, _charged.c.charged_again.is_(None)))

NEW_COLUMNS = tuple(field.name for field in fields(Transaction))

_new = unnest("new", {name: wallet_transactions.c[name].type for name in NEW_COLUMNS})

#: Stores new transactions.
ADD = Prepared(insert(wallet_transactions).from_select(NEW_COLUMNS, select(*_new.c)))

CHANGED_COLUMNS = ("current_balance_cents", "pending_charges_cents", "last_sequence", "updated_at", "version")

# Not `id`: SQLAlchemy would set the column of this name.
_changed = unnest("changed", {"wallet_id": Uuid, **{name: wallets.c[name].type for name in CHANGED_COLUMNS}})

#: Stores the changes of locked wallets.
STORE = Prepared(
    update(wallets)
    .where(wallets.c.id == _changed.c.wallet_id)
    .values({name: _changed.c[name] for name in CHANGED_COLUMNS})
)


def _owner(column: Any) -> Any:
    return select(column).where(wallets.c.id == holds.c.wallet_id).scalar_subquery()


_OF_WALLET = {name: _owner(wallets.c[name]) for name in OF_WALLET}

#: The columns of a hold, with the owner of its wallet.
HOLD_COLUMNS = tuple(
    _OF_WALLET[field.name].label(field.name) if field.name in _OF_WALLET else holds.c[field.name]
    for field in fields(Hold)
)

NEW_HOLD_COLUMNS = tuple(field.name for field in fields(Hold) if field.name not in _OF_WALLET)

_new_holds = unnest("new_holds", {name: holds.c[name].type for name in NEW_HOLD_COLUMNS})

#: Stores new holds, in the order of their IDs, so that two database transactions with the same ones never deadlock.
ADD_HOLDS = Prepared(insert(holds).from_select(NEW_HOLD_COLUMNS, select(*_new_holds.c).order_by(_new_holds.c.id)))

RESOLVED_COLUMNS = ("state", "resolved_at")

_resolved = unnest("resolved", {"hold_id": Uuid, **{name: holds.c[name].type for name in RESOLVED_COLUMNS}})

#: Stores the final states of holds.
RESOLVE_HOLDS = Prepared(
    update(holds)
    .where(holds.c.id == _resolved.c.hold_id)
    .values({name: _resolved.c[name] for name in RESOLVED_COLUMNS})
)

#: Blocks writers of a wallet. They stamp their writes with the time at which they hold its lock (`WRITTEN`).
FREEZE = text("SELECT FROM wallets WHERE id = :wallet_id FOR SHARE").bindparams(bindparam("wallet_id", type_=Uuid()))
NOW = text("SELECT statement_timestamp()")

#: Finds a wallet's last transaction up to a time. Times never run backwards along the sequence, so it halves the range
#: of sequences until one is left: about twenty probes of its index, and no index on the time.
SEQUENCE_AT = text(
    """
    WITH RECURSIVE search(low, high) AS (
        SELECT CAST(0 AS bigint), last_sequence FROM wallets WHERE id = :wallet_id
        UNION ALL
        SELECT CASE WHEN line.created_at <= :at THEN line.sequence ELSE low END,
            CASE WHEN line.created_at <= :at THEN high ELSE line.sequence - 1 END
        FROM search
        JOIN wallet_transactions AS line ON line.wallet_id = :wallet_id AND line.sequence = low + (high - low + 1) / 2
        WHERE low < high
    )
    SELECT max(low) FROM search
    """
).bindparams(bindparam("wallet_id", type_=Uuid()), bindparam("at", type_=DateTime(timezone=True)))

#: Deletes holds that ended long ago, by the index of all holds by age: few holds of that age are active.
DELETE_ENDED_HOLDS = text(
    """
    WITH ended AS MATERIALIZED (
        SELECT id FROM holds
        WHERE created_at < now() - :age AND resolved_at < now() - :age
        ORDER BY created_at, id LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    DELETE FROM holds WHERE id = ANY(ARRAY(SELECT id FROM ended))
    """
).bindparams(bindparam("age", type_=Interval()))
