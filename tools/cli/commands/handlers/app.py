"""`innosystem handlers`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tools.cli.commands.handlers.columns import HANDLERS, STEPS, handler_documents, step_document
from tools.cli.commands.handlers.comparing import compare
from tools.cli.commands.handlers.loading import Loaded, load
from tools.cli.commands.handlers.registering import carry_out, plan
from tools.cli.confirmation import DryRun
from tools.cli.connect import platform
from tools.cli.money import Amount, Cents, CurrencyCode, amount_of
from tools.cli.output import TABLE, TEXT, DocumentOutput, Output, print_document, print_list
from tools.errors import CommandError, ServiceUnreachable, UsageError

if TYPE_CHECKING:
    from innosystem.jobs.v1.job_type_pb2 import JobType

app = App(name="handlers", help="List or check the handlers of modules, and register them as job types.")

Modules = Annotated[str, Parameter(name="MODULE", help="Modules with handlers, or their files.")]
Offline = Annotated[bool, Parameter(negative="", show_default=False, help="Ask no platform.")]


@app.command(name="list")
async def list_handlers(*modules: Modules, offline: Offline = False, output: Output = TABLE) -> None:
    """List the handlers of modules, with the job types and queues of the platform if it can be reached.

    The modules are imported; nothing of them is run.
    """
    loaded = _loaded(modules)
    job_types = await _job_types(offline=offline)
    print_list(handler_documents(loaded, job_types), HANDLERS, output, nothing="No handlers found.")


@app.command
async def check(*modules: Modules, offline: Offline = False, output: DocumentOutput = TEXT) -> int:
    """Check the handlers of modules, and compare them with the job types of the platform if it can be reached.

    Imports, registrations, the types of resources and the JSON Schemas of annotations are checked without a platform.
    The exit status is 1 if anything is wrong. Job types that name other handlers are no fault: other runners may have
    these.
    """
    loaded = load(_named(modules))
    job_types = await _job_types(offline=offline)
    compared = None if job_types is None else compare(loaded, job_types)
    findings = [*loaded.findings, *(compared.findings if compared else ())]
    others = [] if compared is None else compared.others
    document = {
        "handlers": handler_documents(loaded, job_types),
        "findings": [{"handler": each.handler, "message": each.message} for each in findings],
        "compared": compared is not None,
        "job_types_of_others": [each.name for each in others],
    }
    if not print_document(document, output):
        for each in findings:
            print(each)
        for job_type in others:
            print(f"(The job type {job_type.name} names {job_type.processing_logic_id}, which is not among these.)")
        count = len(loaded.handlers)
        wrong = f"{len(findings)} to mend" if findings else "nothing to mend"
        print(f"{count} {'handler' if count == 1 else 'handlers'}, {wrong}.")
    return 1 if findings else 0


@app.command
async def register(
    *modules: Modules,
    price: Amount = None,
    price_cents: Cents = None,
    currency: CurrencyCode = None,
    queue: Annotated[str, Parameter(show_default=False)] = "",
    dry_run: DryRun = False,
    output: Output = TABLE,
) -> int:
    """Create a job type for each handler that has none, and send the JSON Schemas of annotations to those that exist.

    A new job type has the handler's ID as its name. Of one that exists only the input schema is changed, and only if
    the handler's input has an annotation. Repeating the command changes nothing.

    Args:
        price: The price of a job of new job types, such as 0.05EUR; 0EUR for free jobs.
        price_cents: The price in the currency's minor unit, a whole number: 5.
        currency: The currency of --price-cents; by default EUR.
        queue: The queue of new job types; by default `default`.
    """
    given = price is not None or price_cents is not None
    cost = amount_of("--price", price, price_cents, currency) if given else None
    loaded = _loaded(modules)
    async with platform() as client:
        from tools.dev.job_types import all_job_types

        steps = plan(loaded, await all_job_types(client), cost, queue)
        if not dry_run:
            await carry_out(client, steps)
    print_list([step_document(step, dry_run=dry_run) for step in steps], STEPS, output, nothing="No handlers found.")
    sys.stdout.flush()
    refused = [step for step in steps if step.refused]
    sys.stderr.writelines(f"innosystem: {step.handler}: {step.refused}\n" for step in refused)
    if dry_run:
        sys.stderr.write("Nothing was done: --dry-run.\n")
    return 1 if refused else 0


def _named(modules: Sequence[str]) -> list[str]:
    if not modules:
        raise UsageError("name the modules with handlers, or their files, such as my_handlers.py")
    return list(modules)


def _loaded(modules: Sequence[str]) -> Loaded:
    """Load modules without a fault.

    Raises:
        CommandError: Something is wrong with one.
    """
    loaded = load(_named(modules))
    if loaded.findings:
        raise CommandError("\n".join(map(str, loaded.findings)))
    return loaded


async def _job_types(*, offline: bool) -> "list[JobType] | None":
    """Return the job types of the platform; None, with a line on standard error, if it can't be reached."""
    if offline:
        return None
    from tools.dev.job_types import all_job_types

    try:
        async with platform() as client:
            return await all_job_types(client)
    except ServiceUnreachable as error:
        sys.stderr.write(f"Not compared with the job types of a platform: {error}. --offline asks none.\n")
        return None
