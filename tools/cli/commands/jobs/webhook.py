"""`innosystem jobs complete-webhook`."""

from typing import Annotated

from cyclopts import Parameter

from tools.cli.connect import platform
from tools.cli.output import cell
from tools.cli.secret_input import read_secret
from tools.errors import UsageError


async def complete_webhook(
    job_id: Annotated[str, Parameter(name="ID", help="The job's UUID.")],
    /,
    *,
    output_json: Annotated[str | None, Parameter(show_default=False)] = None,
    error: Annotated[str | None, Parameter(show_default=False)] = None,
    error_type: Annotated[str, Parameter()] = "WebhookFailed",
    retryable: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> None:
    """Report the result of a job that was posted to an endpoint, in its place.

    The callback token of the POST is read from standard input, as all users of a machine see arguments. No other
    credentials are needed.

    Args:
        output_json: The output as JSON; the job is SUCCEEDED.
        error: What failed, in place of an output.
        error_type: The kind of the failure.
        retryable: Post the job again if attempts are left.
    """
    from innosystem.jobs.v1.job_pb2 import JobError
    from innosystem.jobs.v1.job_service_pb2 import CompleteWebhookJobRequest

    if (output_json is None) == (error is None):
        raise UsageError("give either --output-json or --error")
    request = CompleteWebhookJobRequest(job_id=job_id, callback_token=read_secret("Callback token"))
    if error is None:
        request.output_json = output_json or ""
    else:
        request.error.CopyFrom(JobError(type=error_type, message=error, retryable=retryable))
    async with platform() as client:
        response = await client.jobs.CompleteWebhookJob(request)
    print(f"{job_id} is {cell(response, 'status')}.")
