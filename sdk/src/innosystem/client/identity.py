"""The IDs that callers make: of what they create, and of the request that they work on."""

import secrets
import threading
import time
import uuid
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("innosystem_request_id", default="")
"""The ID of the request being worked on.

Services set it for each call they serve; calls made meanwhile carry it on.
"""

REQUEST_ID_KEY = "x-request-id"
"""The metadata key that carries the request ID."""

# A millisecond is divided by 4096: as finely as the 12 bits after the version allow.
_TICKS_PER_MILLISECOND = 1 << 12
_NANOSECONDS_PER_MILLISECOND = 1_000_000

_lock = threading.Lock()
_last_tick = 0


def new_id() -> uuid.UUID:
    """Make a UUIDv7.

    As RFC 9562 lays it out: the time in milliseconds, the fraction of the millisecond in 12 bits
    (section 6.2, method 3) and 62 random bits. IDs of one process ascend in the order they were
    made, which keeps what is new together in the indexes of databases.
    """
    tick = _next_tick()
    milliseconds, fraction = divmod(tick, _TICKS_PER_MILLISECOND)
    version, variant = 0x7, 0b10
    return uuid.UUID(
        int=(milliseconds << 80) | (version << 76) | (fraction << 64) | (variant << 62) | secrets.randbits(62)
    )


def _next_tick() -> int:
    """Tell the time, always later than before: clocks stand still for a moment, or are set back."""
    global _last_tick  # noqa: PLW0603
    now = time.time_ns() * _TICKS_PER_MILLISECOND // _NANOSECONDS_PER_MILLISECOND
    with _lock:
        _last_tick = max(now, _last_tick + 1)
        return _last_tick
