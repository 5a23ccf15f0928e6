"""The tables of the wallets database. Their CHECKs repeat the rules of the ledger, as a second line of defense."""

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
from services.wallets.rules import constraints

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
    # Each charge updates its wallet. No index covers the changed columns, and a page keeps a third of its space free:
    # the new version goes beside the old one (HOT), no index changes, and reads prune old versions. Vacuum finds few
    # rows, but a page that is not read keeps its old versions: it runs after a twentieth.
    postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.05},
)

# ListWallets in its default order. Its other orders sort: an index on the balance would turn the HOT update of every
# charge into a full one.
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
        # Named, because the conventional name would exceed the length of PostgreSQL's names.
        ForeignKey("wallet_transactions.id", name="fk_wallet_transactions_refunds"),
        nullable=True,
    ),
    Column("description", Text, nullable=False, server_default=text("''")),
    created_at(),
    Column("requested_amount_cents", BigInteger, nullable=True),
    # Set by a migration only: the line charges a job a second time, from before the unique index existed.
    Column("charged_again", Boolean, nullable=True),
    Column("vouched_by", Text(collation="C"), nullable=True),
    # The order of the statement, and unique sequences.
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
    # With the unique key, a repeated charge of a job returns the first charge.
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
    # The table only grows. Vacuum runs after a fiftieth of new lines instead of a fifth, so that each run freezes few
    # lines, instead of a year's lines in one run.
    postgresql_with={"autovacuum_vacuum_insert_scale_factor": 0.02, "autovacuum_analyze_scale_factor": 0.02},
)

# The charge and the refunds of a job. It allows one deduction per job, across all wallets; the second column of all
# other lines is null, and it allows any number of those.
Index(
    constraints.CHARGED_JOB,
    wallet_transactions.c.job_id,
    text("(NULLIF(kind = 'DEDUCTION'::text AND charged_again IS NULL, false))"),
    unique=True,
    postgresql_where=wallet_transactions.c.job_id.is_not(None),
)

# The refunds of a charge. It contains only refunds.
Index(
    "ix_wallet_transactions_refunds",
    wallet_transactions.c.refunds_transaction_id,
    postgresql_where=wallet_transactions.c.refunds_transaction_id.is_not(None),
)

# Lines stay as they were written. Corrections are further lines.
append_only(wallet_transactions, "refuse_change_of_transactions")

holds = Table(
    "holds",
    metadata,
    Column("id", Uuid, primary_key=True),
    # Null for a hold that was released before it was placed; its other columns are empty.
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
    # Each hold is updated once, when it ends: a page keeps room for the new versions of some of its rows. Ended holds
    # stay, so the table is far larger than its changing part; their dead entries remain in the indexes of active holds,
    # which each charge and the hold auditor read.
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

# Active holds by age, for the search for orphans. It is as small as the number of jobs in progress.
Index("ix_holds_active", holds.c.created_at, holds.c.id, postgresql_where=holds.c.state == "ACTIVE")

# The active holds of a wallet, whose sum must equal its pending charges. As small as the previous one.
Index("ix_holds_active_wallet_id", holds.c.wallet_id, postgresql_where=holds.c.state == "ACTIVE")

# ListHolds of a caller that is bound to customers, and of one wallet.
Index("ix_holds_wallet_id", holds.c.wallet_id, holds.c.created_at, holds.c.id)

# The holds of a job.
Index("ix_holds_job_id", holds.c.job_id, postgresql_where=holds.c.job_id.is_not(None))
