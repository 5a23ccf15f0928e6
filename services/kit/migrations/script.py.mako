"""${message}.

Revision: ${up_revision}
After: ${down_revision | comma,n}

Rules: the release before this one runs on the new schema while pods are replaced, so expand, deploy, contract:
- A new column may be null or has a default. NOT NULL comes later, by a CHECK that was validated.
- Nothing is renamed, and nothing is dropped before the release after next; what is dropped then is named to the linter
  with its reason: lint_exclude = ("ban-drop-column",).
- An index on a table with rows is made CONCURRENTLY, in a revision of its own, under `with outside_transaction():`.
- A CHECK or foreign key is added NOT VALID, and validated by a revision of its own, under `with outside_transaction():`.
- Data is changed by `in_batches(...)`, in a revision of its own.
- Every step can go back. (`outside_transaction` and `in_batches` are imported from services.kit.migrations.steps.)
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
