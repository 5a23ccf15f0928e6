"""One job, submitted to the local stack and awaited: `innosystem dev submit`."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from innosystem.client import Innosystem, new_id, watch_job
from innosystem.jobs.v1.job_pb2 import (
    BILLING_STATUS_CHARGED,
    JOB_STATUS_RUNNING,
    JOB_STATUS_SUCCEEDED,
    JOB_VIEW_FULL,
    BillingStatus,
    Job,
    JobStatus,
)
from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest, GetJobRequest
from innosystem.jobs.v1.job_type_service_pb2 import GetJobTypeRequest, ListJobTypesRequest
from innosystem.wallets.v1.wallet_pb2 import Wallet
from innosystem.wallets.v1.wallet_service_pb2 import GetWalletRequest, WalletOwner
from services.kit.currencies import money
from tools.demo.seed import ADA, if_any
from tools.dev.job_lines import place
from tools.dev.runner import LOG
from tools.errors import CommandError, UsageError
from tools.local.log_text import parse
from tools.local.running import RunningStack

_PATIENCE_SECONDS: Final = 3.0

Unserved = Callable[[Innosystem, Collection[str]], Awaitable[Sequence[str]]]
"""Returns lines about jobs in the named queues that no runner takes."""


@dataclass(frozen=True)
class Submitted:
    """A job that is final and settled.

    Attributes:
        job: The job, with its output or error.
        wallet: The wallet of its customer.
        place: Where its handler failed, such as `my_handlers.py:9, in greet`; empty if it is not known.
    """

    job: Job
    wallet: Wallet
    place: str

    @property
    def succeeded(self) -> bool:
        """Whether the handler returned an output."""
        return self.job.status == JOB_STATUS_SUCCEEDED

    def charge(self) -> str:
        """Return what was charged, and what is left."""
        left = f"{money(self.wallet.available_cents, self.wallet.currency)} left"
        if self.job.billing_status == BILLING_STATUS_CHARGED:
            return f"{money(self.job.cost_cents, self.job.currency)} charged to Ada, {left}"
        if self.succeeded and self.job.cost_cents:
            return f"not charged: {BillingStatus.Name(self.job.billing_status).removeprefix('BILLING_STATUS_')}, {left}"
        return f"nothing charged to Ada, {left}"

    def failure(self) -> str:
        """Return why it did not succeed, and where."""
        if not self.job.HasField("error"):
            return f"the job is {JobStatus.Name(self.job.status).removeprefix('JOB_STATUS_')}"
        where = f" ({self.place})" if self.place else ""
        return f"{self.job.error.type}: {self.job.error.message}{where}"


def check_input(text: str) -> None:
    """Check that an input is JSON.

    Raises:
        UsageError: It is not JSON; the message says where.
    """
    try:
        json.loads(text)
    except ValueError as error:
        raise UsageError(f'the input is not JSON: {error}. Quote it: \'{{"name": "Ada"}}\'') from None


async def submit_and_wait(stack: RunningStack, job_type: str, input_json: str, *, unserved: Unserved) -> Submitted:
    """Submit a job for the example customer Ada, and wait until it is final and settled.

    Args:
        stack: The stack to submit it to.
        job_type: The name of the job type.
        input_json: The input.
        unserved: Returns lines about jobs in some queues that no runner takes.

    Raises:
        CommandError: There is no such job type.
        grpc.RpcError: The job is refused.
    """
    async with stack.client() as platform:
        if not await if_any(platform.job_types.GetJobType(GetJobTypeRequest(name=job_type)), "JOB_TYPE_NOT_FOUND"):
            raise CommandError(await _no_such_type(platform, job_type))
        request = CreateJobRequest(job_id=str(new_id()), customer_id=ADA, job_type=job_type, input_json=input_json)
        job = (await platform.jobs.CreateJob(request)).job
        waiting = asyncio.create_task(_say_what_it_waits_for(platform, job.id, unserved))
        try:
            async with aclosing(watch_job(platform.jobs, job.id)) as states:
                async for _ in states:
                    pass
        except asyncio.CancelledError:
            sys.stderr.write(f"The job {job.id} continues without this command.\n")
            raise
        finally:
            waiting.cancel()
        job = (await platform.jobs.GetJob(GetJobRequest(job_id=job.id, view=JOB_VIEW_FULL))).job
        owner = WalletOwner(customer_id=ADA, currency=job.currency)
        wallet = (await platform.wallets.GetWallet(GetWalletRequest(owner=owner))).wallet
    return Submitted(job, wallet, _place(stack.folder, job.id))


async def _no_such_type(platform: Innosystem, job_type: str) -> str:
    listed = await platform.job_types.ListJobTypes(ListJobTypesRequest(page_size=20))
    names = ", ".join(sorted(each.name for each in listed.job_types))
    return f"there is no job type {job_type!r}; there are: {names or 'none'}"


async def _say_what_it_waits_for(platform: Innosystem, job_id: str, unserved: Unserved) -> None:
    await asyncio.sleep(_PATIENCE_SECONDS)
    job = (await platform.jobs.GetJob(GetJobRequest(job_id=job_id))).job
    if job.status == JOB_STATUS_RUNNING:
        sys.stderr.write(f"The job {job_id} is running ...\n")
    else:
        sys.stderr.write("No runner has taken the job yet: does `innosystem dev` run, without an error? Waiting ...\n")
        sys.stderr.writelines(f"{line}\n" for line in await unserved(platform, {job.queue}))


def _place(folder: Path, job_id: str) -> str:
    """Return where the last run of a job failed, from the log of the runner under development."""
    log = folder / "logs" / LOG
    if not log.exists():
        return ""
    for line in reversed(log.read_text(errors="replace").splitlines()):
        if job_id in line and (fields := parse(line)) is not None and fields["event"] == "job_failed":
            return place(str(fields.get("exception", "")))
    return ""
