"""The number of scheduled jobs of a queue, from an index alone.

Revision: 7e3a1c5d9b42
After: 6b2f9d4c8e15
"""

import sqlalchemy as sa
from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "7e3a1c5d9b42"
down_revision = "6b2f9d4c8e15"
branch_labels = None
depends_on = None

_NAME = "ix_jobs_scheduled_lists"


def upgrade() -> None:
    with outside_transaction():
        # What an interrupted run left is not valid.
        op.drop_index(_NAME, table_name="jobs", postgresql_concurrently=True, if_exists=True)
        op.create_index(
            _NAME,
            "jobs",
            ["queue", "priority", "customer_id"],
            postgresql_where=sa.text("status = 'SCHEDULED'"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    with outside_transaction():
        op.drop_index(_NAME, table_name="jobs", postgresql_concurrently=True, if_exists=True)
