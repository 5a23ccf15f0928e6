"""PostgreSQL and Redis from Python packages, for `innosystem up`, `innosystem demo` and the tests.

The servers need no installation on the machine, and listen on no TCP port. A server belongs to a folder, not to the
process that started it: a second start on the same folder returns the running server, so a killed parent leaves nothing
to clean up by hand.
"""

from tools.local.embedded.embedded_postgres import EmbeddedPostgres
from tools.local.embedded.embedded_redis import EmbeddedRedis
from tools.local.embedded.errors import EmbeddedServerError
from tools.local.embedded.postgres_cluster import StopMode

__all__ = ["EmbeddedPostgres", "EmbeddedRedis", "EmbeddedServerError", "StopMode"]
