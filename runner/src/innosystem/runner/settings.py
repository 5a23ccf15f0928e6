"""The runner's settings: from the environment and a `.env` file in the working directory."""

import re
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from innosystem.runner.cpus import available_cpus
from innosystem.runner.logs import LogFormat

_QUEUE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")


class RunnerSettings(BaseSettings):
    """All that a runner can be told. Each field is the environment variable of its name.

    Attributes:
        jobs_address: Where the jobs service listens.
        wallets_address: Where the wallets service listens.
        redis_url: Where Redis listens (`redis://`, `rediss://` or `unix://`).
        redis_key_prefix: What the names of the lists begin with. `{innosystem}:` keeps them in one
            slot of a Redis Cluster.
        runner_concurrency: How many handlers run at once.
        runner_queues: The queues to take jobs from, by commas.
        runner_handlers: The modules with handlers, by commas.
        runner_processes: How many processes run the handlers registered with `process=True`; the CPUs that there are
            for the runner by default. As many may run at once for jobs whose runner was lost before.
        runner_lease_seconds: How long claimed jobs are the runner's.
        runner_stop_seconds: How long a handler has to stop at its timeout, or when its job is cancelled. One that
            does not is left behind: its job is reported as timed out, and a runner that has lost half of its slots so
            drains and ends, to be started anew.
        runner_blocked_seconds: How long a handler may block the event loop before the runner ends with status 3, so
            that its jobs run elsewhere.
        runner_report_seconds: How long a result is sent again while the jobs service is away. What is not
            reported by then is left to the platform.
        runner_charge_seconds: How long a charge is tried, and recorded, before it is left to the settler.
        runner_drain_seconds: How long a runner takes to stop once it is told to: jobs get the time to
            finish, and those that do not are handed back, for which the last fifth of it is kept (at
            least a second, at most five).
        runner_watchdog_seconds: How long a runner with room may be without a poll of Redis that was
            answered, or noticed to have failed, before it ends itself. A poll takes a second, and up to 20
            where Redis does not answer.
        runner_health_file: The file whose time is set each second while the runner polls or is full, for
            a liveness probe; none if it is empty.
        log_level: The least important level that is logged.
        log_format: `json`, or `console` for people.
    """

    # `NAME=` means that nobody filled it in, as for the services.
    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    jobs_address: str = "localhost:50053"
    wallets_address: str = "localhost:50052"
    redis_url: SecretStr = SecretStr("redis://localhost:6379/0")
    redis_key_prefix: str = ""
    runner_concurrency: int = Field(default=32, ge=1, le=10_000)
    runner_queues: Annotated[tuple[str, ...], NoDecode] = ("default",)
    runner_handlers: Annotated[tuple[str, ...], NoDecode] = ()
    runner_processes: int = Field(default_factory=available_cpus, ge=1, le=1000)
    runner_lease_seconds: float = Field(default=60.0, ge=1, le=3600)
    runner_stop_seconds: float = Field(default=10.0, gt=0)
    runner_blocked_seconds: float = Field(default=60.0, ge=1)
    runner_report_seconds: float = Field(default=600.0, ge=1)
    runner_charge_seconds: float = Field(default=5.0, ge=0.5)
    runner_drain_seconds: float = Field(default=25.0, ge=0)
    runner_watchdog_seconds: float = Field(default=60.0, ge=2)
    runner_health_file: str = ""
    log_level: str = Field(default="INFO", pattern="^(?i:DEBUG|INFO|WARNING|ERROR|CRITICAL)$")
    log_format: LogFormat = "json"

    @field_validator("runner_queues", "runner_handlers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("runner_queues")
    @classmethod
    def _are_queues(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("a runner needs a queue to take jobs from")
        for name in value:
            if not _QUEUE_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a queue")
        return tuple(dict.fromkeys(value))
