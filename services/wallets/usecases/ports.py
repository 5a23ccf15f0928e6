"""What the use cases ask of stored wallets. On SQLAlchemy and in memory; one contract suite runs on both."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from services.kit.query.fields import EnumField, IntegerField, StringField, TimestampField, UuidField
from services.kit.query.page import ListQuery, Page
from services.kit.query.resource import Resource
from services.wallets.rules.entities import (
    Hold,
    HoldState,
    NewWallet,
    Owner,
    Transaction,
    TransactionKind,
    Wallet,
)
from services.wallets.rules.ledger import Decision
from services.wallets.rules.requests import Request

ID = UuidField("id", sortable=True)
CREATED_AT = TimestampField("created_at", sortable=True)

WALLETS = Resource(
    "wallets",
    (
        ID,
        UuidField("customer_id"),
        StringField("currency"),
        IntegerField("current_balance_cents", sortable=True),
        IntegerField("pending_charges_cents"),
        CREATED_AT,
        TimestampField("updated_at", sortable=True),
    ),
    default_order=(CREATED_AT.descending(),),
)

# What is listed is one wallet's statement, in which the sequence is unique. Whose it is, no filter says.
WALLET_ID = UuidField("wallet_id")
SEQUENCE = IntegerField("sequence", sortable=True, filterable=False)

TRANSACTIONS = Resource(
    "transactions",
    (
        UuidField("id"),
        SEQUENCE,
        EnumField("kind", TransactionKind),
        UuidField("job_id"),
        IntegerField("amount_cents"),
        TimestampField("created_at"),
    ),
    default_order=(SEQUENCE.descending(),),
    unique="sequence",
)

STATE = EnumField("state", HoldState)

HOLDS = Resource(
    "holds",
    (
        ID,
        UuidField("wallet_id"),
        UuidField("job_id"),
        STATE,
        IntegerField("amount_cents"),
        CREATED_AT,
    ),
    default_order=(CREATED_AT.descending(),),
)

ID_CONSTRAINT = "pk_wallets"
OWNER_CONSTRAINT = "uq_wallets_customer_id_currency"
CHARGED_JOB_CONSTRAINT = "uq_wallet_transactions_charged_job"


class WalletRepository(Protocol):
    """Stored wallets. Only the ledger changes them."""

    async def get(self, wallet_id: UUID) -> Wallet | None:
        """Answers the wallet, or None."""
        ...

    async def get_by_owner(self, owner: Owner) -> Wallet | None:
        """Answers the wallet of a customer in a currency, or None."""
        ...

    async def freeze(self, wallet_id: UUID) -> datetime:
        """Wait until nobody is writing to a wallet, and let nobody begin until the transaction ends.

        Returns:
            The time then: what is written to the wallet from now on is later.

        Raises:
            RowLocked: If somebody was writing for too long.
        """
        ...

    async def list_page(self, query: ListQuery) -> Page[Wallet]:
        """Answers a page of wallets."""
        ...

    async def create(self, wallet: NewWallet) -> Wallet:
        """Stores an empty wallet.

        Raises:
            AlreadyExists: With `ID_CONSTRAINT` or `OWNER_CONSTRAINT`.
        """
        ...


class TransactionRepository(Protocol):
    """Stored transactions. Only the ledger writes them, and nobody changes them."""

    async def get(self, transaction_id: UUID) -> Transaction | None:
        """Answers the transaction, or None."""
        ...

    async def list_page(self, query: ListQuery) -> Page[Transaction]:
        """Answers a page of transactions."""
        ...

    async def at(self, wallet_id: UUID, moment: datetime) -> Transaction | None:
        """Answers the wallet's last transaction up to a moment, or None."""
        ...


class HoldRepository(Protocol):
    """Stored holds. Only the ledger writes them."""

    async def get(self, hold_id: UUID) -> Hold | None:
        """Answers the hold, or None."""
        ...

    async def list_page(self, query: ListQuery) -> Page[Hold]:
        """Answers a page of holds."""
        ...

    async def delete_ended(self, age: timedelta, limit: int) -> int:
        """Delete holds that ended longer ago than this, the oldest first; return how many."""
        ...


class Ledger(Protocol):
    """What changes balances and holds."""

    async def apply(
        self, requests: Sequence[Request], *, wait: bool = True, seek_charged: bool = False
    ) -> list[Decision]:
        """Decides the requests (`rules.ledger.decide`) under locks on their wallets and stores the outcome.

        The wallets stay locked until the transaction ends.

        Args:
            requests: In order.
            wait: Whether locks are waited for; else requests whose wallet is locked are decided by `RowLocked`.
            seek_charged: Whether it is looked for who has charged the jobs that deductions name; else a job that
                another wallet was charged for is refused by the database.

        Raises:
            AlreadyExists: With `CHARGED_JOB_CONSTRAINT`; nothing was written.
            Conflict: If other transactions were in the way; nothing was written.
            RowLocked: If a lock was waited for too long; nothing was written.
        """
        ...
