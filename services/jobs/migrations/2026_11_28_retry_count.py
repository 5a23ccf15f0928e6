"""How often a job was run again: which of its ends RetryJob takes back.

Revision: 5d0b8e3f71c4
After: 91c4e7d2a06f
"""

import sqlalchemy as sa
from alembic import op

revision = "5d0b8e3f71c4"
down_revision = "91c4e7d2a06f"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A constant default is stored once, and not in each row: the table is not written again.
    op.add_column("jobs", sa.Column("retry_count", sa.Integer(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    op.drop_column("jobs", "retry_count")
