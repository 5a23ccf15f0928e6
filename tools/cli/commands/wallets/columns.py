"""The columns of wallets, transactions and holds."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tools.cli.output import NOTHING, Column, Columns, Output, age, cell, field, print_document, print_one

if TYPE_CHECKING:
    from datetime import datetime

    from innosystem.wallets.v1.wallet_pb2 import Wallet

# As wide as the start of an ID that is shown of most.
_START: Final = 13
# As wide as 999.99 EUR.
_AMOUNT: Final = 10
# Those of the examples differ only at their ends.
_UUID: Final = 36

TRANSACTIONS: Final = Columns(
    (
        field("sequence", "no.", usual=4, right=True),
        age("created_at", priority=1),
        field("kind", usual=9),
        field("amount_cents", usual=_AMOUNT, right=True),
        field("balance_after_cents", "balance", priority=1, usual=_AMOUNT, right=True),
        field("job_id", priority=2, usual=_START, short=True),
        field("description", priority=3, cut=14),
        field("counter_account", wide=True),
        field("idempotency_key", wide=True),
        field("vouched_by", wide=True),
        field("id", wide=True),
    )
)
HOLDS: Final = Columns(
    (
        field("id", usual=_START, short=True),
        field("amount_cents", priority=1, usual=_AMOUNT, right=True),
        field("state", priority=1, usual=8),
        age("created_at", priority=2),
        field("job_id", priority=3, usual=_START, short=True),
        field("customer_id", wide=True),
        field("wallet_id", wide=True),
        field("resolved_at", "ended", wide=True),
    )
)


def wallet_columns(customers: Mapping[str, str]) -> Columns:
    """Return the columns of wallets.

    Args:
        customers: The names of their customers, by ID.
    """

    def customer(wallet: "Wallet", now: "datetime | None") -> str:
        return customers.get(wallet.customer_id, NOTHING)

    return Columns(
        (
            field("id", usual=_UUID, short=True),
            Column("customer", customer, priority=2, cut=10),
            field("current_balance_cents", "balance", priority=1, usual=_AMOUNT, right=True),
            field("pending_charges_cents", "reserved", priority=3, usual=_AMOUNT, right=True),
            field("available_cents", "available", priority=4, usual=_AMOUNT, right=True),
            field("customer_id", wide=True),
            age("updated_at", title="changed", priority=5),
            field("created_at", wide=True),
        ),
    )


def print_moved(response: Any, output: Output, replayed: str) -> None:
    """Print the transaction by which money was moved.

    Args:
        response: The response with the transaction, the wallet and `replayed`.
        output: The format; documents are the whole response.
        replayed: What to say if an earlier call moved the money.
    """
    if output.format not in ("csv", "name") and print_document(response, output):
        return
    print_one(response.transaction, TRANSACTIONS, output)
    if output.for_people:
        print(f"\nThe balance is {cell(response.wallet, 'current_balance_cents')}.")
    if response.replayed:
        sys.stderr.write(f"{replayed}\n")
