"""How often a job lost its runner soon after it had begun: whether it is to run alone.

Revision: b7d3f0a96e14
After: 94d7e2a05f3b
"""

import sqlalchemy as sa
from alembic import op

revision = "b7d3f0a96e14"
down_revision = "94d7e2a05f3b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A constant default is stored once, and not in each row: the table is not written again.
    op.add_column("jobs", sa.Column("early_losses", sa.Integer(), server_default=sa.text("0"), nullable=False))


def downgrade() -> None:
    op.drop_column("jobs", "early_losses")
