"""`innosystem jobs show`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tools.cli.commands.jobs.columns import columns_of, cost, duration, error_of, progress_of
from tools.cli.commands.jobs.control import watch
from tools.cli.connect import platform
from tools.cli.follow import INTERVAL, Interval, Watch, redraw
from tools.cli.ids import JOB, whole_id
from tools.cli.listing import collect
from tools.cli.names import Names, customer_names, job_type_names
from tools.cli.output import NOTHING, TABLE, Output, cell, print_one, to_json
from tools.cli.output.indented import indented
from tools.cli.output.text import pairs_grid
from tools.cli.unit_prices import described, usage_of
from tools.errors import ServiceUnreachable

if TYPE_CHECKING:
    from innosystem.client import Innosystem
    from innosystem.jobs.v1.job_pb2 import Job
    from innosystem.wallets.v1.wallet_pb2 import Transaction

_TRANSACTIONS_MAX = 1000


@dataclass(frozen=True)
class Details:
    """A job with what other services know of it.

    Attributes:
        job: The job, in the FULL view.
        names: The names of its type and customer.
        transactions: The lines of the wallet's statement that are for the job, the oldest first.
        unknown: Why the lines are unknown; empty if they are known.
    """

    job: "Job"
    names: Names
    transactions: "Sequence[Transaction]"
    unknown: str

    @property
    def refunded_cents(self) -> int:
        """The part of the charge that was given back."""
        from innosystem.wallets.v1.wallet_pb2 import TRANSACTION_KIND_REFUND

        return sum(line.amount_cents for line in self.transactions if line.kind == TRANSACTION_KIND_REFUND)


async def show(
    job_id: Annotated[str, Parameter(name="ID", help="The job's UUID, or the start of it.")],
    /,
    *,
    follow: Watch = False,
    interval: Interval = INTERVAL,
    output: Output = TABLE,
) -> None:
    """Show one job with its input and output, its error, and what was charged and refunded for it."""
    if follow and not (output.for_people and sys.stdout.isatty()):
        await watch(job_id, output=output)
        return
    async with platform() as client:
        whole = await whole_id(client, JOB, job_id)
        if follow:
            await redraw(
                lambda: _read(client, whole), lambda found: pairs_grid(_pairs(found)), interval=interval, ended=_is_over
            )
            return
        found = await _read(client, whole)
    columns = replace(columns_of(found.names, full=True), document=lambda job: _document(found))
    print_one(found.job, columns, output, pairs=_pairs(found))


async def _read(client: "Innosystem", job_id: str) -> Details:
    from innosystem.jobs.v1.job_service_pb2 import GetJobRequest

    job = (await client.jobs.GetJob(GetJobRequest(job_id=job_id))).job
    names = Names(
        await job_type_names(client, [job.job_type_id]),
        await customer_names(client, [job.customer_id]),
    )
    if not job.transaction_id:
        return Details(job, names, (), "")
    try:
        return Details(job, names, await _transactions(client, job), "")
    except ServiceUnreachable as error:
        return Details(job, names, (), str(error))


async def _transactions(client: "Innosystem", job: "Job") -> "Sequence[Transaction]":
    from innosystem.wallets.v1.wallet_service_pb2 import ListTransactionsRequest, WalletOwner

    owner = WalletOwner(customer_id=job.customer_id, currency=job.currency)
    request = ListTransactionsRequest(owner=owner, filter=f'job_id = "{job.id}"', order_by="sequence")
    return await collect(client.wallets.ListTransactions, request, "transactions", _TRANSACTIONS_MAX, count=False)


def _document(found: Details) -> dict[str, Any]:
    return {
        **to_json(found.job),
        "job_type": found.names.job_types.get(found.job.job_type_id, ""),
        "customer": found.names.customers.get(found.job.customer_id, ""),
        **({} if found.unknown else {"refunded_cents": found.refunded_cents}),
        "transactions": to_json(list(found.transactions)),
    }


def _pairs(found: Details) -> dict[str, str]:
    from innosystem.jobs.v1.job_pb2 import JOB_STATUS_SCHEDULED

    job = found.job
    now = datetime.now(UTC) if sys.stdout.isatty() else None

    def time(name: str) -> str:
        absolute, relative = cell(job, name), cell(job, name, now)
        return absolute if absolute == relative else f"{absolute} ({relative})"

    return {
        "id": job.id,
        "type": _with_id(found.names.job_types.get(job.job_type_id), job.job_type_id),
        "status": cell(job, "status"),
        "error": error_of(job),
        "attempt": f"{job.attempt} of {job.max_attempts}",
        "progress": progress_of(job) or NOTHING,
        "took": duration(job),
        "runner": job.runner_id or NOTHING,
        "customer": _with_id(found.names.customers.get(job.customer_id), job.customer_id),
        "queue": f"{job.queue}, {cell(job, 'priority')}",
        "labels": cell(job, "labels"),
        "billing": cell(job, "billing_status"),
        "cost" if job.HasField("cost_cents") else "price": cost(job),
        "used": usage_of(job),
        "metering": described(job.metering, job.currency) if job.HasField("metering") else NOTHING,
        **_money(found, now),
        "created": time("created_at"),
        "queued": NOTHING if job.queued_at == job.created_at else time("queued_at"),
        "starts": time("run_at") if job.status == JOB_STATUS_SCHEDULED else NOTHING,
        "started": time("started_at"),
        "completed": time("completed_at"),
        "expires": NOTHING if job.HasField("started_at") or job.HasField("completed_at") else time("expires_at"),
        "hold": job.hold_id or NOTHING,
        "lost runners": _unless_zero(job.rescue_count),
        "snoozed": _unless_zero(job.snooze_count),
        "retried": _unless_zero(job.retry_count),
        "input": indented(job.input_json) or NOTHING,
        "output": indented(job.output_json) or NOTHING,
    }


def _money(found: Details, now: datetime | None) -> dict[str, str]:
    """Return what the wallet's statement has of the job: a refund leaves the job CHARGED."""
    from services.kit.currencies import money

    if found.unknown:
        return {"charges": f"unknown: {found.unknown}"}
    refunded = found.refunded_cents
    lines = [
        " ".join([line.id, cell(line, "kind"), cell(line, "amount_cents"), cell(line, "created_at", now)])
        for line in found.transactions
    ]
    return {
        "refunded": money(refunded, found.job.currency) if refunded else NOTHING,
        "transactions": "\n".join(lines) or NOTHING,
    }


def _is_over(found: Details) -> bool:
    """Return whether the job is final and settled, or needs an operator."""
    from innosystem.jobs.v1 import job_pb2 as pb

    final = (pb.JOB_STATUS_SUCCEEDED, pb.JOB_STATUS_FAILED, pb.JOB_STATUS_CANCELLED)
    unsettled = (pb.BILLING_STATUS_CHARGE_DUE, pb.BILLING_STATUS_RELEASE_DUE)
    return found.job.status in final and found.job.billing_status not in unsettled


def _with_id(name: str | None, whole: str) -> str:
    return f"{name} ({whole})" if name else whole


def _unless_zero(number: int) -> str:
    return str(number) if number else NOTHING
