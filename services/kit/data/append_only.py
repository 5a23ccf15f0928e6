"""Append-only tables. PostgreSQL refuses every other change, including that of a defect or of a person in psql."""

from sqlalchemy import Connection, Table, event, text

# Compared with the definitions in a database, letter by letter: migrations must create exactly these.
_FUNCTION = """CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{table} is append-only: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation', CONSTRAINT = '{table}_append_only', TABLE = '{table}';
END
$$"""
_TRIGGER = """CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {function}()"""
# Enabled also for sessions with session_replication_role = replica.
_ALWAYS = "ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only"

_INFO = "append_only"


def append_only(table: Table, function: str) -> None:
    """Make a table refuse UPDATE, DELETE and TRUNCATE, as well as its copies in other metadata.

    Args:
        table: The table of the models.
        function: The name of the trigger's function.
    """
    statements = [one.format(table=table.name, function=function) for one in (_FUNCTION, _TRIGGER, _ALWAYS)]

    def make(_table: Table, connection: Connection, **_: object) -> None:
        if connection.dialect.name == "postgresql":
            for statement in statements:
                connection.execute(text(statement))

    table.info[_INFO] = True
    event.listen(table, "after_create", make, propagate=True)


def is_append_only(table: Table) -> bool:
    """Return whether a table is append-only."""
    return bool(table.info.get(_INFO))
