"""Validates the constraints on transactions and holds.

Revision: e6b2093c5fd1
After: a94d1f6e03b8
"""

from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "e6b2093c5fd1"
down_revision = "a94d1f6e03b8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with outside_transaction():
        # Reads the table, and locks nobody out.
        op.execute("ALTER TABLE wallet_transactions VALIDATE CONSTRAINT ck_wallet_transactions_names_fit_kind")
        op.execute("ALTER TABLE holds VALIDATE CONSTRAINT ck_holds_resolved_later")


def downgrade() -> None:
    """A constraint that is valid is as good as one that is not."""
