"""Settings of a service, a class for each concern, from the environment and `.env`; checked when the process starts."""

import os
import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    PrivateAttr,
    SecretStr,
    ValidationError,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from innosystem.shared.redis_connections import check_url as check_redis_url
from innosystem.shared.redis_connections import is_protected as protects_redis
from innosystem.shared.secret_files import SecretFileError
from innosystem.shared.secret_settings import SecretsFromFiles
from innosystem.shared.settings_names import PLATFORM, misspelt
from innosystem.shared.transport import PLAINTEXT, PREFIX, is_local

S = TypeVar("S", bound=BaseSettings)

# As SQLAlchemy reads a URL: a password may contain anything but @.
_DATABASE_URL = re.compile(
    r"\w+(\+\w+)?://([^:/@]*(:[^@]*)?@)?(?P<host>\[[^\]/?]+\]|[^/?:\[\]]*)(:\d*)?([/?].*)?", re.DOTALL
)

# Others let the server, or anything in between, do without TLS.
_ENCRYPTED = ("require", "verify-ca", "verify-full")

#: The configuration of all settings classes. `NAME=` in a file or a manifest means that the value is not set.
ENVIRONMENT = SettingsConfigDict(
    env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
)


def _capitals(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _begins_with(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    """Return a check of a URL's scheme whose error omits the URL, which may contain a password."""

    def check(url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(tuple(f"{scheme}://" for scheme in schemes)):
            raise ValueError(f"must be a URL that begins with {schemes[0]}://")
        return url

    return check


def check_database_url(url: str) -> None:
    """Check that a URL has its parts, without repeating any: half of a password may look like a host or a port.

    Raises:
        ValueError: With what is wrong.
    """
    parts = _DATABASE_URL.fullmatch(url)
    if parts is None:
        raise ValueError("must be a URL such as postgresql://user:password@host:5432/name")
    if "@" in parts["host"]:
        raise ValueError("has more than one @: write @ in a password as %40")


def _has_its_parts(url: SecretStr) -> SecretStr:
    check_database_url(url.get_secret_value())
    return url


def _is_of_redis(url: SecretStr) -> SecretStr:
    check_redis_url(url.get_secret_value())
    return url


class LogSettings(BaseSettings):
    """Level and format of logs: LOG_LEVEL, LOG_FORMAT.

    Attributes:
        level: The minimum level, in capitals or not. DEBUG includes the calls to health and reflection.
        format: `json` for machines, `console` for people; `auto` is `console` on a terminal, otherwise `json`.
    """

    model_config = ENVIRONMENT

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_capitals)] = "INFO"
    format: Literal["auto", "json", "console"] = "auto"


class DatabaseSettings(SecretsFromFiles):
    """A service's database, such as JOBS_DATABASE_URL.

    Attributes:
        url: `postgresql://user:password@host:port/name`, with `?sslmode=verify-full&sslrootcert=FILE` for TLS.
        pool_size: How many connections are kept.
        max_overflow: How many more may be opened when all are busy. Each of them is closed after its use, which costs
            more than waiting under steady load.
        pool_timeout_seconds: How long a request waits for a free connection.
        connection_lifetime_seconds: The age at which a connection is replaced.
        connect_timeout_seconds: How long opening a connection may take.
        statement_timeout_seconds: How long a statement may run.
        lock_timeout_seconds: How long a statement may wait for a lock, during which the rest of its batch waits as
            well.
        locked_row_seconds: How long a call whose row is locked is retried: less than its caller's deadline.
        idle_in_transaction_timeout_seconds: How long a transaction may stay open without a statement.
        tcp_timeout_seconds: After how long without a response the server's machine counts as lost.
        pooled: Whether a pooler such as PgBouncer is in between, in session or transaction mode: limits are then set by
            each transaction, and migrations take turns by a row.
        clock_skew_seconds_max: How far the clocks of this machine and of other databases may differ from that of this
            database; a larger skew is logged. All times come from the database.
        slow_query_seconds: A slower statement is logged.
        schema_check: What a service does at its start if the database is behind its release: `validate` refuses to
            serve, `migrate` applies the pending migrations, `warn` only logs them.
    """

    model_config = ENVIRONMENT

    url: Annotated[
        SecretStr,
        AfterValidator(_begins_with("postgresql", "postgres", "postgresql+psycopg")),
        AfterValidator(_has_its_parts),
    ]
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
    _variable: str = PrivateAttr(default="")

    def __init__(self, _env_prefix: str | None = None, **values: Any) -> None:
        super().__init__(_env_prefix=_env_prefix, **values)
        self._variable = f"{_env_prefix}URL" if _env_prefix else ""

    @property
    def variable(self) -> str:
        """The environment variable with the address, such as JOBS_DATABASE_URL; empty if there is none."""
        return self._variable

    @property
    def page_token_key(self) -> bytes:
        """The key of page tokens for a database that is behind and has no key of its own yet."""
        return blake2b(self.url.get_secret_value().encode(), digest_size=32, person=b"page tokens").digest()


class RedisSettings(SecretsFromFiles):
    """The queue: REDIS_URL, REDIS_COMMAND_TIMEOUT_SECONDS, REDIS_CONNECTION_LIFETIME_SECONDS, REDIS_KEY_PREFIX.

    Attributes:
        url: The address: `redis://host:6379/0`, `rediss://host:6379/0?ssl_ca_certs=FILE` for TLS, or `unix:///path`.
        command_timeout_seconds: How long a command may take.
        connection_lifetime_seconds: The age at which a connection is replaced, which resolves the address again.
        key_prefix: The prefix of all keys, for several platforms in one Redis.
    """

    model_config = ENVIRONMENT

    url: Annotated[SecretStr, AfterValidator(_is_of_redis)]
    command_timeout_seconds: PositiveFloat = 1
    connection_lifetime_seconds: PositiveFloat = 60
    key_prefix: str = ""


class _RedisAddress(SecretsFromFiles):
    """The address of Redis, if one is configured."""

    model_config = ENVIRONMENT

    url: SecretStr | None = None


class ChargeKeySettings(BaseSettings):
    """The keys of charge tokens: INNOSYSTEM_CHARGE_KEYS_FILE or INNOSYSTEM_CHARGE_KEYS, the same for jobs and wallets.

    Attributes:
        keys: The keys, separated by spaces: `ID:SECRET`. They are read once.
        keys_file: A file with a key a line, which is read again every few seconds.
        keys_kept_seconds: How long the keys of a file remain in force that can't be read again.
    """

    model_config = ENVIRONMENT

    keys: SecretStr = SecretStr("")
    keys_file: str = ""
    keys_kept_seconds: PositiveFloat = 86_400


class CacheSettings(BaseSettings):
    """A service's caches of rarely changed entities, such as JOBS_CACHE_TTL_SECONDS.

    Attributes:
        size: How many entries of a kind are kept.
        ttl_seconds: How long an entry is kept: the maximum age of a value whose change in another process was missed.
    """

    model_config = ENVIRONMENT

    size: PositiveInt = 10_000
    ttl_seconds: PositiveFloat = 5


class CustomersClientSettings(BaseSettings):
    """Address and deadline of the customers service: CUSTOMERS_ADDRESS, CUSTOMERS_DEADLINE_SECONDS."""

    model_config = ENVIRONMENT

    address: str = "localhost:50051"
    deadline_seconds: PositiveFloat = 3


class ServerSettings(BaseSettings):
    """A service's gRPC server, such as JOBS_LISTEN_ADDRESS.

    Attributes:
        listen_address: `host:port` (port 0 for a free one) or `unix:/path`.
        drain_seconds: How long calls in flight may take to finish when the server stops.
        deadline_seconds_max: How long a call without a deadline may take. Streams without a deadline last as long as
            their readers want.
        concurrent_calls_max: How many calls may be in flight; further calls are refused with OVERLOADED.
        concurrent_streams_max: How many streams, such as watchers of jobs, may be open; they do not count as calls.
        connections_max: How many connections may be open; further ones are closed immediately.
        connection_age_seconds: The age, give or take a tenth, at which a client is asked to open a new connection, for
            which it resolves the service's name again and finds new replicas. Calls in flight finish on the old
            connection, however long they take.
        message_bytes_max: The maximum size of a request or a response.
        processes: How many processes serve on the port, for machines with several cores. The first process then only
            starts and stops them.
        reuse_port: Whether independently started processes may listen on the same port, among which the kernel
            distributes connections.
        reflection: Whether operators may read the contract, with clients such as grpcurl; `open` for everybody.
        metrics_listen_address: `host:port` where Prometheus scrapes metrics over HTTP; empty for none. Of several
            processes, the first has this port, and each further process the next one.
    """

    model_config = ENVIRONMENT

    listen_address: str
    drain_seconds: PositiveFloat = 20
    deadline_seconds_max: PositiveFloat = 30
    concurrent_calls_max: PositiveInt = 1000
    concurrent_streams_max: PositiveInt = 10_000
    connections_max: PositiveInt = 10_000
    connection_age_seconds: PositiveFloat = 60
    message_bytes_max: PositiveInt = 16 * 1024 * 1024
    processes: PositiveInt = 1
    reuse_port: bool = False
    reflection: bool | Literal["open"] = True
    metrics_listen_address: str = ""


class TransportSettings(BaseSettings):
    """How connections are protected, those that are accepted and those that are opened: INNOSYSTEM_TLS_KEY_FILE etc.

    All files are in PEM, and are read again when they change.

    Attributes:
        tls_certificate_file: The certificate of this process with its chain, for both sides of connections. With it,
            the server accepts only TLS.
        tls_key_file: The key of the certificate, not encrypted.
        tls_client_ca_file: The CA certificates that certificates of callers must be signed by. With it, callers without
            a certificate are refused.
        tls_ca_file: The CA certificates that certificates of other services must be signed by. With it, they are called
            by TLS only.
        tls_server_name: The name that certificates of other services must have; by default the host of the address.
        tls_metrics: Whether metrics are served by TLS as well, to clients with and without a certificate.
        plaintext: `allow` for connections without TLS to and from other machines.
    """

    model_config = ENVIRONMENT

    tls_certificate_file: str = ""
    tls_key_file: str = ""
    tls_client_ca_file: str = ""
    tls_ca_file: str = ""
    tls_server_name: str = ""
    tls_metrics: bool = False
    plaintext: Literal["", "allow"] = ""


class StartupError(Exception):
    """The process cannot start; the message says what to do."""


class AddressError(StartupError):
    """The process can't listen on its address, which the variable `..._LISTEN_ADDRESS` of its service sets."""


def load(kind: type[S], prefix: str, **given: Any) -> S:
    """Read settings from the environment and `.env`.

    Args:
        kind: The settings class.
        prefix: The prefix of its environment variables, such as `JOBS_DATABASE_`.
        given: Values that replace those of the environment, by field.

    Raises:
        StartupError: If environment variables are missing or wrong, names each of them; or if a database or Redis would
            be used from another machine without TLS.
    """
    try:
        settings = kind(_env_prefix=prefix, **given)
    except SecretFileError as error:
        raise StartupError(str(error)) from None
    except ValidationError as error:
        problems = (_problem(prefix, problem) for problem in error.errors(include_input=False))
        raise StartupError("; ".join(problems)) from None
    if isinstance(settings, (DatabaseSettings, RedisSettings)):
        _check_protection(settings, f"{prefix}URL")
    return settings


def _check_protection(settings: DatabaseSettings | RedisSettings, variable: str) -> None:
    url = settings.url.get_secret_value()
    protects, how = (
        (protects_redis, "a URL that begins with rediss://")
        if isinstance(settings, RedisSettings)
        else (protects_database, "?sslmode=verify-full&sslrootcert=FILE in the URL")
    )
    if not protects(url) and load(TransportSettings, PREFIX).plaintext != "allow":
        raise StartupError(
            f"{variable}: the connection to another machine would not be encrypted: use {how}, or {PLAINTEXT}=allow if "
            "the network is to be trusted"
        )


def protects_database(url: str) -> bool:
    """Return whether connections to a database are encrypted, or stay on this machine."""
    parts = _DATABASE_URL.fullmatch(url)
    query = dict(parse_qsl(urlsplit(url).query))
    mode = query.get("sslmode", os.environ.get("PGSSLMODE", ""))
    named = (
        (parts["host"] if parts else "") or query.get("host") or query.get("hostaddr") or os.environ.get("PGHOST", "")
    )
    # Without a host, and with a folder, it is a socket.
    hosts = [one for one in unquote(named).split(",") if one and not one.startswith(("/", "@"))]
    return mode in _ENCRYPTED or all(map(is_local, hosts))


def misspelt_settings() -> dict[str, str]:
    """Return variables of the environment and `.env` that look like misspelt settings, each with the nearest one.

    Raises:
        StartupError: One was to name a database, Redis or a service, and nothing else does: a default may be another's.
    """
    given = {**dotenv_values(".env"), **os.environ}
    found = misspelt(given)
    names = {name.upper() for name in given}
    for name, meant in found.items():
        if meant in PLATFORM and meant not in names:
            raise StartupError(f"{name} is not a setting: did you mean {meant}?")
    return found


def load_redis() -> RedisSettings | None:
    """Read the settings of Redis for a service that can do without it.

    Returns:
        The settings; None if REDIS_URL is not set.

    Raises:
        StartupError: If environment variables are wrong; names each of them.
    """
    return load(RedisSettings, "REDIS_") if load(_RedisAddress, "REDIS_").url else None


def _problem(prefix: str, problem: ErrorDetails) -> str:
    name = prefix + "_".join(str(part) for part in problem["loc"]).upper()
    if problem["type"] == "missing":
        return f"{name} is not set"
    return f"{name}: {problem['msg'].removeprefix('Value error, ')}"
