"""The index of the holds of a wallet, in the order in which they are listed.

Revision: 9d31c5a7e6f2
After: 6b02f8d41ce9
"""

from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "9d31c5a7e6f2"
down_revision = "6b02f8d41ce9"
branch_labels = None
depends_on = None

_NAME = "ix_holds_wallet_id"


def _drop() -> None:
    op.drop_index(_NAME, table_name="holds", postgresql_concurrently=True, if_exists=True)


def upgrade() -> None:
    with outside_transaction():
        # What an interrupted run left is not valid.
        _drop()
        op.create_index(_NAME, "holds", ["wallet_id", "created_at", "id"], postgresql_concurrently=True)


def downgrade() -> None:
    with outside_transaction():
        _drop()
