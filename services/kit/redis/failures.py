"""The exceptions of a Redis client while Redis is unavailable."""

from typing import Final

from redis.exceptions import RedisError

REDIS_FAILURES: Final = (RedisError, OSError, RuntimeError)
"""uvloop raises RuntimeError for a write to a connection that has just been lost; redis-py passes it on."""
