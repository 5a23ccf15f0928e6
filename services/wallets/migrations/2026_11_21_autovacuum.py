"""When the tables of the wallets are vacuumed.

Revision: b8e2570f9ad4
After: e05f6a1d7b34
"""

from alembic import op

revision = "b8e2570f9ad4"
down_revision = "e05f6a1d7b34"
branch_labels = None
depends_on = None

_PARAMETERS = {
    "wallets": {"autovacuum_vacuum_scale_factor": "0.05"},
    "wallet_transactions": {
        "autovacuum_vacuum_insert_scale_factor": "0.02",
        "autovacuum_analyze_scale_factor": "0.02",
    },
    "holds": {
        "autovacuum_vacuum_scale_factor": "0.02",
        "autovacuum_vacuum_threshold": "5000",
        "autovacuum_vacuum_insert_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.02",
    },
}


def upgrade() -> None:
    for table, parameters in _PARAMETERS.items():
        op.execute(f"ALTER TABLE {table} SET ({', '.join(f'{name} = {value}' for name, value in parameters.items())})")


def downgrade() -> None:
    for table, parameters in _PARAMETERS.items():
        op.execute(f"ALTER TABLE {table} RESET ({', '.join(parameters)})")
