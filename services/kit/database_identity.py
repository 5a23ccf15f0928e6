"""The identity of a database, by which a service and a command find out whether they use the same one."""

from hashlib import blake2b
from typing import Final

#: The metadata with which every service replies to `grpc.health.v1.Health/Check`: its database and its release.
DATABASE_METADATA: Final = "innosystem-database"
VERSION_METADATA: Final = "innosystem-version"

#: What tells a database from all others at whatever address, also from one that was restored from its dump.
PLACE: Final = """
SELECT s.system_identifier::text || '/' || d.oid::text
FROM pg_control_system() s, pg_database d
WHERE d.datname = current_database()
"""


def database_identity(place: str) -> str:
    """Return the identity of a database, 32 hexadecimal digits.

    Args:
        place: The result of the query `PLACE`.
    """
    return blake2b(place.encode(), digest_size=16, person=b"database").hexdigest()
