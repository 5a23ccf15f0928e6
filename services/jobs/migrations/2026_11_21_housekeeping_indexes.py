"""The indexes of the housekeeping.

Revision: 5b1de6c03a7e
After: f739d7ea8fc8
"""

import sqlalchemy as sa
from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "5b1de6c03a7e"
down_revision = "f739d7ea8fc8"
branch_labels = None
depends_on = None

_WITHHELD = sa.text("status = 'PENDING' AND dispatched_at IS NULL")


def _create(name: str, columns: list[str | sa.TextClause], where: sa.TextClause) -> None:
    # What an interrupted run left is not valid.
    _drop(name)
    op.create_index(name, "jobs", columns, postgresql_where=where, postgresql_concurrently=True)


def _drop(name: str) -> None:
    op.drop_index(name, table_name="jobs", postgresql_concurrently=True, if_exists=True)


def upgrade() -> None:
    with outside_transaction():
        _create("ix_jobs_withheld", ["queue", "priority", "customer_id", "queued_at", "id"], _WITHHELD)
        _create("ix_jobs_scheduled", ["run_at"], sa.text("status = 'SCHEDULED'"))
        _create(
            "ix_jobs_expiring",
            ["expires_at"],
            sa.text("status IN ('SCHEDULED', 'PENDING') AND started_at IS NULL"),
        )
        _create(
            "ix_jobs_unsettled",
            [sa.text("next_try_at NULLS FIRST")],
            sa.text("billing_status IN ('CHARGE_DUE', 'RELEASE_DUE', 'DECLINED')"),
        )
        _create(
            "ix_jobs_active",
            ["status", "queue", "priority", "queued_at", "id"],
            sa.text("status = 'RUNNING' OR (status = 'PENDING' AND dispatched_at IS NOT NULL)"),
        )
        _drop("ix_jobs_live")
        _drop("ix_jobs_undispatched")


def downgrade() -> None:
    with outside_transaction():
        _create("ix_jobs_undispatched", ["priority", "queued_at"], _WITHHELD)
        _create(
            "ix_jobs_live",
            ["status", "queue", "priority", "queued_at", "id"],
            sa.text("status IN ('PENDING', 'RUNNING')"),
        )
        _drop("ix_jobs_active")
        _drop("ix_jobs_unsettled")
        _drop("ix_jobs_expiring")
        _drop("ix_jobs_scheduled")
        _drop("ix_jobs_withheld")
