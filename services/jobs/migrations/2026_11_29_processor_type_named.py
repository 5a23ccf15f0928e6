"""Job types whose processor type the caller did not name.

Revision: 5c0e9b7f21d4
After: 3c8e5b1f7a42
"""

import sqlalchemy as sa
from alembic import op

revision = "5c0e9b7f21d4"
down_revision = "3c8e5b1f7a42"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "job_types", sa.Column("processor_type_named", sa.Boolean(), server_default=sa.text("true"), nullable=False)
    )


def downgrade() -> None:
    op.drop_column("job_types", "processor_type_named")
