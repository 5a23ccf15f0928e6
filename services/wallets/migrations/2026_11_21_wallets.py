"""Wallets.

Revision: 5d057a67b27e
After:

Rules: the release before this one runs on the new schema while pods are replaced, so only add (expand), deploy, and
take away a release later (contract). No long locks: indexes on tables with rows are made CONCURRENTLY in a migration of
their own, NOT NULL and foreign keys are added NOT VALID and validated afterwards. Data is moved in batches. Every step
can go back.
"""

import sqlalchemy as sa
from alembic import op

revision = "5d057a67b27e"
down_revision = None
branch_labels = None
depends_on = None

# The money of customers is nowhere else.
refuses_down = """
    SELECT 'the ledger has entries, which are all that tells whose money there is: to be rid of it, drop the database'
    FROM wallet_transactions LIMIT 1
"""


def upgrade() -> None:
    op.create_table(
        "wallets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(collation="C"), server_default=sa.text("'EUR'"), nullable=False),
        sa.Column("current_balance_cents", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("pending_charges_cents", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("currency ~ '^[A-Z]{3}$'", name=op.f("ck_wallets_currency_is_iso_4217")),
        sa.CheckConstraint("current_balance_cents >= 0", name=op.f("ck_wallets_balance_not_negative")),
        sa.CheckConstraint(
            "pending_charges_cents <= current_balance_cents", name=op.f("ck_wallets_pending_within_balance")
        ),
        sa.CheckConstraint("pending_charges_cents >= 0", name=op.f("ck_wallets_pending_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wallets")),
        sa.UniqueConstraint("customer_id", "currency", name=op.f("uq_wallets_customer_id_currency")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("ix_wallets_created_at", "wallets", ["created_at", "id"], unique=False)
    op.create_table(
        "wallet_transactions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("wallet_id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(collation="C"), nullable=False),
        sa.Column("counter_account", sa.Text(collation="C"), nullable=False),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("balance_after_cents", sa.BigInteger(), nullable=False),
        sa.Column("idempotency_key", sa.Text(collation="C"), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("hold_id", sa.Uuid(), nullable=True),
        sa.Column("refunds_transaction_id", sa.Uuid(), nullable=True),
        sa.Column("description", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "(kind = 'REFUND') = (refunds_transaction_id IS NOT NULL)",
            name=op.f("ck_wallet_transactions_refund_names_deduction"),
        ),
        sa.CheckConstraint(
            "CASE WHEN kind = 'DEDUCTION' AND job_id IS NOT NULL"
            " THEN idempotency_key = 'job:' || job_id::text"
            " ELSE NOT starts_with(idempotency_key, 'job:') END",
            name=op.f("ck_wallet_transactions_key_fits_job"),
        ),
        sa.CheckConstraint(
            "CASE kind"
            " WHEN 'CREDIT' THEN amount_cents > 0"
            " WHEN 'DEDUCTION' THEN amount_cents < 0"
            " WHEN 'REFUND' THEN amount_cents > 0"
            " WHEN 'ADJUSTMENT' THEN amount_cents <> 0"
            " ELSE false END",
            name=op.f("ck_wallet_transactions_sign_fits_kind"),
        ),
        sa.CheckConstraint(
            "counter_account = CASE kind"
            " WHEN 'CREDIT' THEN 'FUNDING'"
            " WHEN 'ADJUSTMENT' THEN 'ADJUSTMENT'"
            " ELSE 'REVENUE' END",
            name=op.f("ck_wallet_transactions_counter_account_fits_kind"),
        ),
        sa.CheckConstraint("balance_after_cents >= 0", name=op.f("ck_wallet_transactions_balance_not_negative")),
        sa.CheckConstraint("sequence > 0", name=op.f("ck_wallet_transactions_sequence_from_1")),
        sa.ForeignKeyConstraint(
            ["refunds_transaction_id"], ["wallet_transactions.id"], name="fk_wallet_transactions_refunds"
        ),
        sa.ForeignKeyConstraint(["wallet_id"], ["wallets.id"], name=op.f("fk_wallet_transactions_wallet_id_wallets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wallet_transactions")),
        sa.UniqueConstraint(
            "wallet_id", "idempotency_key", name=op.f("uq_wallet_transactions_wallet_id_idempotency_key")
        ),
        sa.UniqueConstraint("wallet_id", "sequence", name=op.f("uq_wallet_transactions_wallet_id_sequence")),
    )
    op.create_index(
        "ix_wallet_transactions_job_id",
        "wallet_transactions",
        ["job_id"],
        unique=False,
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_wallet_transactions_job_id",
        table_name="wallet_transactions",
        postgresql_where=sa.text("job_id IS NOT NULL"),
    )
    op.drop_table("wallet_transactions")
    op.drop_index("ix_wallets_created_at", table_name="wallets")
    op.drop_table("wallets")
