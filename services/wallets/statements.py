"""The set-based statements of the ledger: a fixed number, however many requests are decided together.

Each takes a list for each column of its table of arrays, under the column's name.
"""

from dataclasses import fields
from typing import Any

from sqlalchemy import Table, Text, Uuid, and_, func, insert, select, true, update

from services.kit.data.arrays import unnest
from services.wallets.domain import Transaction, Wallet
from services.wallets.models import wallet_transactions, wallets


def _columns(table: Table, entity: type[Any]) -> list[Any]:
    return [table.c[field.name] for field in fields(entity)]


_owners = unnest("owners", {"customer_id": Uuid, "currency": Text})

#: Locks wallets in the order of their IDs, so that no two units wait for each other. The lock lets others check foreign
#: keys to a wallet, which no charge changes.
LOCK = (
    select(*_columns(wallets, Wallet))
    .join(
        _owners,
        and_(
            wallets.c.customer_id == _owners.c.customer_id,
            wallets.c.currency == _owners.c.currency,
        ),
    )
    .order_by(wallets.c.id)
    .with_for_update(key_share=True, of=wallets)
)

_keys = unnest("keys", {"wallet_id": Uuid, "idempotency_key": Text})

_clock = select(func.statement_timestamp().label("now")).subquery("clock")
_written = wallet_transactions.join(
    _keys,
    and_(
        wallet_transactions.c.wallet_id == _keys.c.wallet_id,
        wallet_transactions.c.idempotency_key == _keys.c.idempotency_key,
    ),
)

#: Reads the time, and what was written under keys. The time is the statement's: read after the wallets were locked, it
#: is later than that of what was written before. The outer join answers it also where nothing was written.
KNOWN = select(_clock.c.now, *_columns(wallet_transactions, Transaction)).select_from(
    _clock.outerjoin(_written, true())
)

NEW_COLUMNS = tuple(field.name for field in fields(Transaction))

_new = unnest("new", {name: wallet_transactions.c[name].type for name in NEW_COLUMNS})

#: Stores new transactions.
ADD = insert(wallet_transactions).from_select(NEW_COLUMNS, select(*_new.c))

CHANGED_COLUMNS = ("current_balance_cents", "last_sequence", "updated_at", "version")

# Not `id`: SQLAlchemy would take a parameter with the name of a column that is not set for one to set.
_changed = unnest("changed", {"wallet_id": Uuid, **{name: wallets.c[name].type for name in CHANGED_COLUMNS}})

#: Stores what changed in locked wallets.
STORE = (
    update(wallets)
    .where(wallets.c.id == _changed.c.wallet_id)
    .values({name: _changed.c[name] for name in CHANGED_COLUMNS})
)
