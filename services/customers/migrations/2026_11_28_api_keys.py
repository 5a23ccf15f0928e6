"""API keys in a table of their own.

Revision: 5c0e7d92ab31
After: 79b4c79c7a2b

The release before this one goes on to write keys to `customers`; a trigger has the table follow. It and the columns go
with the release after this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "5c0e7d92ab31"
down_revision = "79b4c79c7a2b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("customer_id", sa.Uuid(), nullable=False),
        sa.Column("prefix", sa.Text(collation="C"), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), server_default=sa.text(r"'\x'"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customers.id"],
            name=op.f("fk_api_keys_customer_id_customers"),
            initially="DEFERRED",
            deferrable=True,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index("uq_api_keys_hash", "api_keys", ["hash"], unique=True)
    op.create_index("ix_api_keys_customer_id", "api_keys", ["customer_id", "created_at", "id"])
    op.execute(
        """
        CREATE FUNCTION follow_keys_of_customers() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' AND OLD.api_key_hash IS DISTINCT FROM NEW.api_key_hash THEN
                UPDATE api_keys SET expires_at = CASE WHEN NEW.previous_api_key_hash = OLD.api_key_hash
                        THEN NEW.previous_api_key_expires_at ELSE now() END,
                    updated_at = now(), version = version + 1
                WHERE hash = OLD.api_key_hash AND expires_at IS NULL;
            END IF;
            IF NEW.api_key_hash IS NOT NULL THEN
                INSERT INTO api_keys (id, customer_id, prefix, hash)
                VALUES (gen_random_uuid(), NEW.id, NEW.api_key_prefix, NEW.api_key_hash)
                ON CONFLICT (hash) DO NOTHING;
            END IF;
            RETURN NULL;
        END
        $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER customers_keys_followed AFTER INSERT OR UPDATE OF api_key_hash ON customers
        FOR EACH ROW EXECUTE FUNCTION follow_keys_of_customers()
        """
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER customers_keys_followed ON customers")
    op.execute("DROP FUNCTION follow_keys_of_customers()")
    op.drop_table("api_keys")
