"""`innosystem job-types create`, `update` and `edit`."""

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tools.cli.commands.job_types.columns import JOB_TYPES, job_type_pairs
from tools.cli.commands.job_types.fields import (
    FIELDS,
    HELP,
    WRITABLE,
    JobTypeOptions,
    ProcessorTypeName,
    edited_fields,
    set_option,
)
from tools.cli.commands.job_types.names import Name, find_job_type
from tools.cli.connect import platform
from tools.cli.editing import KeptText
from tools.cli.editing import edit as edit_as_yaml
from tools.cli.money import Amount, Cents, CurrencyCode, amount_of
from tools.cli.options import ANY_CASE, Etag
from tools.cli.output import TABLE, Output, print_one
from tools.cli.updates import copied, mask_of
from tools.errors import CommandError, UsageError

if TYPE_CHECKING:
    from innosystem.jobs.v1.job_type_pb2 import JobType

ProcessorTypeOption = Annotated[ProcessorTypeName, ANY_CASE, Parameter(help=HELP["processor_type"], show_default=False)]


async def create(
    *,
    name: Annotated[str, Parameter(help=HELP["name"])],
    processor_type: ProcessorTypeOption = "UNSPECIFIED",
    standard_cost: Amount = None,
    standard_cost_cents: Cents = None,
    currency: CurrencyCode = None,
    options: JobTypeOptions = JobTypeOptions(),  # noqa: B008 -- frozen
    job_type_id: Annotated[str, Parameter(show_default=False)] = "",
    output: Output = TABLE,
) -> None:
    """Create a job type.

    Options that are left out have the defaults of the contract. The handler has the name of the job type by default.

    Args:
        standard_cost: The price of one job with its currency, such as 0.05EUR; 0EUR for free jobs. Required, unless
            --standard-cost-cents is given. With --unit-price it is the price of a job that reports no usage.
        standard_cost_cents: The price in the currency's minor unit, a whole number: 5.
        currency: The currency of --standard-cost-cents; by default EUR.
        job_type_id: The UUID of the job type; by default a new one. Repeating the call changes nothing.
    """
    from innosystem.jobs.v1.job_type_pb2 import JobType
    from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest

    price = amount_of("--standard-cost", standard_cost, standard_cost_cents, currency)
    job_type = JobType(
        id=job_type_id,
        processing_logic_id=name,
        standard_cost_cents=price.cents,
        currency=price.currency,
    )
    set_option(job_type, "name", name)
    FIELDS["processor_type"].write(job_type, processor_type)
    options.set_on(job_type)
    async with platform() as client:
        response = await client.job_types.CreateJobType(CreateJobTypeRequest(job_type=job_type))
    print_one(response.job_type, JOB_TYPES, output, pairs=job_type_pairs(response.job_type))


async def update(
    name: Name,
    /,
    *,
    new_name: Annotated[str | None, Parameter(name="--name", help=HELP["name"], show_default=False)] = None,
    processor_type: ProcessorTypeOption | None = None,
    standard_cost: Amount = None,
    standard_cost_cents: Cents = None,
    options: JobTypeOptions = JobTypeOptions(),  # noqa: B008 -- frozen
    no_input_schema: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    no_metering: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    etag: Etag = "",
    output: Output = TABLE,
) -> None:
    """Change the given fields of a job type. A new price applies to jobs that are submitted later.

    Args:
        name: Its name, or its UUID.
        standard_cost: The price of one job with its currency, such as 0.05EUR. The currency can't be changed.
        standard_cost_cents: The price in the currency's minor unit, a whole number: 5.
        no_input_schema: Accept any input.
        no_metering: Charge the standard price, whatever jobs use.
    """
    others = (new_name, processor_type, standard_cost, standard_cost_cents, no_input_schema or no_metering or None)
    if options == JobTypeOptions() and others == (None,) * len(others):
        raise UsageError(f"nothing to change: give an option, such as --timeout 5m, or use `job-types edit {name}`")
    async with platform() as client:
        current = await find_job_type(client, name)
    wanted = copied(current)
    if new_name is not None:
        set_option(wanted, "name", new_name)
    if processor_type is not None:
        FIELDS["processor_type"].write(wanted, processor_type)
    if standard_cost is not None or standard_cost_cents is not None:
        currency = current.currency if standard_cost is None else None
        price = amount_of("--standard-cost", standard_cost, standard_cost_cents, currency)
        try:
            FIELDS["standard_cost"].write(wanted, price)
        except ValueError as error:
            raise CommandError(str(error)) from None
    options.set_on(wanted)
    if no_input_schema:
        wanted.input_schema_json = ""
    if no_metering:
        wanted.ClearField("metering")
    wanted.etag = etag or current.etag
    changed = await _send(current, wanted)
    if changed is None:
        sys.stderr.write("Nothing was changed: the job type is so already.\n")
    job_type = changed or current
    print_one(job_type, JOB_TYPES, output, pairs=job_type_pairs(job_type))


async def edit(name: Name, /, *, kept: KeptText = None, output: Output = TABLE) -> None:
    """Edit a job type as YAML in the editor of VISUAL or EDITOR.

    Args:
        name: Its name, or its UUID.
    """
    async with platform() as client:
        current = await find_job_type(client, name)
    changed = await edit_as_yaml(
        f"Job type {current.name} ({current.id})",
        current,
        edited_fields(),
        lambda wanted: _send(current, wanted),
        instead=f"`innosystem job-types update {current.name} --timeout 5m`",
        command=f"innosystem job-types edit {current.name}",
        kept=kept,
    )
    if changed is None:
        sys.stderr.write("Nothing was changed.\n")
        if output.for_people:
            return
    job_type = changed or current
    print_one(job_type, JOB_TYPES, output, pairs=job_type_pairs(job_type))


async def _send(current: "JobType", wanted: "JobType") -> "JobType | None":
    """Send the fields that differ, and return the changed job type; None if none differs."""
    from innosystem.jobs.v1.job_type_service_pb2 import UpdateJobTypeRequest

    mask = mask_of(current, wanted, WRITABLE)
    if not mask.paths:
        return None
    async with platform() as client:
        return (await client.job_types.UpdateJobType(UpdateJobTypeRequest(job_type=wanted, update_mask=mask))).job_type
