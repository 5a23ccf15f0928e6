"""Validates the constraint on charges.

Revision: c83fa0d6714e
After: 5e0b7c21f9ad
"""

from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "c83fa0d6714e"
down_revision = "5e0b7c21f9ad"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with outside_transaction():
        # Reads the table, and locks nobody out.
        op.execute("ALTER TABLE jobs VALIDATE CONSTRAINT ck_jobs_billing_fits_status")


def downgrade() -> None:
    """A constraint that is valid is as good as one that is not."""
