"""Validates the constraints on metered jobs.

Revision: 547a7e6dde8d
After: 149c9e80a8d3
"""

from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "547a7e6dde8d"
down_revision = "149c9e80a8d3"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with outside_transaction():
        # Reads the tables, and locks nobody out.
        op.execute("ALTER TABLE job_types VALIDATE CONSTRAINT ck_job_types_metering_whole")
        for name in ("billing_fits_status", "metering_whole", "usage_when_done", "cost_fits_usage"):
            op.execute(f"ALTER TABLE jobs VALIDATE CONSTRAINT ck_jobs_{name}")


def downgrade() -> None:
    """Constraints that are valid are as good as ones that are not."""
