"""`innosystem serve`: one service, in this process."""

import importlib
from typing import Literal


def serve(service: Literal["customers", "wallets", "jobs"]) -> None:
    """Serve customers, wallets or jobs in this process, until SIGTERM or Ctrl-C.

    The settings come from the environment and .env, such as JOBS_DATABASE_URL and JOBS_LISTEN_ADDRESS.

    Parameters
    ----------
    service
        Which service.
    """
    module = importlib.import_module(f"services.{service}.__main__")
    from services.kit.rpc.server import serve as serve_until_stopped

    serve_until_stopped(service, module.main)
