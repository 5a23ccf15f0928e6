"""Limits of customers that differ from the settings.

Revision: 2e81f4d07a5c
After: 3c9e70f5ab16

The release before neither reads nor writes them, and updates its own columns only.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "2e81f4d07a5c"
down_revision = "3c9e70f5ab16"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("customers", sa.Column("limits", postgresql.JSONB(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("customers", "limits")
