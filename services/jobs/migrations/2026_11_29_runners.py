"""Runners, as they describe themselves: who takes jobs from which queues.

Revision: 3c8e5b1f7a42
After: b7d3f0a96e14
"""

import sqlalchemy as sa
from alembic import op

revision = "3c8e5b1f7a42"
down_revision = "b7d3f0a96e14"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")


def upgrade() -> None:
    op.create_table(
        "runners",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("announced_state", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(collation="C"), nullable=False),
        sa.Column("process_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Text(collation="C"), nullable=False),
        sa.Column("language", sa.Text(collation="C"), nullable=False),
        sa.Column("queues", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("handlers", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("busy", sa.Integer(), nullable=False),
        sa.Column("processes", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runners")),
        postgresql_with={"fillfactor": "50"},
    )


def downgrade() -> None:
    op.drop_table("runners")
