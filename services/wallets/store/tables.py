"""The tables of the wallets database. Their CHECKs repeat the rules of the ledger, in case a defect gets past them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

from services.kit.data.append_only import append_only
from services.kit.data.tables import audit_log, created_at, make_metadata, time_column, updated_at

metadata = make_metadata()

audit_log.to_metadata(metadata)

wallets = Table(
    "wallets",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("currency", Text(collation="C"), nullable=False, server_default=text("'EUR'")),
    Column("current_balance_cents", BigInteger, nullable=False, server_default=text("0")),
    Column("pending_charges_cents", BigInteger, nullable=False, server_default=text("0")),
    Column("last_sequence", BigInteger, nullable=False, server_default=text("0")),
    created_at(),
    updated_at(),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
    UniqueConstraint("customer_id", "currency"),
    CheckConstraint("current_balance_cents >= 0", name="balance_not_negative"),
    CheckConstraint("pending_charges_cents >= 0", name="pending_not_negative"),
    CheckConstraint("pending_charges_cents <= current_balance_cents", name="pending_within_balance"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_is_iso_4217"),
    # Each charge updates its wallet. No index holds a column that changes then, and a page keeps a third of itself
    # free: so the new version goes beside the old one (HOT), no index is touched, and reading prunes the old ones away.
    # What is left for vacuum is few rows, but a wallet's page that nobody reads keeps its old versions: after a
    # twentieth.
    postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.05},
)

# ListWallets in its default order. Its other orders sort: an index on the balance would cost every charge its HOT
# update.
Index("ix_wallets_created_at", wallets.c.created_at, wallets.c.id)

wallet_transactions = Table(
    "wallet_transactions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("wallet_id", Uuid, ForeignKey("wallets.id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("kind", Text(collation="C"), nullable=False),
    Column("counter_account", Text(collation="C"), nullable=False),
    Column("amount_cents", BigInteger, nullable=False),
    Column("balance_after_cents", BigInteger, nullable=False),
    Column("idempotency_key", Text(collation="C"), nullable=False),
    Column("job_id", Uuid, nullable=True),
    Column("hold_id", Uuid, nullable=True),
    Column(
        "refunds_transaction_id",
        Uuid,
        # Named, because by the convention its name would be longer than PostgreSQL's names are.
        ForeignKey("wallet_transactions.id", name="fk_wallet_transactions_refunds"),
        nullable=True,
    ),
    Column("description", Text, nullable=False, server_default=text("''")),
    created_at(),
    Column("requested_amount_cents", BigInteger, nullable=True),
    # Set by a migration alone: the line charges a job that had been charged before, when nothing kept it from that.
    Column("charged_again", Boolean, nullable=True),
    # The statement in its order, and no number twice.
    UniqueConstraint("wallet_id", "sequence"),
    UniqueConstraint("wallet_id", "idempotency_key"),
    CheckConstraint("sequence > 0", name="sequence_from_1"),
    CheckConstraint("balance_after_cents >= 0", name="balance_not_negative"),
    CheckConstraint(
        "CASE kind"
        " WHEN 'CREDIT' THEN amount_cents > 0"
        " WHEN 'DEDUCTION' THEN amount_cents < 0"
        " WHEN 'REFUND' THEN amount_cents > 0"
        " WHEN 'ADJUSTMENT' THEN amount_cents <> 0"
        " ELSE false END",
        name="sign_fits_kind",
    ),
    CheckConstraint(
        "counter_account = CASE kind"
        " WHEN 'CREDIT' THEN 'FUNDING'"
        " WHEN 'ADJUSTMENT' THEN 'ADJUSTMENT'"
        " ELSE 'REVENUE' END",
        name="counter_account_fits_kind",
    ),
    CheckConstraint("(kind = 'REFUND') = (refunds_transaction_id IS NOT NULL)", name="refund_names_deduction"),
    # With the unique key this makes who charges a job again get the first charge for an answer.
    CheckConstraint(
        "CASE WHEN kind = 'DEDUCTION' AND job_id IS NOT NULL"
        " THEN idempotency_key = 'job:' || job_id::text"
        " ELSE NOT starts_with(idempotency_key, 'job:') END",
        name="key_fits_job",
    ),
    CheckConstraint(
        "(hold_id IS NULL OR kind = 'DEDUCTION')"
        " AND (requested_amount_cents IS NULL OR (kind = 'REFUND' AND requested_amount_cents = 0))"
        " AND (kind <> 'CREDIT' OR job_id IS NULL)"
        " AND (kind <> 'ADJUSTMENT' OR (job_id IS NOT NULL AND idempotency_key = 'write-off:' || job_id::text))",
        name="names_fit_kind",
    ),
    # Only grows. Vacuumed after a fiftieth of new lines and not a fifth, so that each vacuum freezes little, and none
    # has to freeze a year's lines at once.
    postgresql_with={"autovacuum_vacuum_insert_scale_factor": 0.02, "autovacuum_analyze_scale_factor": 0.02},
)

# What was charged and refunded for a job. Of deductions it takes one a job, whichever wallet is charged; for all other
# lines the second column is null, and of those it takes any number.
Index(
    "uq_wallet_transactions_charged_job",
    wallet_transactions.c.job_id,
    text("(NULLIF(kind = 'DEDUCTION'::text AND charged_again IS NULL, false))"),
    unique=True,
    postgresql_where=wallet_transactions.c.job_id.is_not(None),
)

# What was given back of a charge. Only refunds are in it.
Index(
    "ix_wallet_transactions_refunds",
    wallet_transactions.c.refunds_transaction_id,
    postgresql_where=wallet_transactions.c.refunds_transaction_id.is_not(None),
)

# What happened stays as it was written down. Corrections are further lines.
append_only(wallet_transactions, "refuse_change_of_transactions")

holds = Table(
    "holds",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Null for a hold that was released before it was placed, of which nothing else is known.
    Column("wallet_id", Uuid, ForeignKey("wallets.id"), nullable=True),
    Column("job_id", Uuid, nullable=True),
    Column("amount_cents", BigInteger, nullable=False),
    Column("state", Text(collation="C"), nullable=False),
    created_at(),
    time_column("resolved_at", nullable=True),
    CheckConstraint("state IN ('ACTIVE', 'CAPTURED', 'RELEASED')", name="state_is_known"),
    CheckConstraint("(state = 'ACTIVE') = (resolved_at IS NULL)", name="resolved_unless_active"),
    CheckConstraint(
        "CASE WHEN wallet_id IS NULL"
        " THEN job_id IS NULL AND amount_cents = 0 AND state = 'RELEASED'"
        " ELSE job_id IS NOT NULL AND amount_cents > 0 END",
        name="placed_or_only_released",
    ),
    CheckConstraint("resolved_at >= created_at", name="resolved_later"),
    # Each hold is updated once, when it ends: a page keeps room for the new versions of a part of its rows.
    # Those that have ended stay, so the table is far larger than what changes; their dead entries are in the indexes of
    # active holds, which each charge and the hold auditor read.
    postgresql_with={
        "fillfactor": 85,
        "autovacuum_vacuum_scale_factor": 0.02,
        "autovacuum_vacuum_threshold": 5000,
        "autovacuum_vacuum_insert_scale_factor": 0.05,
        "autovacuum_analyze_scale_factor": 0.02,
    },
)

# ListHolds in its default order.
Index("ix_holds_created_at", holds.c.created_at, holds.c.id)

# Active holds by age, for those who look for what was forgotten. It holds no more than the jobs that are under way.
Index("ix_holds_active", holds.c.created_at, holds.c.id, postgresql_where=holds.c.state == "ACTIVE")

# What is reserved of a wallet: the sum that must be its pending charges. As small as the one before.
Index("ix_holds_active_wallet_id", holds.c.wallet_id, postgresql_where=holds.c.state == "ACTIVE")

# The holds of a job: what was reserved for it, and what became of that.
Index("ix_holds_job_id", holds.c.job_id, postgresql_where=holds.c.job_id.is_not(None))
