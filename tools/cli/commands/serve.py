"""`innosystem serve`: one service, in this process or in several child processes."""

import importlib
from typing import Annotated

from cyclopts import Parameter, validators

from services import Service
from tools.cli.money import WHOLE
from tools.cli.processes import use_platform
from tools.local.environment import database_variable


def serve(
    service: Service,
    /,
    *,
    processes: Annotated[int | None, WHOLE, Parameter(validator=validators.Number(gte=1))] = None,
) -> None:
    """Serve customers, wallets or jobs, until SIGTERM or Ctrl-C.

    The settings come from the environment and .env, such as JOBS_DATABASE_URL and JOBS_LISTEN_ADDRESS. If they name no
    platform, databases and Redis are those of the current context.

    Parameters
    ----------
    service
        The service.
    processes
        How many processes share the port; by default the setting, such as JOBS_PROCESSES.
    """
    chosen = use_platform(database_variable(service))
    if not chosen.platform:
        chosen.require(database_variable(service))
    module = importlib.import_module(f"services.{service}.__main__")
    module.run([] if processes is None else ["--processes", str(processes)])
