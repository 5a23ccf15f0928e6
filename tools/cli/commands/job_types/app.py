"""`innosystem job-types`."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App

from tools.cli.commands.job_types.changes import create, edit, update
from tools.cli.commands.job_types.columns import JOB_TYPES, job_type_pairs
from tools.cli.commands.job_types.names import Name, find_job_type
from tools.cli.confirmation import DryRun, Yes, confirmed
from tools.cli.connect import platform
from tools.cli.listing import collect
from tools.cli.options import Etag, Limit, OrderBy, filter_such_as
from tools.cli.output import TABLE, Output, print_list, print_one

if TYPE_CHECKING:
    from innosystem.jobs.v1.job_type_pb2 import JobType

app = App(
    name="job-types", help="List, show, create, update, edit, enable, disable, pause, resume or delete job types."
)


@app.command(name="list")
async def list_job_types(
    *,
    filter: Annotated[str, filter_such_as('queue = "default" AND enabled = true')] = "",
    order_by: OrderBy = "",
    limit: Limit = 50,
    output: Output = TABLE,
) -> None:
    """List job types by name."""
    from innosystem.jobs.v1.job_type_service_pb2 import ListJobTypesRequest

    request = ListJobTypesRequest(filter=filter, order_by=order_by)
    async with platform() as client:
        found = await collect(client.job_types.ListJobTypes, request, "job_types", limit)
    print_list(found, JOB_TYPES, output, nothing="No job types found.")


@app.command
async def show(name: Name, /, *, output: Output = TABLE) -> None:
    """Show one job type.

    Args:
        name: Its name, or its UUID.
    """
    async with platform() as client:
        job_type = await find_job_type(client, name)
    print_one(job_type, JOB_TYPES, output, pairs=job_type_pairs(job_type))


@app.command
async def pause(name: Name, /, *, output: Output = TABLE) -> None:
    """Withhold the waiting jobs of a job type from the runners. Running jobs continue.

    Args:
        name: Its name, or its UUID.
    """
    from innosystem.jobs.v1.job_type_service_pb2 import PauseJobTypeRequest

    async with platform() as client:
        job_type = await find_job_type(client, name)
        response = await client.job_types.PauseJobType(PauseJobTypeRequest(job_type_id=job_type.id))
    _print_changed(response.job_type, output, "paused")


@app.command
async def resume(name: Name, /, *, output: Output = TABLE) -> None:
    """Dispatch the waiting jobs of a job type to runners again.

    Args:
        name: Its name, or its UUID.
    """
    from innosystem.jobs.v1.job_type_service_pb2 import ResumeJobTypeRequest

    async with platform() as client:
        job_type = await find_job_type(client, name)
        response = await client.job_types.ResumeJobType(ResumeJobTypeRequest(job_type_id=job_type.id))
    _print_changed(response.job_type, output, "not paused")


@app.command
async def enable(name: Name, /, *, output: Output = TABLE) -> None:
    """Allow jobs of a job type to be submitted.

    Args:
        name: Its name, or its UUID.
    """
    _print_changed(await _enable(name, enabled=True), output, "enabled")


@app.command
async def disable(name: Name, /, *, output: Output = TABLE) -> None:
    """Refuse further jobs of a job type. Jobs that were accepted before run and are charged.

    Args:
        name: Its name, or its UUID.
    """
    _print_changed(await _enable(name, enabled=False), output, "disabled")


def _print_changed(job_type: "JobType", output: Output, state: str) -> None:
    if output.for_people:
        print(f"{job_type.name} is {state}.")
    else:
        print_one(job_type, JOB_TYPES, output)


async def _enable(name: str, *, enabled: bool) -> "JobType":
    from google.protobuf.field_mask_pb2 import FieldMask

    from innosystem.jobs.v1.job_type_pb2 import JobType
    from innosystem.jobs.v1.job_type_service_pb2 import UpdateJobTypeRequest

    async with platform() as client:
        job_type = await find_job_type(client, name)
        request = UpdateJobTypeRequest(
            job_type=JobType(id=job_type.id, enabled=enabled), update_mask=FieldMask(paths=["enabled"])
        )
        return (await client.job_types.UpdateJobType(request)).job_type


@app.command
async def delete(name: Name, /, *, etag: Etag = "", yes: Yes = False, dry_run: DryRun = False) -> None:
    """Delete a job type that no job uses, finished jobs included. To stop its use, disable it.

    Args:
        name: Its name, or its UUID.
    """
    from innosystem.jobs.v1.job_type_service_pb2 import DeleteJobTypeRequest

    async with platform() as client:
        job_type = await find_job_type(client, name)
        plan = [f"The job type {job_type.name} ({job_type.id}) is deleted, for good."]
        if not confirmed(plan, yes=yes, dry_run=dry_run):
            return
        request = DeleteJobTypeRequest(job_type_id=job_type.id, etag=etag or job_type.etag)
        await client.job_types.DeleteJobType(request)
    print(f"{job_type.name} is deleted.")


for _command in (create, update, edit):
    app.command(_command)
