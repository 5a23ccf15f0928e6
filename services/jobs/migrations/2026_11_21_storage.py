"""How jobs are stored and vacuumed.

Revision: 3d94b7e61c08
After: 8f10c3a6d2b7
"""

from alembic import op

revision = "3d94b7e61c08"
down_revision = "8f10c3a6d2b7"
branch_labels = None
depends_on = None

_PARAMETERS = {
    "toast_tuple_target": "768",
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_vacuum_threshold": "5000",
    "autovacuum_vacuum_cost_limit": "1000",
    "autovacuum_analyze_scale_factor": "0.01",
    "autovacuum_analyze_threshold": "1000",
}


def upgrade() -> None:
    # Rows that are there stay as they are; traffic goes on.
    op.execute(f"ALTER TABLE jobs SET ({', '.join(f'{name} = {value}' for name, value in _PARAMETERS.items())})")


def downgrade() -> None:
    op.execute(f"ALTER TABLE jobs RESET ({', '.join(_PARAMETERS)})")
