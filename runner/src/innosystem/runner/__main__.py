"""Run a runner: `python -m innosystem.runner --handlers my_package.my_module`."""

import os

# The event loop forks to start processes for handlers. By default gRPC restarts its threads in the child before exec,
# which may crash the child; the runner never uses gRPC after a fork. gRPC reads the variable when it is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import argparse
import gc
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import structlog
from prometheus_client import REGISTRY
from pydantic import ValidationError

from innosystem.runner.errors import HandlerRegistrationError
from innosystem.runner.fork_signals import reset_signals_in_forks
from innosystem.runner.logs import configure_logs
from innosystem.runner.loop_watchdog import BLOCKED_STATUS, LoopWatchdog
from innosystem.runner.process_lifetime import Leftovers, run_to_completion
from innosystem.runner.registry import Registry, default_registry
from innosystem.runner.restart import Restart
from innosystem.runner.runner import Runner
from innosystem.runner.settings import RunnerSettings, misspelt_settings
from innosystem.shared.log_lines import flush_all
from innosystem.shared.metrics_endpoint import EndpointError, metrics_endpoint
from innosystem.shared.secret_files import SecretFileError
from innosystem.shared.settings_names import PLATFORM
from innosystem.shared.transport import TransportError

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a runner with the settings of the environment and the command line.

    Returns:
        The exit status: 0 if every job was finished or returned to the queue, 1 if some were left or the runner
        broke, 2 if the runner could not start. A runner whose event loop is blocked when it stops exits with 3,
        without returning; one that handlers have made unusable starts anew in this process.
    """
    given = {key: value for key, value in vars(_parse(arguments)).items() if value is not None}
    try:
        settings = RunnerSettings(**given)
    except ValidationError as exc:
        for fault in exc.errors(include_url=False):
            name = "".join(f"{part}: " for part in fault["loc"]).upper()
            sys.stderr.write(f"{name}{fault['msg'].removeprefix('Value error, ')}\n")
        return 2
    except SecretFileError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    return run(settings)


def run(settings: RunnerSettings) -> int:
    """Run a runner in this process until SIGTERM or SIGINT.

    If a handler is still running after the drain, in a thread or despite its cancellation, the process exits
    here instead of returning: nothing else would stop the handler.

    Returns:
        The exit status, as for `main`.
    """
    restart = Restart()
    misspelt = misspelt_settings()
    for name, meant in misspelt.items():
        field = meant.lower()
        if meant in PLATFORM and field in RunnerSettings.model_fields and field not in settings.model_fields_set:
            # The default may be another platform's.
            sys.stderr.write(f"{name} is not a setting: did you mean {meant}?\n")
            return 2
    try:
        settings.token()
    except ValueError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    configure_logs(settings.log_level, settings.log_format)
    for name, meant in misspelt.items():
        log.warning("setting_unknown", setting=name, did_you_mean=meant)
    if settings.innosystem_plaintext:
        log.warning("plaintext_allowed", note="connections to and from other machines need no encryption")
    try:
        default_registry.load(settings.runner_handlers, with_entry_points=True)
    except HandlerRegistrationError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    if not list(default_registry) and not settings.runner_http_allowed_hosts:
        modules = ", ".join(default_registry.modules) or "none"
        sys.stderr.write(
            f"No handler is registered (modules: {modules}). Name the modules with --handlers or RUNNER_HANDLERS; "
            'each handler needs @handler("the.id")\n'
        )
        return 2
    reset_signals_in_forks()
    if settings.runner_health_file:
        try:
            Path(settings.runner_health_file).touch()
        except OSError as exc:
            sys.stderr.write(f"RUNNER_HEALTH_FILE: {exc}\n")
            return 2
    try:
        return run_to_completion(_serve(settings, default_registry, restart))
    except EndpointError as exc:
        sys.stderr.write(f"RUNNER_METRICS_LISTEN_ADDRESS: {exc}\n")
        return 2
    except (TransportError, HandlerRegistrationError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 2


async def _serve(settings: RunnerSettings, registry: Registry, restart: Restart) -> int:
    """Run jobs and return the exit status."""
    leftovers = Leftovers()
    async with Runner.open(settings, registry) as runner, AsyncExitStack() as closing:
        watch = LoopWatchdog(
            limit_seconds=settings.runner_blocked_seconds,
            lease_seconds=settings.runner_lease_seconds,
            drain_seconds=settings.runner_drain_seconds,
            stop=runner.stop,
            restart=partial(restart.now, "a handler blocked the event loop", status=BLOCKED_STATUS),
        )
        closing.enter_context(watch.watching())
        REGISTRY.register(runner.metrics)
        closing.callback(REGISTRY.unregister, runner.metrics)
        await closing.enter_async_context(
            metrics_endpoint(settings.runner_metrics_listen_address, settings.metrics_files)
        )
        runner.queue.loop_was_blocked = watch.was_blocked
        # Everything loaded so far is permanent: keep the garbage collector from scanning it repeatedly.
        gc.collect()
        gc.freeze()
        log.info(
            "runner_ready",
            runner_id=runner.runner_id,
            jobs=settings.jobs_address,
            queues=settings.runner_queues,
            handlers=list(runner.handlers),
            concurrency=settings.runner_concurrency,
        )
        drained = await runner.run()
    status = 0 if drained else 1
    if runner.must_restart:
        restart.now("handlers that do not stop hold half of the slots", status=status)
    if runner.has_stuck_handlers:
        # Exit before the event loop closes: closing waits for cancelled tasks.
        log.error("handlers_abandoned", note="handlers are still running and cannot be stopped otherwise")
        flush_all()
        os._exit(status)
    leftovers.exit_soon(status)
    return status


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="innosystem-runner",
        description="Run jobs. JOBS_ADDRESS, WALLETS_ADDRESS and REDIS_URL say where the platform is. They and omitted "
        "options are read from the environment and .env.",
    )
    parser.add_argument(
        "--handlers",
        dest="runner_handlers",
        action="extend",
        nargs="+",
        metavar="MODULE",
        help="modules with handlers, or their files (RUNNER_HANDLERS), in addition to those of installed distributions",
    )
    parser.add_argument(
        "--queue",
        dest="runner_queues",
        action="extend",
        nargs="+",
        metavar="QUEUE",
        help="queues to take jobs from, most important first (RUNNER_QUEUES; `default`)",
    )
    parser.add_argument(
        "--concurrency",
        dest="runner_concurrency",
        type=int,
        metavar="N",
        help="how many handlers run concurrently (RUNNER_CONCURRENCY; 32)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
