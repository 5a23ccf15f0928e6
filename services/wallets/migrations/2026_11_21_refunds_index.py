"""The index of what was refunded.

Revision: e05f6a1d7b34
After: 7c2e41b90d58
"""

import sqlalchemy as sa
from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "e05f6a1d7b34"
down_revision = "7c2e41b90d58"
branch_labels = None
depends_on = None

_NAME = "ix_wallet_transactions_refunds"
_TABLE = "wallet_transactions"


def _drop() -> None:
    op.drop_index(_NAME, table_name=_TABLE, postgresql_concurrently=True, if_exists=True)


def upgrade() -> None:
    with outside_transaction():
        # What an interrupted run left is not valid.
        _drop()
        op.create_index(
            _NAME,
            _TABLE,
            ["refunds_transaction_id"],
            postgresql_where=sa.text("refunds_transaction_id IS NOT NULL"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    with outside_transaction():
        _drop()
