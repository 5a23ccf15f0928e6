"""Settings of a service, one class a concern, from the environment and `.env`; checked when the process starts."""

from hashlib import blake2b
from typing import Literal, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

S = TypeVar("S", bound=BaseSettings)

_ENVIRONMENT = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True)


class LogSettings(BaseSettings):
    """How logs are written: LOG_LEVEL, LOG_FORMAT."""

    model_config = _ENVIRONMENT

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "console"] = "json"


class DatabaseSettings(BaseSettings):
    """A service's database, such as JOBS_DATABASE_URL.

    Attributes:
        url: `postgresql://user:password@host:port/name`.
        pool_size: How many connections are kept.
        max_overflow: How many more may be opened when all are busy. Each of those is closed after its use, which under
            steady load costs more than waiting.
        pool_timeout_seconds: How long a request waits for a free connection.
        connection_lifetime_seconds: When a connection is replaced by a new one.
    """

    model_config = _ENVIRONMENT

    url: SecretStr
    pool_size: PositiveInt = 16
    max_overflow: int = Field(default=0, ge=0)
    pool_timeout_seconds: PositiveFloat = 5
    connection_lifetime_seconds: PositiveFloat = 1800
    connect_timeout_seconds: PositiveFloat = 5
    statement_timeout_seconds: PositiveFloat = 30
    lock_timeout_seconds: PositiveFloat = 10
    idle_in_transaction_timeout_seconds: PositiveFloat = 30

    @property
    def page_token_key(self) -> bytes:
        """Signs page tokens: the same in all replicas of a service, because it is derived from what they share."""
        return blake2b(self.url.get_secret_value().encode(), digest_size=32, person=b"page tokens").digest()


class RedisSettings(BaseSettings):
    """The queue: REDIS_URL, REDIS_COMMAND_TIMEOUT_SECONDS, REDIS_KEY_PREFIX."""

    model_config = _ENVIRONMENT

    url: SecretStr
    command_timeout_seconds: PositiveFloat = 1
    key_prefix: str = ""


class ServerSettings(BaseSettings):
    """A service's gRPC server, such as JOBS_LISTEN_ADDRESS.

    Attributes:
        listen_address: `host:port` (port 0 for a free one) or `unix:/path`.
        drain_seconds: How long calls in flight may go on when the server is told to stop.
        deadline_seconds_max: How long a call may take whatever its deadline is.
        concurrent_calls_max: How many calls may be in flight; those beyond it are refused with OVERLOADED.
        message_bytes_max: How large a request or an answer may be.
        reflection: Whether clients such as grpcurl may ask for the contract.
    """

    model_config = _ENVIRONMENT

    listen_address: str
    drain_seconds: PositiveFloat = 20
    deadline_seconds_max: PositiveFloat = 30
    concurrent_calls_max: PositiveInt = 1000
    message_bytes_max: PositiveInt = 16 * 1024 * 1024
    reflection: bool = True


class StartupError(Exception):
    """The process can't start; the message says what to do about it."""


def load(kind: type[S], prefix: str) -> S:
    """Reads settings from the environment and `.env`.

    Args:
        kind: The settings class.
        prefix: What the names of its environment variables begin with, such as `JOBS_DATABASE_`.

    Raises:
        StartupError: Naming each environment variable that is missing or wrong.
    """
    try:
        return kind(_env_prefix=prefix)
    except ValidationError as error:
        problems = (_problem(prefix, problem) for problem in error.errors())
        raise StartupError("; ".join(problems)) from None


def _problem(prefix: str, problem: ErrorDetails) -> str:
    name = prefix + "_".join(str(part) for part in problem["loc"]).upper()
    return f"{name} is not set" if problem["type"] == "missing" else f"{name}: {problem['msg']}"
