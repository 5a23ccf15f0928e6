"""The HTTP endpoints of job types.

Revision: 44c1f3146158
After: 547a7e6dde8d
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "44c1f3146158"
down_revision = "547a7e6dde8d"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job_types", sa.Column("external_api", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("job_types", "external_api")
