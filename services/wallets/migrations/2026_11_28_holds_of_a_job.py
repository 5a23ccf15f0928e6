"""The index of the holds of a job.

Revision: 2f86d0c1e7ba
After: b8e2570f9ad4
"""

import sqlalchemy as sa
from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "2f86d0c1e7ba"
down_revision = "b8e2570f9ad4"
branch_labels = None
depends_on = None

_NAME = "ix_holds_job_id"


def _drop() -> None:
    op.drop_index(_NAME, table_name="holds", postgresql_concurrently=True, if_exists=True)


def upgrade() -> None:
    with outside_transaction():
        # What an interrupted run left is not valid.
        _drop()
        op.create_index(
            _NAME,
            "holds",
            ["job_id"],
            postgresql_where=sa.text("job_id IS NOT NULL"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    with outside_transaction():
        _drop()
