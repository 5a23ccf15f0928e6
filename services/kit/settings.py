"""Settings of a service, one class a concern, from the environment and `.env`; checked when the process starts."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

S = TypeVar("S", bound=BaseSettings)

#: How all of them are read. `NAME=` in a file or a manifest means that nobody filled it in, and not that it is empty.
ENVIRONMENT = SettingsConfigDict(
    env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
)


def _begins_with(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    """Makes a check of a URL's scheme that does not repeat the URL: there may be a password in it."""

    def check(url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must be a URL that begins with {schemes[0]}://")
        return url

    return check


class LogSettings(BaseSettings):
    """How logs are written: LOG_LEVEL, LOG_FORMAT.

    Attributes:
        level: The least important lines that are written. DEBUG also has the calls to health and reflection.
        format: `json` for machines, `console` for people.
    """

    model_config = ENVIRONMENT

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
        connect_timeout_seconds: How long opening a connection may take.
        statement_timeout_seconds: How long a statement may run.
        lock_timeout_seconds: How long a statement may wait for a lock. While it waits, whatever is in its batch waits
            as well.
        locked_row_seconds: How long a call is tried again whose row somebody else has locked: not as long as callers
            wait.
        idle_in_transaction_timeout_seconds: How long a transaction may stay open without a statement.
        tcp_timeout_seconds: After how long without a sign of life the server's machine counts as gone.
        pooled: Whether a pooler such as PgBouncer stands between, in session or transaction mode: limits then come with
            each transaction, and migrations take turns by a row.
        clock_skew_seconds_max: How far the clocks of this machine and of other databases may be from that of this one;
            beyond it is logged. It changes nothing: times are the database's.
        slow_query_seconds: A statement that takes longer is logged.
        schema_check: What a service does at its start with a database behind its release: `validate` refuses to serve,
            `migrate` applies what is pending, `warn` only logs it.
    """

    model_config = ENVIRONMENT

    url: Annotated[SecretStr, AfterValidator(_begins_with("postgresql", "postgres", "postgresql+psycopg"))]
    pool_size: PositiveInt = 16
    max_overflow: int = Field(default=0, ge=0)
    pool_timeout_seconds: PositiveFloat = 5
    connection_lifetime_seconds: PositiveFloat = 1800
    connect_timeout_seconds: PositiveFloat = 5
    statement_timeout_seconds: PositiveFloat = 30
    lock_timeout_seconds: PositiveFloat = 0.3
    locked_row_seconds: PositiveFloat = 3
    idle_in_transaction_timeout_seconds: PositiveFloat = 30
    tcp_timeout_seconds: PositiveFloat = 15
    pooled: bool = False
    clock_skew_seconds_max: PositiveFloat = 1
    slow_query_seconds: PositiveFloat = 0.5
    schema_check: Literal["validate", "migrate", "warn"] = "validate"

    @property
    def page_token_key(self) -> bytes:
        """Signs page tokens where the database has no key of its own: it is behind, and is served all the same."""
        return blake2b(self.url.get_secret_value().encode(), digest_size=32, person=b"page tokens").digest()


class RedisSettings(BaseSettings):
    """The queue: REDIS_URL, REDIS_COMMAND_TIMEOUT_SECONDS, REDIS_CONNECTION_LIFETIME_SECONDS, REDIS_KEY_PREFIX.

    Attributes:
        url: Where it is: `redis://host:6379/0`, `rediss://` for TLS, or `unix:///path`.
        command_timeout_seconds: How long a command may take.
        connection_lifetime_seconds: When a connection is replaced by a new one, to where the address leads then.
        key_prefix: Put before the names of all keys, for several platforms in one Redis.
    """

    model_config = ENVIRONMENT

    url: Annotated[SecretStr, AfterValidator(_begins_with("redis", "rediss", "unix"))]
    command_timeout_seconds: PositiveFloat = 1
    connection_lifetime_seconds: PositiveFloat = 60
    key_prefix: str = ""


class _RedisAddress(BaseSettings):
    """Whether there is a Redis at all."""

    model_config = ENVIRONMENT

    url: SecretStr | None = None


class CacheSettings(BaseSettings):
    """What a service keeps in memory of what changes rarely, such as JOBS_CACHE_TTL_SECONDS.

    Attributes:
        size: How many entries of a kind are kept.
        ttl_seconds: How long one is kept, and so how old an answer can be that another process has changed, when its
            message is lost.
    """

    model_config = ENVIRONMENT

    size: PositiveInt = 10_000
    ttl_seconds: PositiveFloat = 5


class ServerSettings(BaseSettings):
    """A service's gRPC server, such as JOBS_LISTEN_ADDRESS.

    Attributes:
        listen_address: `host:port` (port 0 for a free one) or `unix:/path`.
        drain_seconds: How long calls in flight may go on when the server is told to stop.
        deadline_seconds_max: How long a call may take whose caller set no deadline. Streams then last as long as
            their readers want.
        concurrent_calls_max: How many calls may be in flight; those beyond it are refused with OVERLOADED.
        concurrent_streams_max: How many streams, such as watchers of jobs, may be open; they do not count as calls.
        connection_age_seconds: After how long, give or take a tenth, a client is asked to open a new connection, for
            which it resolves the name of the service anew: so it finds replicas that have come since. Calls that are
            under way on the old one end there, however long they take.
        message_bytes_max: How large a request or an answer may be.
        processes: How many processes serve on the one port, for machines with several cores. The first then only
            starts and stops them.
        reuse_port: Whether processes that are started on their own may listen on the same port, so that the kernel
            spreads connections.
        reflection: Whether clients such as grpcurl may ask for the contract.
        metrics_listen_address: `host:port` where Prometheus reads metrics over HTTP; empty for none. Of several
            processes the first has this port, and each further one the next.
    """

    model_config = ENVIRONMENT

    listen_address: str
    drain_seconds: PositiveFloat = 20
    deadline_seconds_max: PositiveFloat = 30
    concurrent_calls_max: PositiveInt = 1000
    concurrent_streams_max: PositiveInt = 10_000
    connection_age_seconds: PositiveFloat = 60
    message_bytes_max: PositiveInt = 16 * 1024 * 1024
    processes: PositiveInt = 1
    reuse_port: bool = False
    reflection: bool = True
    metrics_listen_address: str = ""


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
        problems = (_problem(prefix, problem) for problem in error.errors(include_input=False))
        raise StartupError("; ".join(problems)) from None


def load_redis() -> RedisSettings | None:
    """Reads the settings of Redis for a service that can do without it.

    Returns:
        The settings; None if REDIS_URL is not set.

    Raises:
        StartupError: Naming each environment variable that is wrong.
    """
    return load(RedisSettings, "REDIS_") if load(_RedisAddress, "REDIS_").url else None


def _problem(prefix: str, problem: ErrorDetails) -> str:
    name = prefix + "_".join(str(part) for part in problem["loc"]).upper()
    if problem["type"] == "missing":
        return f"{name} is not set"
    return f"{name}: {problem['msg'].removeprefix('Value error, ')}"
