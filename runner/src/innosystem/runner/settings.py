"""The runner's settings, from the environment and a `.env` file in the working directory."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from innosystem.client.credentials import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, Token, token_of
from innosystem.runner.cpus import available_cpus
from innosystem.runner.logs import LogFormat
from innosystem.runner.outbound.settings import OutboundSettings
from innosystem.shared.redis_connections import check_url as check_redis_url
from innosystem.shared.redis_connections import is_protected
from innosystem.shared.secret_settings import SecretsFromFiles
from innosystem.shared.settings_names import misspelt
from innosystem.shared.tls_files import TlsFiles
from innosystem.shared.tls_renewals import renewals
from innosystem.shared.transport import Transport, TransportError

LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_SEPARATORS = re.compile(r"[,\s]+")
_QUEUE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")


def _capitals(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class RunnerSettings(OutboundSettings, SecretsFromFiles):
    """The settings of a runner. Each field is read from the environment variable of the same name.

    Those of outbound calls are inherited.

    Attributes:
        jobs_address: The address of the jobs service.
        wallets_address: The address of the wallets service.
        redis_url: The address of Redis (`redis://`, `rediss://` or `unix://`).
        redis_key_prefix: The prefix of the names of all lists. `{innosystem}:` keeps them in one slot of a Redis
            Cluster.
        innosystem_token: The token with which processes of this environment say who they are.
        innosystem_token_file: A file with the token, which is read again when it changes; in place of the token.
        runner_token: The runner's own token, in place of that one, which may be an operator's.
        runner_token_file: A file with it.
        innosystem_tls_ca_file: The CA certificates, in PEM, that must have signed the certificates of the services.
            With it, the services are called by TLS only. All files of TLS are read again when they change.
        innosystem_tls_certificate_file: The runner's own certificate with its chain.
        innosystem_tls_key_file: The key of the certificate, not encrypted.
        innosystem_tls_server_name: The name that certificates of services must have; by default the host of the
            address.
        innosystem_tls_metrics: Whether metrics are served by TLS as well.
        innosystem_plaintext: `allow` for connections without TLS to other machines.
        runner_concurrency: How many handlers run concurrently.
        runner_queues: The queues to take jobs from, separated by commas or spaces.
        runner_handlers: The modules with handlers, or their files, separated by commas or spaces. A path with spaces is
            one file if there is such a file.
        runner_processes: How many processes run the handlers registered with `process=True`; by default the number of
            CPUs available to the runner. The same number may run for jobs whose runner was lost before.
        runner_process_jobs_max: After how many calls of handlers a process ends and a new one takes its place; 0 for
            never.
        runner_process_memory_max_mb: With how much memory, in MiB, a process ends after a call and a new one takes its
            place; 0 for any. Linux only.
        runner_lease_seconds: How long the lease of a claimed job lasts.
        runner_stop_seconds: How long a handler has to stop at its timeout, or when its job is cancelled. A handler that
            does not stop is abandoned and its job reported as timed out. A runner that has lost half of its slots this
            way drains and starts itself anew.
        runner_blocked_seconds: How long a handler may block the event loop before the runner starts itself anew, so
            that its jobs run elsewhere.
        runner_report_seconds: How long to retry reporting a result while the jobs service is unavailable. Results that
            are not reported by then are left to the platform.
        runner_charge_seconds: How long to try a charge, and its settlement, before it is left to the settler.
        runner_drain_seconds: How long a runner takes to stop: running jobs may finish, and those that do not are
            returned, for which the last fifth of the time is reserved (at least a second, at most five).
        runner_watchdog_seconds: How long a runner with room may go without completing a poll of Redis, by a reply or a
            noticed failure, before it exits. A poll takes a second, and up to 20 if Redis does not respond.
        runner_health_file: A file to touch each second while the runner polls or is full, for a liveness probe; empty
            for no file.
        runner_metrics_listen_address: `host:port` where Prometheus scrapes metrics over HTTP; empty for none.
        log_level: The least important level to log.
        log_format: `json`, or `console` for people; `auto` is `console` on a terminal, otherwise `json`.
    """

    # `NAME=` counts as unset, as for the services.
    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    jobs_address: str = "localhost:50053"
    wallets_address: str = "localhost:50052"
    redis_url: SecretStr = SecretStr("redis://localhost:6379/0")
    redis_key_prefix: str = ""
    innosystem_token: SecretStr = SecretStr("")
    innosystem_token_file: str = ""
    runner_token: SecretStr = SecretStr("")
    runner_token_file: str = ""
    innosystem_tls_ca_file: str = ""
    innosystem_tls_certificate_file: str = ""
    innosystem_tls_key_file: str = ""
    innosystem_tls_server_name: str = ""
    innosystem_tls_metrics: bool = False
    innosystem_plaintext: Literal["", "allow"] = ""
    runner_concurrency: int = Field(default=32, ge=1, le=10_000)
    runner_queues: Annotated[tuple[str, ...], NoDecode] = ("default",)
    runner_handlers: Annotated[tuple[str, ...], NoDecode] = ()
    runner_processes: int = Field(default_factory=available_cpus, ge=1, le=1000)
    runner_process_jobs_max: int = Field(default=0, ge=0)
    runner_process_memory_max_mb: int = Field(default=0, ge=0)
    runner_lease_seconds: float = Field(default=60.0, ge=1, le=3600)
    runner_stop_seconds: float = Field(default=10.0, gt=0)
    runner_blocked_seconds: float = Field(default=60.0, ge=1)
    runner_report_seconds: float = Field(default=600.0, ge=1)
    runner_charge_seconds: float = Field(default=5.0, ge=0.5)
    runner_drain_seconds: float = Field(default=25.0, ge=0)
    runner_watchdog_seconds: float = Field(default=60.0, ge=2)
    runner_health_file: str = ""
    runner_metrics_listen_address: str = ""
    log_level: Annotated[LogLevel, BeforeValidator(_capitals)] = "INFO"
    log_format: LogFormat = "auto"

    def token(self) -> Token:
        """Return the token of the runner's calls: its own, or else the one of all processes in this environment.

        Raises:
            ValueError: Both a token and a file are set, or the file can't be read.
        """
        own = self.runner_token.get_secret_value(), self.runner_token_file
        shared = self.innosystem_token.get_secret_value(), self.innosystem_token_file
        text, file = own if any(own) else shared
        return token_of({TOKEN_VARIABLE: text, TOKEN_FILE_VARIABLE: file})

    @property
    def transport(self) -> Transport:
        """How the runner's connections to the services are protected."""
        return Transport(
            self.innosystem_tls_ca_file,
            self.innosystem_tls_certificate_file,
            self.innosystem_tls_key_file,
            self.innosystem_tls_server_name,
            plaintext=bool(self.innosystem_plaintext),
            report=renewals("client"),
        )

    @property
    def metrics_files(self) -> TlsFiles | None:
        """The TLS files of the runner's metrics; None for metrics without TLS.

        Raises:
            TransportError: If they can't be used.
        """
        if not self.innosystem_tls_metrics:
            return None
        if not self.innosystem_tls_certificate_file:
            raise TransportError("INNOSYSTEM_TLS_METRICS needs INNOSYSTEM_TLS_CERTIFICATE_FILE as well")
        return TlsFiles(
            certificate_file=self.innosystem_tls_certificate_file,
            key_file=self.innosystem_tls_key_file,
            report=renewals("server"),
        )

    @field_validator("runner_queues", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Accept names that are separated by commas, spaces or both, in a variable and after a flag."""
        return _each(value, _names)

    @field_validator("runner_handlers", mode="before")
    @classmethod
    def _split_handlers(cls, value: object) -> object:
        """Accept names as for queues, and the paths of files that have spaces or commas."""
        return _each(value, _modules)

    @model_validator(mode="after")
    def _is_protected(self) -> Self:
        if not self.innosystem_plaintext and not is_protected(self.redis_url.get_secret_value()):
            raise ValueError(
                "REDIS_URL: the connection to another machine would not be encrypted: use a URL that begins with "
                "rediss://, or INNOSYSTEM_PLAINTEXT=allow if the network is to be trusted"
            )
        return self

    @field_validator("runner_process_memory_max_mb")
    @classmethod
    def _can_be_measured(cls, value: int) -> int:
        if value and sys.platform != "linux":
            raise ValueError("the memory of processes can be read on Linux only")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_of_redis(cls, value: SecretStr) -> SecretStr:
        check_redis_url(value.get_secret_value())
        return value

    @field_validator("runner_queues")
    @classmethod
    def _are_queues(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("name at least one queue")
        for name in value:
            if not _QUEUE_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} is not a queue: names have at most 50 lower-case letters, digits and hyphens"
                )
        return tuple(dict.fromkeys(value))


def _each(value: object, split: Callable[[str], Iterable[str]]) -> object:
    given = [value] if isinstance(value, str) else value
    if isinstance(given, (list, tuple)) and all(isinstance(one, str) for one in given):
        return tuple(part for one in given for part in split(one))
    return value


def _names(text: str) -> Iterator[str]:
    return (part for part in _SEPARATORS.split(text) if part)


def _modules(text: str) -> Iterator[str]:
    """Yield the modules and files of a text. Where a Python file has the path, it is not split further."""
    if _is_handlers_file(text.strip()):
        yield text.strip()
        return
    for part in text.split(","):
        if _is_handlers_file(part.strip()):
            yield part.strip()
        else:
            yield from _names(part)


def _is_handlers_file(text: str) -> bool:
    return text.endswith(".py") and Path(text).is_file()


def misspelt_settings() -> dict[str, str]:
    """Return variables of the environment and `.env` that look like misspelt settings, each with the nearest one."""
    return misspelt({**dotenv_values(".env"), **os.environ})
