"""Housekeeping: pauses, receipts, snoozes, and when the settler tries next.

Revision: f739d7ea8fc8
After: 4f3ab547b3eb
"""

import sqlalchemy as sa
from alembic import op

revision = "f739d7ea8fc8"
down_revision = "4f3ab547b3eb"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "queues",
        sa.Column("name", sa.Text(collation="C"), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_queues")),
    )
    op.create_table(
        "receipts",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("currency", sa.Text(collation="C"), nullable=False),
        sa.Column("cost_cents", sa.BigInteger(), nullable=False),
        sa.Column("transaction_id", sa.Uuid(), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_receipts")),
    )
    op.add_column("jobs", sa.Column("snooze_count", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("jobs", sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("settle_attempts", sa.Integer(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    op.drop_column("jobs", "settle_attempts")
    op.drop_column("jobs", "next_try_at")
    op.drop_column("jobs", "snooze_count")
    op.drop_table("receipts")
    op.drop_table("queues")
