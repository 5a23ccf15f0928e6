"""Job types whose jobs are posted to an endpoint, and jobs that wait for its result.

Revision: 9e4a7c1d2b63
After: 44c1f3146158
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "9e4a7c1d2b63"
down_revision = "44c1f3146158"
branch_labels = None
depends_on = None

_NOTHING = sa.text("'{}'")


def upgrade() -> None:
    # A constant default is stored once, and not in each row: no table is written again.
    op.add_column("job_types", sa.Column("webhook_url", sa.Text(), nullable=True))
    headers = sa.Column("webhook_headers", postgresql.JSONB(), server_default=_NOTHING, nullable=False)
    op.add_column("job_types", headers)
    op.add_column("job_types", sa.Column("webhook_signing_secret", sa.Text(), nullable=True))
    op.add_column("job_types", sa.Column("webhook_callback_timeout", sa.Interval(), nullable=True))
    op.add_column("jobs", sa.Column("callback_expires_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "callback_expires_at")
    for name in ("callback_timeout", "signing_secret", "headers", "url"):
        op.drop_column("job_types", f"webhook_{name}")
