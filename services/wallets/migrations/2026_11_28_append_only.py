"""An audit trail that is only ever added to as the ledger is, and whose database this is.

Revision: c07e6f3b2d18
After: e6b2093c5fd1
"""

from alembic import op

revision = "c07e6f3b2d18"
down_revision = "e6b2093c5fd1"
branch_labels = None
depends_on = None

_AUDIT_FUNCTION = """CREATE FUNCTION refuse_change_of_audit_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'audit_log_append_only', TABLE = 'audit_log';
END
$$"""
_AUDIT_TRIGGER = """CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_log()"""
# As before, with the spaces of the models: the check compares the two letter by letter.
_LEDGER_FUNCTION = """CREATE OR REPLACE FUNCTION refuse_change_of_transactions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'wallet_transactions is append-only: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation', CONSTRAINT = 'wallet_transactions_append_only', TABLE = 'wallet_transactions';
END
$$"""


def upgrade() -> None:
    op.execute(_AUDIT_FUNCTION)
    op.execute(_AUDIT_TRIGGER)
    # Also where a session says that it is a replica.
    op.execute("ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_append_only")
    op.execute(_LEDGER_FUNCTION)
    op.execute("ALTER TABLE wallet_transactions ENABLE ALWAYS TRIGGER wallet_transactions_append_only")
    # Whose database it is: a service that is led to another one refuses to start.
    op.execute("ALTER TABLE alembic_version ADD COLUMN service text NOT NULL DEFAULT 'wallets'")


def downgrade() -> None:
    op.execute("ALTER TABLE alembic_version DROP COLUMN service")
    op.execute("DROP TRIGGER audit_log_append_only ON audit_log")
    op.execute("DROP FUNCTION refuse_change_of_audit_log()")
    op.execute("ALTER TABLE wallet_transactions ENABLE TRIGGER wallet_transactions_append_only")
