"""Charges tell by which key the jobs service vouched for them.

Revision: 4e1b7c92d05a
After: 9d31c5a7e6f2
"""

import sqlalchemy as sa
from alembic import op

revision = "4e1b7c92d05a"
down_revision = "9d31c5a7e6f2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("wallet_transactions", sa.Column("vouched_by", sa.Text(collation="C"), nullable=True))


def downgrade() -> None:
    op.drop_column("wallet_transactions", "vouched_by")
