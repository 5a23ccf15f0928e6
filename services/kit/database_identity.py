"""The identity of a database, by which a service and a command find out whether they use the same one."""

from hashlib import blake2b

#: The metadata with which every service replies to `grpc.health.v1.Health/Check`: its database and its release.
DATABASE_METADATA = "innosystem-database"
VERSION_METADATA = "innosystem-version"


def database_identity(page_token_key: bytes) -> str:
    """Return the identity of a database: 32 hexadecimal digits, the same at whatever address it is reached.

    Args:
        page_token_key: The secret that each database creates for itself (ADR 0060). The identity does not reveal it.
    """
    return blake2b(page_token_key, digest_size=16, person=b"database").hexdigest()
