"""Room for renewals in the pages of jobs.

Revision: 5f0b6e8d21a7
After: e41b7d0a92c6
"""

from alembic import op

revision = "5f0b6e8d21a7"
down_revision = "e41b7d0a92c6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # For pages that are filled from now on; those that are there stay as they are, and traffic goes on.
    op.execute("ALTER TABLE jobs SET (fillfactor = 70)")


def downgrade() -> None:
    op.execute("ALTER TABLE jobs RESET (fillfactor)")
