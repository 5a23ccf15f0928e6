"""The index that the dispatcher takes turns along: withheld jobs by job type and customer.

Revision: c9d25f7be104
After: 3d94b7e61c08

`ix_jobs_withheld` stays: the release before this one reads it while pods are replaced. A later release drops it.
"""

import sqlalchemy as sa
from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "c9d25f7be104"
down_revision = "3d94b7e61c08"
branch_labels = None
depends_on = None

_NAME = "ix_jobs_lanes"


def _drop() -> None:
    op.drop_index(_NAME, table_name="jobs", postgresql_concurrently=True, if_exists=True)


def upgrade() -> None:
    with outside_transaction():
        # What an interrupted run left is not valid.
        _drop()
        op.create_index(
            _NAME,
            "jobs",
            ["queue", "priority", "job_type_id", "customer_id", "queued_at", "id"],
            postgresql_where=sa.text("status = 'PENDING' AND dispatched_at IS NULL"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    with outside_transaction():
        _drop()
