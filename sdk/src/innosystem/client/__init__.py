"""Connect to the services, with deadlines, safe retries, request IDs and readable errors.

`Innosystem` holds the stubs of all services. `connect` creates a single channel, for direct use with a
stub. `create_customer`, `create_api_key` and `rotate_api_key` return a key that is shown only once, even after a lost
response.
"""

from innosystem.client.api_keys import create_api_key, create_customer, rotate_api_key
from innosystem.client.channel import connect
from innosystem.client.credentials import NO_TOKEN, Token, TokenFile, token_of
from innosystem.client.errors import REFUSAL_CODES, InnosystemError, Violation, error_from, error_from_status
from innosystem.client.identity import new_id, request_id
from innosystem.client.platform import Innosystem
from innosystem.client.watching import watch_job
from innosystem.shared.transport import Transport, TransportError

__all__ = [
    "NO_TOKEN",
    "REFUSAL_CODES",
    "Innosystem",
    "InnosystemError",
    "Token",
    "TokenFile",
    "Transport",
    "TransportError",
    "Violation",
    "connect",
    "create_api_key",
    "create_customer",
    "error_from",
    "error_from_status",
    "new_id",
    "request_id",
    "rotate_api_key",
    "token_of",
    "watch_job",
]
