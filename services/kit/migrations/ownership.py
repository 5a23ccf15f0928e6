"""The owner of a database: a service, in a column beside the revision, which the migrations created.

Databases from before that column are recognized by their revision, which only one service has.
"""

import re
from importlib import resources

from sqlalchemy import Connection, text

from services import SERVICES

_EVER_MIGRATED = text("SELECT to_regclass('alembic_version') IS NOT NULL")
#: The revisions and the owner of a database, in a query that works without the column as well.
REVISIONS = (
    "SELECT to_jsonb(v) ->> 'version_num' AS revision, to_jsonb(v) ->> 'service' AS service FROM alembic_version v"
)


class DatabaseOfAnother(Exception):
    """A service is connected to the database of another service.

    Attributes:
        owner: The service that the database belongs to.
    """

    def __init__(self, service: str, owner: str) -> None:
        super().__init__(f"this is the database of {owner}, not of {service}: look at {service.upper()}_DATABASE_URL")
        self.owner = owner


def check_owner(connection: Connection, service: str) -> str | None:
    """Return the owner of a database; None if the database does not name it.

    Raises:
        DatabaseOfAnother: If the owner is another service.
    """
    if not connection.scalar(_EVER_MIGRATED):
        return None
    for found in connection.execute(text(REVISIONS)):
        owner = found.service or _service_with(found.revision)
        if owner not in (None, service):
            raise DatabaseOfAnother(service, owner)
        return service if found.service else None
    return None


def applied_revision(connection: Connection) -> str | None:
    """Return the revision of a database; None if it was never migrated."""
    if not connection.scalar(_EVER_MIGRATED):
        return None
    return next((str(found.revision) for found in connection.execute(text(REVISIONS))), None)


def _service_with(revision: str) -> str | None:
    """Return the service whose history has a revision; None if no service of this release has it."""
    named = re.compile(rf"""^revision(: str)? = ["']{re.escape(revision)}["']""", re.MULTILINE)
    for service in SERVICES:
        for file in (resources.files("services") / service / "migrations").iterdir():
            if file.name.endswith(".py") and named.search(file.read_text(encoding="utf-8")):
                return service
    return None
