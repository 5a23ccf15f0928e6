"""`innosystem run`: a runner, in this process."""

import asyncio
from typing import Annotated

from cyclopts import Parameter

from tools.cli.money import WHOLE
from tools.cli.processes import use_platform


def run(
    *,
    handlers: Annotated[
        list[str] | None, Parameter(help="Modules with handlers, or their files.", consume_multiple=True)
    ] = None,
    queue: Annotated[
        list[str] | None, Parameter(help="Queues to serve, the most important first.", consume_multiple=True)
    ] = None,
    concurrency: Annotated[int | None, WHOLE, Parameter(help="How many handlers run at the same time.")] = None,
) -> int:
    """Run a runner in this process, until SIGTERM or Ctrl-C. The environment and .env have the other settings.

    The runner serves the platform of the command: the one that the environment names, or else the current context.
    """
    from innosystem.runner.__main__ import main

    chosen = use_platform("JOBS_ADDRESS", "WALLETS_ADDRESS", "REDIS_URL")
    if chosen.is_guessed:
        from tools.cli.identity import check_guess

        asyncio.run(check_guess(chosen))
    arguments = []
    if handlers:
        arguments += ["--handlers", *handlers]
    if queue:
        arguments += ["--queue", *queue]
    if concurrency is not None:
        arguments += ["--concurrency", str(concurrency)]
    return main(arguments)
