"""Connect to the services: deadlines, safe retries, request IDs and errors that can be read.

`Innosystem` holds the stubs of all services. `connect` makes one channel, for those who want the
stubs by themselves.
"""

from innosystem.client.channel import connect
from innosystem.client.errors import InnosystemError, Violation, error_from, error_from_status
from innosystem.client.identity import new_id, request_id
from innosystem.client.platform import Innosystem
from innosystem.client.watching import watch_job

__all__ = [
    "Innosystem",
    "InnosystemError",
    "Violation",
    "connect",
    "error_from",
    "error_from_status",
    "new_id",
    "request_id",
    "watch_job",
]
