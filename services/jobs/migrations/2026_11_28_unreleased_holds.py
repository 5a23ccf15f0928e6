"""Holds that the hold auditor could not release when it came by.

Revision: e41b7d0a92c6
After: c9d25f7be104
"""

import sqlalchemy as sa
from alembic import op

revision = "e41b7d0a92c6"
down_revision = "c9d25f7be104"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unreleased_holds",
        sa.Column("hold_id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hold_id", name=op.f("pk_unreleased_holds")),
    )
    op.create_index("ix_unreleased_holds_next_try_at", "unreleased_holds", ["next_try_at"])


def downgrade() -> None:
    op.drop_table("unreleased_holds")
