"""A request of every method about what belongs to a tenant: by the method's name, from that."""

from collections.abc import Callable
from typing import Any, Final
from uuid import UUID, uuid4

from google.protobuf.message import Message

from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.jobs.v1 import job_service_pb2 as jobs
from innosystem.jobs.v1 import job_type_service_pb2 as job_types
from innosystem.options.v1 import options_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as wallets
from services.kit.charges.vouchers import Charge
from tests.support.rpc.servers import VOUCHERS
from tests.support.rpc.tenants import Belongings

_JOB = "JobService."
_WALLET = "WalletService."
_ETAG: Final = "of another version"


def _update_customer(of: Belongings) -> Message:
    request = customers.UpdateCustomerRequest(update_mask={"paths": ["name"]})  # type: ignore[arg-type] # protobuf does
    request.customer.id, request.customer.name, request.customer.etag = of.customer_id, "x", _ETAG
    return request


def _update_type(of: Belongings) -> Message:
    request = job_types.UpdateJobTypeRequest(update_mask={"paths": ["name"]})  # type: ignore[arg-type] # protobuf does
    request.job_type.id, request.job_type.name, request.job_type.etag = of.job_type_id, "x", _ETAG
    return request


def _submission(of: Belongings) -> jobs.CreateJobRequest:
    return jobs.CreateJobRequest(job_id=str(uuid4()), customer_id=of.customer_id, job_type_id=of.job_type_id)


def _moving(kind: Callable[..., Any], of: Belongings, **values: Any) -> Any:
    key = {"idempotency_key": str(uuid4())} if kind is not wallets.WriteOffRequest else {}
    return kind(customer_id=of.customer_id, currency="EUR", amount_cents=1, **key, **values)


def _hold(of: Belongings) -> wallets.PlaceHoldRequest:
    return wallets.PlaceHoldRequest(
        hold_id=str(uuid4()), customer_id=of.customer_id, currency="EUR", job_id=str(uuid4()), amount_cents=1
    )


def _completion(of: Belongings) -> jobs.JobCompletion:
    return jobs.JobCompletion(job_id=of.running, lease_id=str(uuid4()), output_json="1")


def _token(of: Belongings, job_id: str) -> bytes:
    return VOUCHERS.charge_tokens()(Charge(UUID(job_id), UUID(of.customer_id), "EUR", 1, None))


def _deduction(of: Belongings) -> wallets.DeductRequest:
    job_id = str(uuid4())
    return wallets.DeductRequest(
        customer_id=of.customer_id,
        currency="EUR",
        amount_cents=1,
        idempotency_key=f"job:{job_id}",
        job_id=job_id,
        charge_token=_token(of, job_id),
    )


def _settlement(of: Belongings) -> jobs.JobSettlement:
    declined = jobs.ChargeDeclined(reason="INSUFFICIENT_FUNDS", charge_token=_token(of, of.succeeded))
    return jobs.JobSettlement(job_id=of.succeeded, declined=declined)


def _of_customer(of: Belongings) -> str:
    return f'customer_id = "{of.customer_id}"'


#: By `Service.Method`. A method that is new has no entry, and a test fails.
REQUESTS: Final[dict[str, Callable[[Belongings], Message]]] = {
    "CustomerService.CreateCustomer": lambda of: customers.CreateCustomerRequest(
        customer_id=of.customer_id, name=of.name, email=of.email
    ),
    "CustomerService.GetCustomer": lambda of: customers.GetCustomerRequest(customer_id=of.customer_id),
    "CustomerService.BatchGetCustomers": lambda of: customers.BatchGetCustomersRequest(customer_ids=[of.customer_id]),
    "CustomerService.ListCustomers": lambda of: customers.ListCustomersRequest(filter=f'id = "{of.customer_id}"'),
    "CustomerService.UpdateCustomer": _update_customer,
    "CustomerService.DeleteCustomer": lambda of: customers.DeleteCustomerRequest(
        customer_id=of.customer_id, etag=_ETAG
    ),
    "CustomerService.UndeleteCustomer": lambda of: customers.UndeleteCustomerRequest(customer_id=of.customer_id),
    "CustomerService.RotateApiKey": lambda of: customers.RotateApiKeyRequest(customer_id=of.customer_id),
    "CustomerService.CreateApiKey": lambda of: customers.CreateApiKeyRequest(
        customer_id=of.customer_id, api_key_id=str(uuid4()), name="x", scopes=[options_pb2.SCOPE_READ]
    ),
    "CustomerService.ListApiKeys": lambda of: customers.ListApiKeysRequest(customer_id=of.customer_id),
    "CustomerService.RevokeApiKey": lambda of: customers.RevokeApiKeyRequest(
        customer_id=of.customer_id, api_key_id=of.api_key_id
    ),
    "CustomerService.ResolveApiKey": lambda _: customers.ResolveApiKeyRequest(api_key="inno_nothing"),
    _JOB + "CreateJob": _submission,
    _JOB + "BatchCreateJobs": lambda of: jobs.BatchCreateJobsRequest(requests=[_submission(of)]),
    _JOB + "GetJob": lambda of: jobs.GetJobRequest(job_id=of.charged),
    _JOB + "ListJobs": lambda of: jobs.ListJobsRequest(filter=_of_customer(of)),
    _JOB + "CancelJob": lambda of: jobs.CancelJobRequest(job_id=of.cancelled),
    _JOB + "BatchCancelJobs": lambda of: jobs.BatchCancelJobsRequest(ids=jobs.JobIds(job_ids=[of.cancelled])),
    _JOB + "RetryJob": lambda of: jobs.RetryJobRequest(job_id=of.running),
    _JOB + "BatchRetryJobs": lambda of: jobs.BatchRetryJobsRequest(ids=jobs.JobIds(job_ids=[of.running])),
    _JOB + "WriteOffJob": lambda of: jobs.WriteOffJobRequest(job_id=of.charged, reason="x"),
    _JOB + "WatchJob": lambda of: jobs.WatchJobRequest(job_id=of.charged),
    _JOB + "GetQueueStats": lambda of: jobs.GetQueueStatsRequest(queues=[of.queue]),
    _JOB + "GetRunner": lambda of: jobs.GetRunnerRequest(runner_id=of.runner_id),
    _JOB + "ListRunners": lambda _: jobs.ListRunnersRequest(),
    _JOB + "PauseQueue": lambda _: jobs.PauseQueueRequest(queue="paused"),
    _JOB + "ResumeQueue": lambda _: jobs.ResumeQueueRequest(queue="paused"),
    _JOB + "ClaimJobs": lambda of: jobs.ClaimJobsRequest(
        # Under the lease that the job has already, so that it can be claimed repeatedly.
        job_ids=[of.running],
        runner_id=str(uuid4()),
        lease_id=of.lease_id,
    ),
    _JOB + "CompleteJobs": lambda of: jobs.CompleteJobsRequest(completions=[_completion(of)]),
    _JOB + "CompleteWebhookJob": lambda of: jobs.CompleteWebhookJobRequest(
        job_id=of.running, callback_token="none", output_json="1"
    ),
    _JOB + "RenewLeases": lambda of: jobs.RenewLeasesRequest(
        runner_id=str(uuid4()), job_ids=[of.running], lease_ids=[of.lease_id]
    ),
    _JOB + "ReportProgress": lambda of: jobs.ReportProgressRequest(
        reports=[jobs.ProgressReport(job_id=of.running, lease_id=of.lease_id, sequence=1)]
    ),
    _JOB + "ReturnJobs": lambda of: jobs.ReturnJobsRequest(
        returns=[jobs.JobReturn(job_id=of.running, lease_id=str(uuid4()))]
    ),
    _JOB + "SettleJobs": lambda of: jobs.SettleJobsRequest(settlements=[_settlement(of)]),
    "JobTypeService.CreateJobType": lambda of: job_types.CreateJobTypeRequest(),
    "JobTypeService.GetJobType": lambda of: job_types.GetJobTypeRequest(id=of.job_type_id),
    "JobTypeService.ListJobTypes": lambda of: job_types.ListJobTypesRequest(),
    "JobTypeService.UpdateJobType": _update_type,
    "JobTypeService.PauseJobType": lambda _: job_types.PauseJobTypeRequest(job_type_id=str(uuid4())),
    "JobTypeService.ResumeJobType": lambda _: job_types.ResumeJobTypeRequest(job_type_id=str(uuid4())),
    "JobTypeService.DeleteJobType": lambda of: job_types.DeleteJobTypeRequest(job_type_id=of.job_type_id),
    _WALLET + "CreateWallet": lambda of: wallets.CreateWalletRequest(customer_id=of.customer_id, currency="EUR"),
    _WALLET + "GetWallet": lambda of: wallets.GetWalletRequest(wallet_id=of.wallet_id),
    _WALLET + "ListWallets": lambda of: wallets.ListWalletsRequest(filter=_of_customer(of)),
    _WALLET + "Credit": lambda of: _moving(wallets.CreditRequest, of),
    _WALLET + "Deduct": _deduction,
    _WALLET + "BatchDeduct": lambda of: wallets.BatchDeductRequest(requests=[_deduction(of)]),
    _WALLET + "PlaceHold": _hold,
    _WALLET + "BatchPlaceHolds": lambda of: wallets.BatchPlaceHoldsRequest(requests=[_hold(of)]),
    _WALLET + "ReleaseHold": lambda _: wallets.ReleaseHoldRequest(hold_id=str(uuid4())),
    _WALLET + "BatchReleaseHolds": lambda _: wallets.BatchReleaseHoldsRequest(
        requests=[wallets.ReleaseHoldRequest(hold_id=str(uuid4()))]
    ),
    _WALLET + "GetHold": lambda of: wallets.GetHoldRequest(hold_id=of.ended_hold_id),
    _WALLET + "ListHolds": lambda of: wallets.ListHoldsRequest(filter=f'wallet_id = "{of.wallet_id}"'),
    _WALLET + "Refund": lambda of: wallets.RefundRequest(
        transaction_id=of.credit_id, amount_cents=1, idempotency_key="x"
    ),
    _WALLET + "WriteOff": lambda of: _moving(wallets.WriteOffRequest, of, job_id=str(uuid4())),
    _WALLET + "ListTransactions": lambda of: wallets.ListTransactionsRequest(wallet_id=of.wallet_id),
    _WALLET + "GetTransaction": lambda of: wallets.GetTransactionRequest(transaction_id=of.charge_id),
    _WALLET + "VerifyLedger": lambda _: wallets.VerifyLedgerRequest(),
}
