"""API keys with a name, scopes and a last use.

Revision: 9d4b6e02c8f7
After: 2e81f4d07a5c

The keys that there are have no name, which is what rotations replace, and may do everything. The trigger that follows the
release before writes none of these columns, and its keys get the same.
"""

import sqlalchemy as sa
from alembic import op

revision = "9d4b6e02c8f7"
down_revision = "2e81f4d07a5c"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("name", sa.Text(collation="C"), server_default=sa.text("''"), nullable=False))
    op.add_column("api_keys", sa.Column("may_read", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("api_keys", sa.Column("may_submit", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("api_keys", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for name in ("last_used_at", "may_submit", "may_read", "name"):
        op.drop_column("api_keys", name)
