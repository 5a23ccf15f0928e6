"""The owner of a database: a service, in a column beside the revision, which the migrations created."""

from sqlalchemy import Connection, text

_EVER_MIGRATED = text("SELECT to_regclass('alembic_version') IS NOT NULL")
#: The revisions and the owner of a database, in a query that works without the column as well.
REVISIONS = (
    "SELECT to_jsonb(v) ->> 'version_num' AS revision, to_jsonb(v) ->> 'service' AS service FROM alembic_version v"
)


class DatabaseOfAnother(Exception):
    """A service is connected to the database of another service."""

    def __init__(self, service: str, owner: str) -> None:
        super().__init__(f"this is the database of {owner}, not of {service}: look at {service.upper()}_DATABASE_URL")


def check_owner(connection: Connection, service: str) -> str | None:
    """Return the owner of a database; None if the database does not name it.

    Raises:
        DatabaseOfAnother: If the owner is another service.
    """
    if not connection.scalar(_EVER_MIGRATED):
        return None
    for found in connection.execute(text(REVISIONS)):
        if found.service not in (None, service):
            raise DatabaseOfAnother(service, found.service)
        return service if found.service else None
    return None
