"""Create the job types of handlers, and send them the JSON Schemas of annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from tools.cli.commands.handlers.comparing import calling
from tools.cli.commands.handlers.loading import Loaded, same_schema
from tools.errors import UsageError

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_type_pb2 import JobType
    from tools.cli.money import Money

Change: TypeAlias = Literal["create", "update schema", "none"]

_DONE: Final[dict[Change, str]] = {"create": "created", "update schema": "schema updated", "none": "unchanged"}


@dataclass
class Step:
    """What is done for a handler.

    Attributes:
        handler: The ID of the handler.
        job_type: The job type as it is wanted.
        change: What has to be done for that.
        refused: Why the platform has refused it; empty if it has not.
    """

    handler: str
    job_type: "JobType"
    change: Change
    refused: str = ""

    def outcome(self, *, dry_run: bool) -> str:
        """Return what was done, in a word or two."""
        if self.refused:
            return "refused"
        return f"would {self.change}" if dry_run and self.change != "none" else _DONE[self.change]


def plan(loaded: Loaded, job_types: "Sequence[JobType]", price: "Money | None", queue: str) -> list[Step]:
    """Return what has to be done so that each handler has a job type with the schema of its annotation.

    Args:
        loaded: The handlers.
        job_types: All job types of the platform.
        price: The price of a job of new job types.
        queue: The queue of new job types; empty for the default one.

    Raises:
        UsageError: A job type is missing, and no price is given.
    """
    from tools.dev.job_types import new_job_type

    steps = []
    for handler in loaded.handlers:
        schema = loaded.schemas.get(handler.id)
        for job_type in calling(handler.id, job_types):
            is_same = schema is None or same_schema(schema, job_type.input_schema_json)
            if not is_same:
                job_type.input_schema_json = schema or ""
            steps.append(Step(handler.id, job_type, "none" if is_same else "update schema"))
        if not calling(handler.id, job_types):
            if price is None:
                raise UsageError(f"{handler.id} has no job type yet: --price 0.05EUR says what a job of it costs")
            job_type = new_job_type(handler.id, price.cents, price.currency)
            job_type.queue = queue
            job_type.input_schema_json = schema or ""
            steps.append(Step(handler.id, job_type, "create"))
    return steps


async def carry_out(client: "Innosystem", steps: Sequence[Step]) -> None:
    """Make the changes, each on its own: what the platform refuses is noted in its step.

    Args:
        client: The platform.
        steps: The changes.

    Raises:
        grpc.RpcError: A call has failed for another reason than a refusal.
    """
    import grpc

    from innosystem.client import error_from

    for step in steps:
        try:
            step.job_type = await _changed(client, step)
        except grpc.RpcError as error:
            if (known := error_from(error)) is None:
                raise
            step.refused = str(known)


async def _changed(client: "Innosystem", step: Step) -> "JobType":
    from google.protobuf.field_mask_pb2 import FieldMask

    from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest, UpdateJobTypeRequest

    if step.change == "create":
        return (await client.job_types.CreateJobType(CreateJobTypeRequest(job_type=step.job_type))).job_type
    if step.change == "update schema":
        # With its etag: another change meanwhile is not overwritten.
        mask = FieldMask(paths=["input_schema_json"])
        request = UpdateJobTypeRequest(job_type=step.job_type, update_mask=mask)
        return (await client.job_types.UpdateJobType(request)).job_type
    return step.job_type
