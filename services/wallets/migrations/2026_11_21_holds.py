"""Holds, refunds of all that is left, and a ledger that is only ever added to.

Revision: 7c2e41b90d58
After: adf7c563dbef
"""

import sqlalchemy as sa
from alembic import op

revision = "7c2e41b90d58"
down_revision = "adf7c563dbef"
branch_labels = None
depends_on = None

# Without its hold nobody could free what is reserved of a wallet.
refuses_down = """
    SELECT count(*) || ' active holds reserve money of customers, which nothing could free afterwards: '
        'stop submissions, and let the jobs end or cancel them' FROM holds WHERE state = 'ACTIVE' HAVING count(*) > 0
"""


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("wallet_id", sa.Uuid(), nullable=True),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("amount_cents", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(collation="C"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('ACTIVE', 'CAPTURED', 'RELEASED')", name=op.f("ck_holds_state_is_known")),
        sa.CheckConstraint("(state = 'ACTIVE') = (resolved_at IS NULL)", name=op.f("ck_holds_resolved_unless_active")),
        sa.CheckConstraint(
            "CASE WHEN wallet_id IS NULL"
            " THEN job_id IS NULL AND amount_cents = 0 AND state = 'RELEASED'"
            " ELSE job_id IS NOT NULL AND amount_cents > 0 END",
            name=op.f("ck_holds_placed_or_only_released"),
        ),
        sa.ForeignKeyConstraint(["wallet_id"], ["wallets.id"], name=op.f("fk_holds_wallet_id_wallets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
        postgresql_with={"fillfactor": 85},
    )
    op.create_index("ix_holds_created_at", "holds", ["created_at", "id"])
    active = sa.text("state = 'ACTIVE'")
    op.create_index("ix_holds_active", "holds", ["created_at", "id"], postgresql_where=active)
    op.create_index("ix_holds_active_wallet_id", "holds", ["wallet_id"], postgresql_where=active)
    op.add_column("wallet_transactions", sa.Column("requested_amount_cents", sa.BigInteger(), nullable=True))
    op.execute(
        """
        CREATE FUNCTION refuse_change_of_transactions() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'wallet_transactions is append-only: % is refused', TG_OP
                USING ERRCODE = 'restrict_violation', CONSTRAINT = 'wallet_transactions_append_only',
                    TABLE = 'wallet_transactions';
        END
        $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER wallet_transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_transactions
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_transactions()
        """
    )


def downgrade() -> None:
    # Asked before as well, but then nothing kept new ones from coming.
    op.execute(
        """
        DO $$ BEGIN
            LOCK TABLE holds IN ACCESS EXCLUSIVE MODE;
            IF EXISTS (SELECT FROM holds WHERE state = 'ACTIVE') THEN
                RAISE EXCEPTION 'active holds reserve money of customers, which nothing could free afterwards';
            END IF;
        END $$
        """
    )
    op.execute("DROP TRIGGER wallet_transactions_append_only ON wallet_transactions")
    op.execute("DROP FUNCTION refuse_change_of_transactions()")
    op.drop_column("wallet_transactions", "requested_amount_cents")
    op.drop_table("holds")
