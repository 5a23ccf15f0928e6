"""A call of each method that may be repeated when no response came, by the method's name, and what it needs before."""

from collections.abc import Callable
from typing import Any, Final
from uuid import uuid4

from google.protobuf.message import Message

from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as jobs
from innosystem.jobs.v1 import job_type_service_pb2 as job_types
from innosystem.options.v1 import options_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as wallets
from tests.support.rpc.jobs_stack import JobsStack, new_job_type

Case = Callable[[JobsStack], Message]

CASES: Final[dict[str, Case]] = {}
"""By `Service.Method`. What creates something leaves the ID to the client, as most callers do."""

#: What a repeated call may move: it says until when, and not that something is done once more.
MOVES: Final = {"JobService.RenewLeases": frozenset({"lease_expires_at"})}
#: What is refused when it is repeated, because the job was given to another runner meanwhile; nothing is changed by it.
TOLD_OTHERWISE: Final = frozenset({"JobService.ReturnJobs"})


def case(method: str) -> Callable[[Case], Case]:
    """Note what makes a request of a method."""

    def note(make: Case) -> Case:
        CASES[method] = make
        return make

    return note


def _reads(method: str, make: Case) -> None:
    CASES[method] = make


@case("CustomerService.CreateCustomer")
def _create_customer(_: JobsStack) -> Message:
    return customers.CreateCustomerRequest(name="Ada", email=f"{uuid4()}@example.com")


_reads("CustomerService.GetCustomer", lambda world: customers.GetCustomerRequest(customer_id=world.customer()))
_reads(
    "CustomerService.BatchGetCustomers",
    lambda world: customers.BatchGetCustomersRequest(customer_ids=[world.customer()]),
)
_reads("CustomerService.ListCustomers", lambda _: customers.ListCustomersRequest())


def _with_key(world: JobsStack) -> customers.CreateCustomerResponse:
    email = f"{uuid4()}@example.com"
    return world.customers.CreateCustomer(
        customers.CreateCustomerRequest(customer_id=str(uuid4()), name="Ada", email=email)
    )


_reads("CustomerService.ResolveApiKey", lambda world: customers.ResolveApiKeyRequest(api_key=_with_key(world).api_key))


@case("CustomerService.RotateApiKey")
def _rotate(world: JobsStack) -> Message:
    return customers.RotateApiKeyRequest(customer_id=_with_key(world).customer.id, overlap={"seconds": 3600})  # type: ignore[arg-type]


@case("CustomerService.CreateApiKey")
def _create_key(world: JobsStack) -> Message:
    ttl: Any = {"seconds": 3600}
    return customers.CreateApiKeyRequest(
        customer_id=world.customer(), name="backend", scopes=[options_pb2.SCOPE_SUBMIT], ttl=ttl
    )


_reads("CustomerService.ListApiKeys", lambda world: customers.ListApiKeysRequest(customer_id=world.customer()))


@case("CustomerService.RevokeApiKey")
def _revoke(world: JobsStack) -> Message:
    customer_id = _with_key(world).customer.id
    [key] = world.customers.ListApiKeys(customers.ListApiKeysRequest(customer_id=customer_id)).api_keys
    return customers.RevokeApiKeyRequest(customer_id=customer_id, api_key_id=key.id)


def _new_job(world: JobsStack) -> jobs.CreateJobRequest:
    request = world.request()
    request.ClearField("job_id")
    return request


def failed(world: JobsStack, **values: Any) -> job_pb2.Job:
    """A job that has FAILED, and whose hold is released."""
    job, lease_id = world.running(**values)
    error = job_pb2.JobError(type="E", message="no")
    world.complete(jobs.JobCompletion(job_id=job.id, lease_id=lease_id, error=error))
    return world.released(job.id)


def _settle(world: JobsStack, job: job_pb2.Job, **outcome: Any) -> jobs.SettleJobsRequest:
    return jobs.SettleJobsRequest(settlements=[jobs.JobSettlement(job_id=job.id, **outcome)])


def _deduction(world: JobsStack) -> wallets.DeductRequest:
    job = world.succeeded()
    return wallets.DeductRequest(
        customer_id=job.customer_id,
        currency=job.currency,
        amount_cents=job.estimated_cost_cents,
        idempotency_key=f"job:{job.id}",
        hold_id=job.hold_id,
        job_id=job.id,
    )


_CREATED = "JobService.CreateJob"
CASES[_CREATED] = _new_job
_reads(
    "JobService.BatchCreateJobs",
    lambda world: jobs.BatchCreateJobsRequest(requests=[_new_job(world), _new_job(world), world.request()]),
)
_reads("JobService.GetJob", lambda world: jobs.GetJobRequest(job_id=failed(world).id))
_reads("JobService.ListJobs", lambda _: jobs.ListJobsRequest())
_reads("JobService.WatchJob", lambda world: jobs.WatchJobRequest(job_id=failed(world).id))
_reads("JobService.GetQueueStats", lambda _: jobs.GetQueueStatsRequest())
_reads("JobService.GetRunner", lambda world: jobs.GetRunnerRequest(runner_id=world.runner().id))
_reads("JobService.ListRunners", lambda _: jobs.ListRunnersRequest())


@case("JobService.CancelJob")
def _cancel(world: JobsStack) -> Message:
    return jobs.CancelJobRequest(job_id=world.job().id, reason="no")


@case("JobService.RetryJob")
def _retry(world: JobsStack) -> Message:
    job = failed(world)
    return jobs.RetryJobRequest(job_id=job.id, retry_count=job.retry_count)


@case("JobService.WriteOffJob")
def _write_off(world: JobsStack) -> Message:
    job = world.succeeded()
    world.wallets.ReleaseHold(wallets.ReleaseHoldRequest(hold_id=job.hold_id))
    declined = jobs.ChargeDeclined(reason="INSUFFICIENT_FUNDS")
    world.jobs.SettleJobs(_settle(world, job, declined=declined))
    return jobs.WriteOffJobRequest(job_id=job.id, reason="gone")


_reads("JobService.PauseQueue", lambda _: jobs.PauseQueueRequest(queue="paused"))


@case("JobService.ResumeQueue")
def _resume(world: JobsStack) -> Message:
    world.jobs.PauseQueue(jobs.PauseQueueRequest(queue="resumed"))
    return jobs.ResumeQueueRequest(queue="resumed")


@case("JobService.ClaimJobs")
def _claim(world: JobsStack) -> Message:
    return jobs.ClaimJobsRequest(job_ids=[world.job().id], runner_id=str(uuid4()), lease_id=str(uuid4()))


@case("JobService.CompleteJobs")
def _complete(world: JobsStack) -> Message:
    (done, first), (not_done, second), (later, third) = (world.running() for _ in range(3))
    error = job_pb2.JobError(type="E", message="no")
    completions = [
        jobs.JobCompletion(job_id=done.id, lease_id=first, output_json="1"),
        jobs.JobCompletion(job_id=not_done.id, lease_id=second, error=error),
        jobs.JobCompletion(job_id=later.id, lease_id=third, snooze={"seconds": 86_000}),  # type: ignore[arg-type]
    ]
    return jobs.CompleteJobsRequest(completions=completions)


@case("JobService.CompleteWebhookJob")
def _complete_webhook(world: JobsStack) -> Message:
    job, _, token = world.awaiting()
    return jobs.CompleteWebhookJobRequest(job_id=job.id, callback_token=token, output_json="1")


@case("JobService.RenewLeases")
def _renew(world: JobsStack) -> Message:
    job, lease_id = world.running()
    return jobs.RenewLeasesRequest(runner_id=str(uuid4()), lease_ids=[lease_id], job_ids=[job.id])


@case("JobService.ReportProgress")
def _report_progress(world: JobsStack) -> Message:
    job, lease_id = world.running()
    progress = job_pb2.JobProgress(percent=50, message="half")
    report = jobs.ProgressReport(
        job_id=job.id, lease_id=lease_id, sequence=1, progress=progress, checkpoint_json='{"row": 7}'
    )
    return jobs.ReportProgressRequest(reports=[report])


@case("JobService.ReturnJobs")
def _return(world: JobsStack) -> Message:
    job, lease_id = world.running()
    return jobs.ReturnJobsRequest(returns=[jobs.JobReturn(job_id=job.id, lease_id=lease_id, reason="drain")])


@case("JobService.SettleJobs")
def _settle_jobs(world: JobsStack) -> Message:
    charge = _deduction(world)
    transaction = world.wallets.Deduct(charge).transaction
    return _settle(world, world.get(charge.job_id), transaction=jobs.ChargeTransaction(id=transaction.id))


@case("JobTypeService.CreateJobType")
def _create_job_type(_: JobsStack) -> Message:
    job_type = new_job_type()
    job_type.ClearField("id")
    return job_types.CreateJobTypeRequest(job_type=job_type)


_reads("JobTypeService.GetJobType", lambda world: job_types.GetJobTypeRequest(id=world.job_type().id))
_reads("JobTypeService.ListJobTypes", lambda _: job_types.ListJobTypesRequest())


@case("JobTypeService.PauseJobType")
def _pause_job_type(world: JobsStack) -> Message:
    return job_types.PauseJobTypeRequest(job_type_id=world.job_type().id)


@case("JobTypeService.ResumeJobType")
def _resume_job_type(world: JobsStack) -> Message:
    job_type = world.job_type()
    world.job_types.PauseJobType(job_types.PauseJobTypeRequest(job_type_id=job_type.id))
    return job_types.ResumeJobTypeRequest(job_type_id=job_type.id)


@case("WalletService.CreateWallet")
def _create_wallet(_: JobsStack) -> Message:
    return wallets.CreateWalletRequest(customer_id=str(uuid4()), currency="EUR")


def _owner(world: JobsStack) -> wallets.WalletOwner:
    return wallets.WalletOwner(customer_id=world.customer(), currency="EUR")


_reads("WalletService.GetWallet", lambda world: wallets.GetWalletRequest(owner=_owner(world)))
_reads("WalletService.ListWallets", lambda _: wallets.ListWalletsRequest())
_reads("WalletService.ListHolds", lambda _: wallets.ListHoldsRequest())
_reads("WalletService.VerifyLedger", lambda _: wallets.VerifyLedgerRequest())
_reads("WalletService.ListTransactions", lambda world: wallets.ListTransactionsRequest(owner=_owner(world)))
_reads(
    "WalletService.GetTransaction",
    lambda world: wallets.GetTransactionRequest(transaction_id=world.credit(world.customer(), 5)),
)
_reads("WalletService.GetHold", lambda world: wallets.GetHoldRequest(hold_id=failed(world).hold_id))


@case("WalletService.Credit")
def _credit(world: JobsStack) -> Message:
    return wallets.CreditRequest(
        customer_id=world.customer(), currency="EUR", amount_cents=5, idempotency_key=str(uuid4())
    )


CASES["WalletService.Deduct"] = _deduction
_reads("WalletService.BatchDeduct", lambda world: wallets.BatchDeductRequest(requests=[_deduction(world)]))


def _new_hold(world: JobsStack) -> wallets.PlaceHoldRequest:
    return wallets.PlaceHoldRequest(job_id=str(uuid4()), customer_id=world.customer(), currency="EUR", amount_cents=5)


CASES["WalletService.PlaceHold"] = _new_hold
_reads(
    "WalletService.BatchPlaceHolds",
    lambda world: wallets.BatchPlaceHoldsRequest(requests=[_new_hold(world), _new_hold(world)]),
)


def _release(world: JobsStack) -> wallets.ReleaseHoldRequest:
    request = _new_hold(world)
    request.hold_id = str(uuid4())
    world.wallets.PlaceHold(request)
    return wallets.ReleaseHoldRequest(hold_id=request.hold_id)


CASES["WalletService.ReleaseHold"] = _release
_reads(
    "WalletService.BatchReleaseHolds",
    lambda world: wallets.BatchReleaseHoldsRequest(
        requests=[_release(world), wallets.ReleaseHoldRequest(hold_id=str(uuid4()))]
    ),
)


@case("WalletService.Refund")
def _refund(world: JobsStack) -> Message:
    transaction = world.wallets.Deduct(_deduction(world)).transaction
    return wallets.RefundRequest(transaction_id=transaction.id, amount_cents=2, idempotency_key=str(uuid4()))


@case("WalletService.WriteOff")
def _write_off_in_ledger(world: JobsStack) -> Message:
    return wallets.WriteOffRequest(
        customer_id=world.customer(0), currency="EUR", amount_cents=5, job_id=str(uuid4()), description="gone"
    )
