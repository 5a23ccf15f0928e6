"""The demo's work: customers, wallets and jobs, through the same RPCs that every client uses."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from innosystem.client import Innosystem, error_from_status, new_id
from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest
from innosystem.jobs.v1.job_pb2 import JOB_VIEW_FULL, BillingStatus, Job, JobStatus, JobView
from innosystem.jobs.v1.job_service_pb2 import (
    BatchCreateJobsRequest,
    CreateJobRequest,
    GetQueueStatsRequest,
    ListJobsRequest,
)
from innosystem.jobs.v1.job_type_pb2 import PROCESSOR_TYPE_SYNC, JobType, Priority
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from innosystem.wallets.v1.wallet_pb2 import Transaction, TransactionKind
from innosystem.wallets.v1.wallet_service_pb2 import (
    CreateWalletRequest,
    CreditRequest,
    GetWalletRequest,
    ListTransactionsRequest,
    WalletOwner,
)
from tools.demo.books import CustomerBooks, JobEntry, LedgerEntry
from tools.demo.seed import CURRENCY, SOURCE_STATS
from tools.demo.sources import SourceFile
from tools.errors import CommandError

PRICE_CENTS = 3
_BATCH_JOBS = 100
_BATCH_BYTES_MAX = 4 * 1024 * 1024
_POLL_SECONDS = 0.2
_SETTLED_SECONDS_MAX = 900.0
_PRIORITIES = (Priority.PRIORITY_HIGH, Priority.PRIORITY_MEDIUM, Priority.PRIORITY_LOW)
_UNSETTLED = (
    "status = SCHEDULED OR status = PENDING OR status = RUNNING"
    " OR billing_status = CHARGE_DUE OR billing_status = RELEASE_DUE"
)


@dataclass(frozen=True)
class ComplexModule:
    """A source file and the output of its job."""

    name: str
    output: dict[str, Any]


@dataclass(frozen=True)
class DemoAccount:
    """A customer of the demo with a wallet."""

    name: str
    customer_id: str
    balance_cents: int

    @property
    def owner(self) -> WalletOwner:
        """The owner of the wallet, as requests name it."""
        return WalletOwner(customer_id=self.customer_id, currency=CURRENCY)


@dataclass(frozen=True)
class SubmittedJobs:
    """The IDs of a customer's jobs: those that were accepted, and those that were refused for lack of money."""

    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


async def open_accounts(platform: Innosystem, jobs: int) -> list[DemoAccount]:
    """Create three customers, who share the jobs equally; the last one has money for less than half of its share."""
    share_cents = (jobs + 2) // 3 * PRICE_CENTS
    plan = (("Ada", share_cents * 2), ("Grace", share_cents + 500), ("Paul", max(share_cents * 2 // 5, 1)))
    return [await _open_account(platform, name, cents) for name, cents in plan]


async def _open_account(platform: Innosystem, name: str, cents: int) -> DemoAccount:
    customer_id = str(new_id())
    await platform.customers.CreateCustomer(
        CreateCustomerRequest(customer_id=customer_id, name=name, email=f"{name}.{customer_id}@example.com".lower())
    )
    await platform.wallets.CreateWallet(
        CreateWalletRequest(wallet_id=str(new_id()), customer_id=customer_id, currency=CURRENCY)
    )
    credit = CreditRequest(
        customer_id=customer_id,
        currency=CURRENCY,
        amount_cents=cents,
        idempotency_key="demo",
        description="Demo credit",
    )
    response = await platform.wallets.Credit(credit)
    return DemoAccount(name, customer_id, response.wallet.current_balance_cents)


async def create_job_type(platform: Innosystem) -> JobType:
    """Create the demo's job type under a new name: a folder that is used again holds those of earlier runs."""
    job_type_id = str(new_id())
    job_type = JobType(
        id=job_type_id,
        name=f"{SOURCE_STATS}.{job_type_id}",
        processing_logic_id=SOURCE_STATS,
        processor_type=PROCESSOR_TYPE_SYNC,
        standard_cost_cents=PRICE_CENTS,
        currency=CURRENCY,
    )
    return (await platform.job_types.CreateJobType(CreateJobTypeRequest(job_type=job_type))).job_type


async def submit(
    platform: Innosystem,
    job_type: JobType,
    accounts: Sequence[DemoAccount],
    files: Sequence[SourceFile],
    progress: Callable[[int], None],
) -> Mapping[str, SubmittedJobs]:
    """Submit a job for each file, in batches; customers and priorities take turns.

    Returns:
        The submitted jobs by customer ID.

    Raises:
        CommandError: A job is refused for another reason than lack of money.
    """
    found: dict[str, SubmittedJobs] = defaultdict(SubmittedJobs)
    for batch in _batches(_requests(job_type, accounts, files)):
        response = await platform.jobs.BatchCreateJobs(BatchCreateJobsRequest(requests=batch))
        for request, result in zip(batch, response.results, strict=True):
            of_customer = found[request.customer_id]
            if result.HasField("response"):
                of_customer.accepted.append(request.job_id)
            elif (error := error_from_status(result.error)).reason == "INSUFFICIENT_FUNDS":
                of_customer.refused.append(request.job_id)
            else:
                raise CommandError(f"{request.labels['file']}: {error}")
        progress(sum(len(one.accepted) + len(one.refused) for one in found.values()))
    return found


def _requests(
    job_type: JobType, accounts: Sequence[DemoAccount], files: Sequence[SourceFile]
) -> Iterator[CreateJobRequest]:
    for number, file in enumerate(files):
        yield CreateJobRequest(
            job_id=str(new_id()),
            customer_id=accounts[number % len(accounts)].customer_id,
            job_type_id=job_type.id,
            priority=_PRIORITIES[number // len(accounts) % len(_PRIORITIES)],
            input_json=file.job_input,
            labels={"file": file.name},
        )


def _batches(requests: Iterator[CreateJobRequest]) -> Iterator[list[CreateJobRequest]]:
    batch: list[CreateJobRequest] = []
    size = 0
    for request in requests:
        if batch and (len(batch) == _BATCH_JOBS or size + request.ByteSize() > _BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(request)
        size += request.ByteSize()
    if batch:
        yield batch


async def wait_until_settled(
    platform: Innosystem, accounts: Sequence[DemoAccount], jobs: int, progress: Callable[[int], None]
) -> None:
    """Wait until all jobs are final and settled.

    Raises:
        CommandError: The jobs are not settled within a quarter of an hour.
    """
    try:
        async with asyncio.timeout(_SETTLED_SECONDS_MAX):
            while left := await _waiting(platform) or await _unsettled(platform, accounts):
                progress(jobs - left)
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise CommandError(
            f"the jobs are not settled after {_SETTLED_SECONDS_MAX:g} s; see the logs of the stack"
        ) from None
    progress(jobs)


async def _waiting(platform: Innosystem) -> int:
    stats = await platform.jobs.GetQueueStats(GetQueueStatsRequest())
    return sum(queue.waiting + queue.running for queue in stats.queues)


async def _unsettled(platform: Innosystem, accounts: Sequence[DemoAccount]) -> int:
    customers = " OR ".join(f'customer_id = "{account.customer_id}"' for account in accounts)
    return len([job async for job in _jobs(platform, f"({customers}) AND ({_UNSETTLED})")])


async def read_books(platform: Innosystem, account: DemoAccount, submitted: SubmittedJobs) -> CustomerBooks:
    """Read the jobs and the ledger of one customer, to compare them with the results of its submissions."""
    filter_text = f'customer_id = "{account.customer_id}"'
    wallet = (await platform.wallets.GetWallet(GetWalletRequest(owner=account.owner))).wallet
    return CustomerBooks(
        name=account.name,
        balance_before_cents=account.balance_cents,
        balance_after_cents=wallet.current_balance_cents,
        held_cents=wallet.pending_charges_cents,
        price_cents=PRICE_CENTS,
        submitted=submitted.accepted,
        refused=submitted.refused,
        jobs=[_job_entry(job) async for job in _jobs(platform, filter_text)],
        ledger=[_ledger_entry(entry) async for entry in _transactions(platform, account)],
    )


def _job_entry(job: Job) -> JobEntry:
    return JobEntry(
        job_id=job.id,
        status=JobStatus.Name(job.status).removeprefix("JOB_STATUS_"),
        billing_status=BillingStatus.Name(job.billing_status).removeprefix("BILLING_STATUS_"),
        cost_cents=job.cost_cents,
    )


def _ledger_entry(entry: Transaction) -> LedgerEntry:
    kind = TransactionKind.Name(entry.kind).removeprefix("TRANSACTION_KIND_")
    return LedgerEntry(kind, entry.amount_cents, entry.job_id)


async def most_complex(platform: Innosystem, job_type: JobType, count: int) -> list[ComplexModule]:
    """Read the outputs of all jobs and return the most complex files."""
    filter_text = f'job_type_id = "{job_type.id}" AND status = SUCCEEDED'
    measured = [
        ComplexModule(job.labels["file"], json.loads(job.output_json))
        async for job in _jobs(platform, filter_text, JOB_VIEW_FULL)
    ]
    return sorted(measured, key=lambda one: one.output["complexity"], reverse=True)[:count]


async def _jobs(
    platform: Innosystem, filter_text: str, view: "JobView.ValueType" = JobView.JOB_VIEW_BASIC
) -> AsyncIterator[Job]:
    request = ListJobsRequest(filter=filter_text, page_size=1000, view=view)
    while True:
        response = await platform.jobs.ListJobs(request)
        for job in response.jobs:
            yield job
        if not response.next_page_token:
            return
        request.page_token = response.next_page_token


async def _transactions(platform: Innosystem, account: DemoAccount) -> AsyncIterator[Transaction]:
    request = ListTransactionsRequest(owner=account.owner, page_size=1000)
    while True:
        response = await platform.wallets.ListTransactions(request)
        for entry in response.transactions:
            yield entry
        if not response.next_page_token:
            return
        request.page_token = response.next_page_token
