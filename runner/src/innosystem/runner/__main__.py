"""Runs a runner: `python -m innosystem.runner --handlers my_package.my_module`."""

import os

# Handlers' processes are forked by the event loop. By default gRPC starts its threads anew in the child before that is
# replaced by its program, and the child may crash of it; nothing of ours uses gRPC after a fork. Read at its import.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import argparse
import gc
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from pydantic import ValidationError

from innosystem.runner.errors import HandlerRegistrationError
from innosystem.runner.fork_signals import reset_signals_in_forks
from innosystem.runner.logs import configure_logs
from innosystem.runner.loop_watchdog import LoopWatchdog
from innosystem.runner.process_lifetime import Leftovers, run_to_completion
from innosystem.runner.registry import Registry, default_registry
from innosystem.runner.runner import Runner
from innosystem.runner.settings import RunnerSettings
from innosystem.shared.log_lines import flush_all

log = structlog.get_logger()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a runner with the settings of the environment and the command line.

    Returns:
        The exit status: 0 if every job was finished or handed back, 1 if some were left or the runner
        broke, 2 if it could not start. A runner whose event loop is blocked ends with 3, without returning.
    """
    given = {key: value for key, value in vars(_parse(arguments)).items() if value is not None}
    try:
        settings = RunnerSettings(**given)
    except ValidationError as exc:
        for fault in exc.errors(include_url=False):
            name = ".".join(str(part) for part in fault["loc"]).upper()
            sys.stderr.write(f"{name}: {fault['msg']}\n")
        return 2
    return run(settings)


def run(settings: RunnerSettings) -> int:
    """Run a runner until SIGTERM or SIGINT, in this process.

    Does not return if a handler runs on after the drain, in a thread or against its cancellation: then
    the process ends here, as nothing else would stop it.

    Returns:
        The exit status, as `main` has it.
    """
    configure_logs(settings.log_level, settings.log_format)
    try:
        default_registry.load(settings.runner_handlers, with_entry_points=True)
    except HandlerRegistrationError as exc:
        sys.stderr.write(f"{exc}\n")
        return 2
    if not list(default_registry):
        modules = ", ".join(default_registry.modules) or "none was named"
        sys.stderr.write(
            f"There is no handler to run (modules: {modules}). Name the modules with --handlers or RUNNER_HANDLERS; "
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
    return run_to_completion(_serve(settings, default_registry))


async def _serve(settings: RunnerSettings, registry: Registry) -> int:
    """Run jobs; answer the exit status."""
    left = Leftovers()
    async with Runner.open(settings, registry) as runner, AsyncExitStack() as closing:
        watch = LoopWatchdog(
            limit_seconds=settings.runner_blocked_seconds,
            lease_seconds=settings.runner_lease_seconds,
            drain_seconds=settings.runner_drain_seconds,
            stop=runner.stop,
        )
        closing.enter_context(watch.watching())
        runner.queue.loop_was_blocked = watch.was_blocked
        # What is loaded stays: the collector of garbage need not look through it again and again.
        gc.collect()
        gc.freeze()
        log.info(
            "runner_ready",
            runner_id=runner.runner_id,
            queues=settings.runner_queues,
            handlers=list(registry),
            concurrency=settings.runner_concurrency,
        )
        drained = await runner.run()
    status = 0 if drained else 1
    if runner.has_stuck_handlers:
        # Here and not later: the event loop waits for what it has cancelled before it closes.
        log.error("handlers_abandoned", note="handlers run on, which nothing else can stop")
        flush_all()
        os._exit(status)
    left.exit_soon(status)
    return status


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m innosystem.runner",
        description="Runs jobs. What is not given here comes from the environment and .env.",
    )
    parser.add_argument(
        "--handlers",
        dest="runner_handlers",
        action="extend",
        nargs="+",
        metavar="MODULE",
        help="modules with handlers (RUNNER_HANDLERS), besides those of installed distributions",
    )
    parser.add_argument(
        "--queue",
        dest="runner_queues",
        action="extend",
        nargs="+",
        metavar="QUEUE",
        help="queues to take jobs from, the most important first (RUNNER_QUEUES; `default`)",
    )
    parser.add_argument(
        "--concurrency",
        dest="runner_concurrency",
        type=int,
        metavar="N",
        help="how many handlers run at once (RUNNER_CONCURRENCY; 32)",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
