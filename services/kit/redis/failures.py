"""What a Redis client fails with while Redis is away."""

from typing import Final

from redis.exceptions import RedisError

REDIS_FAILURES: Final = (RedisError, OSError, RuntimeError)
"""RuntimeError is what uvloop answers to writing on a connection that has just been broken; redis-py passes it on."""
