"""The index of jobs that ended without success: what operators look for first.

Revision: e41c7a90b5d3
After: 5f0b6e8d21a7
"""

import sqlalchemy as sa
from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "e41c7a90b5d3"
down_revision = "5f0b6e8d21a7"
branch_labels = None
depends_on = None

_NAME = "ix_jobs_dead"


def _drop() -> None:
    op.drop_index(_NAME, table_name="jobs", postgresql_concurrently=True, if_exists=True)


def upgrade() -> None:
    with outside_transaction():
        # What an interrupted run left is not valid.
        _drop()
        op.create_index(
            _NAME,
            "jobs",
            ["status", "created_at", "id"],
            postgresql_where=sa.text("status IN ('FAILED', 'CANCELLED')"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    with outside_transaction():
        _drop()
