"""A key for page tokens that is the database's own.

Revision: 94d7e2a05f3b
After: a8f2146cd95e
"""

from alembic import op

revision = "94d7e2a05f3b"
down_revision = "a8f2146cd95e"
branch_labels = None
depends_on = None
# To tell each database another one, the default has to be evaluated: for the one row that there is.
lint_exclude = ("adding-field-with-default",)


def upgrade() -> None:
    # The table has one row, and no release writes this column.
    op.execute(
        "ALTER TABLE alembic_version ADD COLUMN page_token_key bytea NOT NULL"
        " DEFAULT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE alembic_version DROP COLUMN page_token_key")
