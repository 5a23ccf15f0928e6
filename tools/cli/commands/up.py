"""`innosystem up`: everything on this machine, until Ctrl-C."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from innosystem.client import Innosystem
from services import SERVICES
from tools.cli.commands.migrate import planned
from tools.cli.confirmation import Yes, confirmed
from tools.cli.money import WHOLE
from tools.cli.options import Json
from tools.demo.seed import SOURCE_STATS, HasOtherCustomers, Seeded, seed
from tools.local.environment import database_variable, environment
from tools.local.stack import HANDLERS, Stack
from tools.local.stopping import until_stopped

_FOLDER = Path(".innosystem")
_NO_EXAMPLES = ("", "No examples were created: these databases have other customers.")
_PORTS = {"customers": 50051, "wallets": 50052, "jobs": 50053}


async def up(
    *,
    folder: Annotated[Path, Parameter(help="Where data and logs are kept between starts.")] = _FOLDER,
    customers_port: Annotated[int, WHOLE, Parameter(help="0 for a free one.")] = _PORTS["customers"],
    wallets_port: Annotated[int, WHOLE, Parameter(help="0 for a free one.")] = _PORTS["wallets"],
    jobs_port: Annotated[int, WHOLE, Parameter(help="0 for a free one.")] = _PORTS["jobs"],
    runners: Annotated[int, WHOLE, Parameter(help="How many runners to start.")] = 1,
    handlers: Annotated[
        list[str] | None, Parameter(help="Modules with handlers, besides the example.", consume_multiple=True)
    ] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> int:
    """Start everything on this machine: databases, services and a runner. Ctrl-C stops it; the data stays.

    Databases that *_DATABASE_URL name replace the embedded ones, and are migrated after a confirmation.
    """
    if (plan := await asyncio.to_thread(_planned)) and not confirmed(plan, yes=yes, dry_run=False):
        return 1
    ports = {"customers": customers_port, "wallets": wallets_port, "jobs": jobs_port}
    stack = Stack(folder, ports=ports, runners=runners, handlers=[*HANDLERS, *(handlers or ())])
    try:
        await until_stopped(_stay(stack, as_json=as_json))
    except KeyboardInterrupt:
        if not as_json:
            print("Stopped. The data is kept for the next start.")
    return 0


def _planned() -> Sequence[str]:
    """Return the changes that the start would make to databases other than the embedded ones."""
    given = environment()
    return planned([service for service in SERVICES if database_variable(service) in given])


async def _stay(stack: Stack, *, as_json: bool) -> None:
    async with stack:
        async with Innosystem(**stack.addresses) as platform:
            seeded = await _seeded(platform)
        if as_json:
            print(json.dumps(stack.addresses), flush=True)
        else:
            print("\n".join(_greeting(stack, seeded)), flush=True)
        await stack.watch()


async def _seeded(platform: Innosystem) -> Seeded | None:
    """Create the examples, unless the databases have other customers."""
    try:
        return await seed(platform)
    except HasOtherCustomers:
        return None


def _greeting(stack: Stack, seeded: Seeded | None) -> Sequence[str]:
    return [
        *(f"{name:<10} {address}" for name, address in stack.addresses.items()),
        *(f"{child.name:<10} running" for child in stack.children if child.name not in stack.addresses),
        *(_examples(stack.addresses["jobs"], seeded) if seeded else _NO_EXAMPLES),
        "",
        f"For other processes, such as a runner in another terminal: set -a; . {stack.settings_file}; set +a",
        "Ctrl-C stops everything; the data stays.",
    ]


def _examples(jobs: str, seeded: Seeded) -> Sequence[str]:
    request = json.dumps(
        {
            "job_id": "01990000-0000-7000-8000-000000000001",
            "customer_id": seeded.customers[0].customer.id,
            "job_type": SOURCE_STATS,
            "input_json": json.dumps({"path": "hello.py", "source": "print(1)\n"}),
        }
    )
    return [
        *(
            f"API key of {one.customer.name}, shown only this once: {one.api_key}"
            for one in seeded.customers
            if one.api_key
        ),
        "",
        "Try:",
        f"  grpcurl -plaintext {jobs} list",
        f"  grpcurl -plaintext -d '{request}' {jobs} innosystem.jobs.v1.JobService/CreateJob",
        f'  grpcurl -plaintext -d \'{{"job_id": "01990000-0000-7000-8000-000000000001"}}\' {jobs}'
        " innosystem.jobs.v1.JobService/GetJob",
    ]
