"""An audit trail that is only ever added to, and whose database this is.

Revision: a8f2146cd95e
After: c83fa0d6714e
"""

from alembic import op

revision = "a8f2146cd95e"
down_revision = "c83fa0d6714e"
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


def upgrade() -> None:
    op.execute(_AUDIT_FUNCTION)
    op.execute(_AUDIT_TRIGGER)
    # Also where a session says that it is a replica.
    op.execute("ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_append_only")
    # Whose database it is: a service that is led to another one refuses to start.
    op.execute("ALTER TABLE alembic_version ADD COLUMN service text NOT NULL DEFAULT 'jobs'")


def downgrade() -> None:
    op.execute("ALTER TABLE alembic_version DROP COLUMN service")
    op.execute("DROP TRIGGER audit_log_append_only ON audit_log")
    op.execute("DROP FUNCTION refuse_change_of_audit_log()")
