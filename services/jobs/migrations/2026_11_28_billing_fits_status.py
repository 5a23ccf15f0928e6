"""Work that was done and costs something has a charge, and nothing else has.

Revision: 5e0b7c21f9ad
After: 5d0b8e3f71c4
"""

import sqlalchemy as sa
from alembic import op

revision = "5e0b7c21f9ad"
down_revision = "5d0b8e3f71c4"
branch_labels = None
depends_on = None

_FITS = sa.text(
    "CASE"
    " WHEN billing_status = 'NOT_BILLABLE' THEN estimated_cost_cents = 0 AND coalesce(cost_cents, 0) = 0"
    " WHEN billing_status IN ('HELD', 'UNHELD') THEN status IN ('SCHEDULED', 'PENDING', 'RUNNING')"
    " WHEN billing_status IN ('RELEASE_DUE', 'RELEASED') THEN status IN ('FAILED', 'CANCELLED')"
    " WHEN billing_status IN ('CHARGE_DUE', 'CHARGED', 'DECLINED', 'CHARGE_BLOCKED') THEN status = 'SUCCEEDED'"
    " ELSE true END"
)


def upgrade() -> None:
    # No release has stored such a row, so nothing has to be looked at while the table is locked.
    op.create_check_constraint(op.f("ck_jobs_billing_fits_status"), "jobs", _FITS, postgresql_not_valid=True)


def downgrade() -> None:
    op.drop_constraint(op.f("ck_jobs_billing_fits_status"), "jobs", type_="check")
