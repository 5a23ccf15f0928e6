"""Whose database it is. It says so itself, in a column beside its revision, which the migrations have put there."""

from sqlalchemy import Connection, text

_EVER_MIGRATED = text("SELECT to_regclass('alembic_version') IS NOT NULL")
#: The revisions of a database and whose it is, in one query that also fits before there was the column.
REVISIONS = (
    "SELECT to_jsonb(v) ->> 'version_num' AS revision, to_jsonb(v) ->> 'service' AS service FROM alembic_version v"
)


class DatabaseOfAnother(Exception):
    """A service is led to the database of another one."""

    def __init__(self, service: str, owner: str) -> None:
        super().__init__(f"this is the database of {owner}, not of {service}: look at {service.upper()}_DATABASE_URL")


def check_owner(connection: Connection, service: str) -> str | None:
    """Return whose database it is; None if it does not say.

    Raises:
        DatabaseOfAnother: If it says that it is another service's.
    """
    if not connection.scalar(_EVER_MIGRATED):
        return None
    for found in connection.execute(text(REVISIONS)):
        if found.service not in (None, service):
            raise DatabaseOfAnother(service, found.service)
        return service if found.service else None
    return None
