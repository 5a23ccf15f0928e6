"""Holds: how many were placed for a job, and how far the hold auditor has come.

Revision: 2c7a90f4be15
After: 5b1de6c03a7e
"""

import sqlalchemy as sa
from alembic import op

revision = "2c7a90f4be15"
down_revision = "5b1de6c03a7e"
branch_labels = None
depends_on = None

_HELD = sa.text("billing_status NOT IN ('HELD', 'RELEASE_DUE') OR hold_id IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "hold_audit",
        sa.Column("id", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("done_until", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id", name=op.f("ck_hold_audit_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold_audit")),
    )
    op.add_column("jobs", sa.Column("hold_generation", sa.Integer(), server_default=sa.text("0"), nullable=False))
    # No release before this one stores such a job, so nothing has to be looked at while the table is locked.
    op.create_check_constraint(op.f("ck_jobs_hold_when_held"), "jobs", _HELD, postgresql_not_valid=True)


def downgrade() -> None:
    op.drop_constraint(op.f("ck_jobs_hold_when_held"), "jobs", type_="check")
    op.drop_column("jobs", "hold_generation")
    op.drop_table("hold_audit")
