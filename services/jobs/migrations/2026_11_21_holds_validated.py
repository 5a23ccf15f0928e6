"""Validates the constraint on holds, and finds charges that need an operator.

Revision: 8f10c3a6d2b7
After: 2c7a90f4be15
"""

import sqlalchemy as sa
from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "8f10c3a6d2b7"
down_revision = "2c7a90f4be15"
branch_labels = None
depends_on = None

_BLOCKED = sa.text("billing_status = 'CHARGE_BLOCKED'")


def upgrade() -> None:
    with outside_transaction():
        # Reads the table, and locks nobody out.
        op.execute("ALTER TABLE jobs VALIDATE CONSTRAINT ck_jobs_hold_when_held")
        # What an interrupted run left is not valid.
        op.drop_index("ix_jobs_blocked", table_name="jobs", postgresql_concurrently=True, if_exists=True)
        op.create_index("ix_jobs_blocked", "jobs", ["id"], postgresql_where=_BLOCKED, postgresql_concurrently=True)


def downgrade() -> None:
    with outside_transaction():
        op.drop_index("ix_jobs_blocked", table_name="jobs", postgresql_concurrently=True, if_exists=True)
