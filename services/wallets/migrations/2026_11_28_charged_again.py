"""Charges of jobs that had been charged before can be told.

Revision: d15c3e80b7f2
After: c07e6f3b2d18
"""

import sqlalchemy as sa
from alembic import op

revision = "d15c3e80b7f2"
down_revision = "c07e6f3b2d18"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("wallet_transactions", sa.Column("charged_again", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("wallet_transactions", "charged_again")
