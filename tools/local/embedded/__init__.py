"""PostgreSQL and Redis from Python packages, for `innosystem up`, `innosystem demo` and the tests.

Nothing needs to be installed on the machine, and nothing listens on a TCP port. A server belongs to
a folder, not to the process that started it: who starts it again on the same folder gets the server
that runs already, so a killed parent leaves nothing that has to be cleaned up by hand.
"""

from tools.local.embedded.embedded_postgres import EmbeddedPostgres
from tools.local.embedded.embedded_redis import EmbeddedRedis
from tools.local.embedded.errors import EmbeddedServerError
from tools.local.embedded.postgres_cluster import StopMode

__all__ = ["EmbeddedPostgres", "EmbeddedRedis", "EmbeddedServerError", "StopMode"]
