"""${message}.

Revision: ${up_revision}
After: ${down_revision | comma,n}

Rules: the release before this one runs on the new schema while pods are replaced, so expand, deploy, contract:
- A new column may be null or has a default. NOT NULL comes later, by a CHECK that was validated.
- Rename nothing, and drop nothing before the release after next; then list the drop for the linter with its reason:
  lint_exclude = ("ban-drop-column",).
- Create an index on a table with rows CONCURRENTLY, in a revision of its own, under `with outside_transaction():`.
- Add a CHECK or foreign key NOT VALID, and validate it in a revision of its own, under `with outside_transaction():`.
- Change data by `in_batches(...)`, in a revision of its own.
- Every step can be rolled back. (Import `outside_transaction` and `in_batches` from services.kit.migrations.steps.)
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
