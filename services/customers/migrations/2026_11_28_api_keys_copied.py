"""The API keys that there were before they had a table of their own.

Revision: 8e3f61d05b94
After: 5c0e7d92ab31
"""

from alembic import op

from services.kit.migrations.steps import outside_transaction

revision = "8e3f61d05b94"
down_revision = "5c0e7d92ab31"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A statement only reads the customers, so it is in nobody's way; what is there already, an interrupted run or the
    # trigger has copied. The previous keys come last: what a rotation makes one meanwhile is seen then.
    with outside_transaction():
        op.execute(
            """
            INSERT INTO api_keys (id, customer_id, prefix, hash)
            SELECT gen_random_uuid(), id, api_key_prefix, api_key_hash FROM customers WHERE api_key_hash IS NOT NULL
            ON CONFLICT (hash) DO NOTHING
            """
        )
        op.execute(
            """
            INSERT INTO api_keys (id, customer_id, prefix, hash, expires_at)
            SELECT gen_random_uuid(), id, '', previous_api_key_hash, previous_api_key_expires_at FROM customers
            WHERE previous_api_key_hash IS NOT NULL
            ON CONFLICT (hash) DO NOTHING
            """
        )


def downgrade() -> None:
    pass
