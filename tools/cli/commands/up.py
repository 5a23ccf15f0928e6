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
from tools.cli.programs import innosystem
from tools.cli.stack_context import for_grpcurl, for_programs, stack_context
from tools.demo.seed import EXAMPLES, HasOtherCustomers, seed
from tools.local.environment import database_variable, environment
from tools.local.running import FOLDER
from tools.local.stack import HANDLERS, Stack
from tools.local.steps import Steps
from tools.local.stopping import until_stopped

_NO_EXAMPLES = "No examples were created: these databases have other customers."
_EXAMPLES_NOT_WANTED = "No examples were created; `innosystem seed` creates them."
_PORTS = {"customers": 50051, "wallets": 50052, "jobs": 50053}


async def up(
    *,
    folder: Annotated[Path, Parameter(help="Where data and logs are kept between starts.")] = FOLDER,
    customers_port: Annotated[int, WHOLE, Parameter(help="0 for a free one.")] = _PORTS["customers"],
    wallets_port: Annotated[int, WHOLE, Parameter(help="0 for a free one.")] = _PORTS["wallets"],
    jobs_port: Annotated[int, WHOLE, Parameter(help="0 for a free one.")] = _PORTS["jobs"],
    free_ports: Annotated[
        bool, Parameter(negative="", show_default=False, help="Have the services listen on any free ports.")
    ] = False,
    runners: Annotated[int, WHOLE, Parameter(help="How many runners to start.")] = 1,
    handlers: Annotated[
        list[str] | None,
        Parameter(help="Modules with handlers, or their files, besides the example.", consume_multiple=True),
    ] = None,
    examples: Annotated[
        bool, Parameter(negative="--no-examples", help="Whether to create example customers with invented money.")
    ] = True,
    yes: Yes = False,
    as_json: Json = False,
) -> int:
    """Start everything on this machine: databases, services and a runner. Ctrl-C stops it; the data stays.

    Databases that *_DATABASE_URL name replace the embedded ones, and are migrated after a confirmation.
    """
    plan, own = await asyncio.to_thread(_planned)
    # In databases of others only what was said before.
    examples = examples and bool(own or plan)
    if plan and examples and not own:
        plan.append(f"examples: {EXAMPLES}, unless there are other customers; --no-examples creates none")
    if plan and not confirmed(plan, yes=yes, dry_run=False):
        return 1
    ports = {"customers": customers_port, "wallets": wallets_port, "jobs": jobs_port}
    if free_ports:
        ports = {name: port for name, port in ports.items() if port != _PORTS[name]}
    steps = Steps()
    modules = [*HANDLERS, *(handlers or ())]
    stack = Stack(folder, ports=ports, runners=runners, handlers=modules, step=steps)
    try:
        await until_stopped(_stay(stack, steps, modules, examples=examples, as_json=as_json))
    except KeyboardInterrupt:
        if not as_json:
            print("Stopped. The data is kept for the next start.")
    return 0


def _planned() -> tuple[list[str], bool]:
    """Return the changes that the start would make to given databases, and whether there are no such databases."""
    given = environment()
    others = [service for service in SERVICES if database_variable(service) in given]
    return planned(others, given), not others


async def _stay(stack: Stack, steps: Steps, handlers: Sequence[str], *, examples: bool, as_json: bool) -> None:
    async with stack:
        about_examples = "" if examples else _EXAMPLES_NOT_WANTED
        if examples:
            with steps("examples", "for the services to create example customers"):
                async with stack.client() as platform:
                    about_examples = await _seeded(platform)
        context = stack_context(stack.settings_file.parent)
        if as_json:
            print(json.dumps(stack.addresses), flush=True)
        else:
            print("\n".join(_greeting(stack, handlers, context, about_examples)), flush=True)
        try:
            await stack.watch()
        finally:
            if not as_json:
                print("Stopping ...", flush=True)


async def _seeded(platform: Innosystem) -> str:
    """Create the examples; return why not, if the databases have other customers."""
    try:
        await seed(platform)
    except HasOtherCustomers:
        return _NO_EXAMPLES
    return ""


def _greeting(stack: Stack, handlers: Sequence[str], context: str, about_examples: str) -> Sequence[str]:
    command = innosystem()
    runners = [child.name for child in stack.children if child.name not in stack.addresses]
    return [
        "",
        *(
            f"{name:<12} serves gRPC at {address}, metrics at {stack.metrics[name]}"
            for name, address in stack.addresses.items()
        ),
        *(f"{name:<12} runs the handlers of {', '.join(handlers)}" for name in runners),
        *(["", about_examples] if about_examples else []),
        "",
        "Try in another terminal:",
        f"  {command} status",
        f"  {command} jobs list",
        f"  {command} dev --new my_handlers.py   # handlers of your own on this stack",
        "",
        f"Own handlers in this terminal: {command} up --handlers my_handlers.py",
        context,
        for_programs(stack.settings_file),
        *for_grpcurl(stack.program_settings),
        f"Logs: {stack.settings_file.parent / 'logs'}",
        "Ctrl-C stops everything; the data stays.",
    ]
