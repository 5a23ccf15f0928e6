"""${message}.

Revision: ${up_revision}
After: ${down_revision | comma,n}

Rules: the release before this one runs on the new schema while pods are replaced, so only add (expand), deploy, and
take away a release later (contract). No long locks: indexes on tables with rows are made CONCURRENTLY in a migration of
their own, NOT NULL and foreign keys are added NOT VALID and validated afterwards. Data is moved in batches. Every step
can go back.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
