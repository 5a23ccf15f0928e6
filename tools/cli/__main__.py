"""The `innosystem` command. Each command imports its dependencies when it runs, so that `--help` is quick."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter, UnknownCommandError

from tools.errors import BAD_ARGUMENTS, UsageError

_INTERRUPTED = 130

_LOCAL = Group("Local stack", sort_key=1)
_OPERATE = Group("Jobs and money", sort_key=2)
_DEPLOY = Group("Deployment", sort_key=3)
_OPTIONS = Group("Options", sort_key=4)

# Commands that bring their own platform, or use none.
_WITHOUT_PLATFORM = frozenset({"up", "dev", "new", "demo", "bench", "completion"})
# Those that name misspelt settings in their log, and the one that a shell runs at each start.
_SPELLED_ELSEWHERE = frozenset({None, "serve", "run", "completion"})
_OPTIONS_WITH_VALUES = frozenset({"--context", "--env-file"})

# The place of each command, its name, its line in the list of commands, and its group.
_COMMANDS = (
    ("up:up", "up", "Start everything on this machine: databases, services and a runner.", _LOCAL),
    ("dev:app", "dev", "Run handlers from a file on a local stack, again after each change.", _LOCAL),
    ("new:new", "new", "Write a project of handlers with a test and a deployment.", _LOCAL),
    ("demo:demo", "demo", "Run jobs on real input, charge them to three wallets and check the books.", _LOCAL),
    ("bench.app:app", "bench", "Measure the platform beside bare SQL and other task queues.", _LOCAL),
    ("seed:seed_command", "seed", "Create example job types and customers.", _LOCAL),
    ("status.command:status", "status", "Show what runs, what waits, who serves and what is wrong.", _OPERATE),
    ("submit.command:submit", "submit", "Submit one job, or many from a JSON Lines file.", _OPERATE),
    ("jobs.app:app", "jobs", "List, show, watch, cancel, retry or write off jobs.", _OPERATE),
    ("queue:app", "queue", "Show waiting and running jobs; pause or resume queues.", _OPERATE),
    ("runners:app", "runners", "List or show runners: who takes jobs from which queues.", _OPERATE),
    ("job_types.app:app", "job-types", "List, create, update, edit, pause, disable or delete job types.", _OPERATE),
    (
        "customers.app:app",
        "customers",
        "List, create, update or deactivate customers; manage their API keys.",
        _OPERATE,
    ),
    (
        "wallets.app:app",
        "wallets",
        "List, create, credit, charge or refund wallets; show statements and holds.",
        _OPERATE,
    ),
    ("verify:verify", "verify", "Check that jobs, charges and wallets fit together, and make safe repairs.", _OPERATE),
    ("audit:app", "audit", "Show who changed customers, money, jobs and job types.", _OPERATE),
    ("cache:app", "cache", "Show the statistics of a service's caches.", _OPERATE),
    ("context:app", "context", "Choose the platform that commands use.", _OPERATE),
    ("completion:completion", "completion", "Print the completion for a shell.", _OPTIONS),
    ("serve:serve", "serve", "Serve customers, wallets or jobs in this process.", _DEPLOY),
    ("handlers.app:app", "handlers", "List or check handlers, and register them as job types.", _DEPLOY),
    ("run:run", "run", "Run a runner in this process.", _DEPLOY),
    ("charge_keys:app", "charge-keys", "Make and rotate the keys by which services vouch for charges.", _DEPLOY),
    ("tokens:app", "tokens", "Create tokens and their keys, and explain a token.", _DEPLOY),
    ("migrate:app", "migrate", "Bring the databases to the schema of this release, or back.", _DEPLOY),
)


def _version() -> str:
    try:
        return version("innosystem-platform")
    except PackageNotFoundError:
        return "not installed: running from a checkout"


def command_line(called: str | None = None) -> App:
    """Return the command line.

    Args:
        called: The command that is called. It describes itself; the others are described here and not imported.
    """
    app = App(
        name="innosystem",
        help="A metered job platform: typed jobs with priorities, each charged to a prepaid wallet exactly once.",
        version=_version,
        print_error=False,
        exit_on_error=False,
        result_action="return_value",
        # No --empty-queue beside --queue.
        default_parameter=Parameter(negative_iterable=""),
    )
    app["--help"].group = app["--version"].group = _OPTIONS
    for place, name, help_line, group in _COMMANDS:
        text = None if name == called else help_line
        app.command(f"tools.cli.commands.{place}", name=name, help=text, group=group)

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        debug: Annotated[
            bool,
            Parameter(
                env_var="INNOSYSTEM_DEBUG",
                negative="",
                show_default=False,
                group=_OPTIONS,
                help="Show the traceback of an error.",
            ),
        ] = False,
        context: Annotated[
            str | None, Parameter(name="--context", group=_OPTIONS, help="The platform, by the name of its context.")
        ] = None,
        env_file: Annotated[
            Path | None, Parameter(name="--env-file", group=_OPTIONS, help="The platform, by a file such as stack.env.")
        ] = None,
    ) -> Any:
        try:
            if refused := _check_spelling(called, is_given=bool(context or env_file)):
                return _fail(refused, BAD_ARGUMENTS)
            _choose(called, context, env_file)
            return app(tokens)
        except (CycloptsError, BrokenPipeError):
            raise
        except Exception as error:
            if debug:
                raise
            from tools.cli.errors import describe, status_of

            return _fail(describe(error), status_of(error))

    return app


def _check_spelling(called: str | None, *, is_given: bool) -> str:
    """Name misspelt settings on standard error. A service and a runner name them in their log.

    Args:
        called: The command.
        is_given: Whether an option names the platform, so that the environment does not.

    Returns:
        Why the command must end: it would use another platform than the misspelt variable was to name. Empty otherwise.
    """
    from innosystem.shared.settings_names import PLATFORM, misspelt
    from tools.local.environment import environment

    if called in _SPELLED_ELSEWHERE:
        return ""
    for name, meant in misspelt(environment()).items():
        what = f"{name} is not a setting: did you mean {meant}?"
        if meant in PLATFORM and not is_given:
            other = "" if called in _WITHOUT_PLATFORM else ", or name the platform by --context or --env-file"
            return f"{what} It says which platform to use: correct or unset it{other}"
        sys.stderr.write(f"innosystem: {what}\n")
    return ""


def _called(arguments: Sequence[str]) -> str | None:
    """Return the first argument that is neither an option nor the value of one."""
    before = ["", *arguments]
    words = (one for one, option in zip(arguments, before, strict=False) if option not in _OPTIONS_WITH_VALUES)
    return next((word for word in words if not word.startswith("-")), None)


def _choose(called: str | None, context: str | None, env_file: Path | None) -> None:
    from tools.local.target import choose

    if called in _WITHOUT_PLATFORM and (context or env_file):
        option = "--context" if context else "--env-file"
        raise UsageError(f"{option} names a platform that is there, which `{called}` does not use")
    choose(context, env_file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    A command is a function or a coroutine. It returns None or its exit status, and raises `CommandError` with a message
    for its user, or `UsageError` for wrong arguments; any other exception is described here as well.

    Args:
        arguments: The arguments after `innosystem`; by default those of this process.

    Returns:
        The exit status: 0, 1 if the command failed or was refused, 2 for wrong arguments, or the command's own status.
    """
    # The platform never forks without exec. gRPC reads this when it is imported; otherwise it logs each fork.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    arguments = sys.argv[1:] if arguments is None else arguments
    app = command_line(_called(arguments))
    try:
        status = app.meta(arguments)
        sys.stdout.flush()
    except UnknownCommandError as error:
        from tools.cli.errors import describe_unknown_command

        return _fail(describe_unknown_command(error.unused_tokens or (), list(error.app or app)), BAD_ARGUMENTS)
    except CycloptsError as error:
        from tools.cli.usage import describe_usage

        return _fail(describe_usage(error), BAD_ARGUMENTS)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has closed it (`| head`). Python would report an error when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"innosystem: {message.strip()}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
