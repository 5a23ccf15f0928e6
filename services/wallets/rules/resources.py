"""The lists of wallets, transactions and holds: the fields that callers filter and order by."""

from services.kit.query.fields import EnumField, IntegerField, StringField, TimestampField, UuidField
from services.kit.query.resource import Resource
from services.wallets.rules.entities import HoldState, TransactionKind

ID = UuidField("id", sortable=True)
CREATED_AT = TimestampField("created_at", sortable=True)

CUSTOMER_ID = UuidField("customer_id")

WALLETS = Resource(
    "wallets",
    (
        ID,
        CUSTOMER_ID,
        StringField("currency"),
        IntegerField("current_balance_cents", sortable=True),
        IntegerField("pending_charges_cents"),
        CREATED_AT,
        TimestampField("updated_at", sortable=True),
    ),
    default_order=(CREATED_AT.descending(),),
)

# A list of transactions is the statement of one wallet, in which the sequence is unique. No filter names the wallet.
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

HOLD_WALLET_ID = UuidField("wallet_id")

HOLDS = Resource(
    "holds",
    (
        ID,
        HOLD_WALLET_ID,
        UuidField("job_id"),
        STATE,
        IntegerField("amount_cents"),
        CREATED_AT,
    ),
    default_order=(CREATED_AT.descending(),),
)
