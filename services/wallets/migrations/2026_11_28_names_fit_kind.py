"""What a transaction may name follows from its kind, and a hold ends after it began.

Revision: a94d1f6e03b8
After: 2f86d0c1e7ba
"""

import sqlalchemy as sa
from alembic import op

revision = "a94d1f6e03b8"
down_revision = "2f86d0c1e7ba"
branch_labels = None
depends_on = None

_FIT = sa.text(
    "(hold_id IS NULL OR kind = 'DEDUCTION')"
    " AND (requested_amount_cents IS NULL OR (kind = 'REFUND' AND requested_amount_cents = 0))"
    " AND (kind <> 'CREDIT' OR job_id IS NULL)"
    " AND (kind <> 'ADJUSTMENT' OR (job_id IS NOT NULL AND idempotency_key = 'write-off:' || job_id::text))"
)
_LATER = sa.text("resolved_at >= created_at")


def upgrade() -> None:
    # No release has stored such a row, so nothing has to be looked at while the table is locked.
    op.create_check_constraint(
        op.f("ck_wallet_transactions_names_fit_kind"), "wallet_transactions", _FIT, postgresql_not_valid=True
    )
    op.create_check_constraint(op.f("ck_holds_resolved_later"), "holds", _LATER, postgresql_not_valid=True)


def downgrade() -> None:
    op.drop_constraint(op.f("ck_holds_resolved_later"), "holds", type_="check")
    op.drop_constraint(op.f("ck_wallet_transactions_names_fit_kind"), "wallet_transactions", type_="check")
