"""Runners belong to the caller that described them first.

Revision: 6b2f9d4c8e15
After: 5c0e9b7f21d4
"""

import sqlalchemy as sa
from alembic import op

revision = "6b2f9d4c8e15"
down_revision = "5c0e9b7f21d4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A constant default is stored once, and not in each row: the table is not written again.
    op.add_column("runners", sa.Column("announced_by", sa.Text(collation="C"), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("runners", "announced_by")
