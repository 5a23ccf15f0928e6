"""A key for page tokens that is the database's own.

Revision: 6b02f8d41ce9
After: e7a40b96d51c
"""

from alembic import op

revision = "6b02f8d41ce9"
down_revision = "e7a40b96d51c"
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
