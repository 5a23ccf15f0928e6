"""The IDs that callers generate: of new resources, and of the current request."""

import secrets
import threading
import time
import uuid
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("innosystem_request_id", default="")
"""The ID of the current request.

Services set it for each call that they serve; calls that they make meanwhile carry the same ID.
"""

REQUEST_ID_KEY = "x-request-id"
"""The metadata key that carries the request ID."""

# A millisecond is divided by 4096, the resolution of the 12 bits after the version.
_TICKS_PER_MILLISECOND = 1 << 12
_NANOSECONDS_PER_MILLISECOND = 1_000_000

_lock = threading.Lock()
_last_tick = 0


def new_id() -> uuid.UUID:
    """Generate a UUIDv7.

    The layout follows RFC 9562: the time in milliseconds, the fraction of the millisecond in 12 bits
    (section 6.2, method 3) and 62 random bits. The IDs of a process ascend in the order of their
    generation, which keeps new rows together in the indexes of databases.
    """
    tick = _next_tick()
    milliseconds, fraction = divmod(tick, _TICKS_PER_MILLISECOND)
    version, variant = 0x7, 0b10
    return uuid.UUID(
        int=(milliseconds << 80) | (version << 76) | (fraction << 64) | (variant << 62) | secrets.randbits(62)
    )


def _next_tick() -> int:
    """Return the time, strictly increasing even while the clock stands still or is set back."""
    global _last_tick  # noqa: PLW0603
    now = time.time_ns() * _TICKS_PER_MILLISECOND // _NANOSECONDS_PER_MILLISECOND
    with _lock:
        _last_tick = max(now, _last_tick + 1)
        return _last_tick
