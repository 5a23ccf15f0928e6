"""Tables that are only ever added to. PostgreSQL refuses everything else, also to a defect or a hand in psql."""

from sqlalchemy import Connection, Table, event, text

# Compared with what a database has as they stand here, letter by letter: a migration that makes them says the same.
_FUNCTION = """CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '{table} is append-only: % is refused', TG_OP
        USING ERRCODE = 'restrict_violation', CONSTRAINT = '{table}_append_only', TABLE = '{table}';
END
$$"""
_TRIGGER = """CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {function}()"""
# Also where a session says that it is a replica.
_ALWAYS = "ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only"

_INFO = "append_only"


def append_only(table: Table, function: str) -> None:
    """Have a table refuse UPDATE, DELETE and TRUNCATE; copies of it in other metadata do so as well.

    Args:
        table: The table of the models.
        function: What the function of its trigger is called.
    """
    statements = [one.format(table=table.name, function=function) for one in (_FUNCTION, _TRIGGER, _ALWAYS)]

    def make(_table: Table, connection: Connection, **_: object) -> None:
        if connection.dialect.name == "postgresql":
            for statement in statements:
                connection.execute(text(statement))

    table.info[_INFO] = True
    event.listen(table, "after_create", make, propagate=True)


def is_append_only(table: Table) -> bool:
    """Return whether a table is only ever added to."""
    return bool(table.info.get(_INFO))
