"""A request for each reason that the contract names for a method: it has to be refused for it."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final
from uuid import uuid4

from google.protobuf.message import Message

from innosystem.customers.v1 import customer_pb2
from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.jobs.v1 import job_service_pb2 as jobs
from innosystem.jobs.v1 import job_type_pb2
from innosystem.jobs.v1 import job_type_service_pb2 as job_types
from innosystem.options.v1 import options_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as wallets
from tests.support.rpc.jobs_stack import JobsStack, new_job_type
from tests.support.rpc.repeats import failed

Provocation = Callable[[JobsStack], Message]

INT64_MAX: Final = 2**63 - 1
_LARGE: Final = '"' + "x" * 1024 * 1024 + '"'


def nobody() -> str:
    """Return an ID that nothing has."""
    return str(uuid4())


def _email() -> str:
    return f"{uuid4()}@example.com"


def _new_customer(world: JobsStack) -> customers.CreateCustomerRequest:
    request = customers.CreateCustomerRequest(customer_id=nobody(), name="Ada", email=_email())
    world.customers.CreateCustomer(request)
    return request


def _email_taken(world: JobsStack) -> Message:
    return customers.CreateCustomerRequest(customer_id=nobody(), name="Bob", email=_new_customer(world).email)


def _customer_reused(world: JobsStack) -> Message:
    request = _new_customer(world)
    request.name = "Bob"
    return request


def _customer_update(customer_id: str, **values: Any) -> customers.UpdateCustomerRequest:
    named = {"paths": [one for one in values if one != "etag"]}
    return customers.UpdateCustomerRequest(
        customer=customer_pb2.Customer(id=customer_id, **values),
        update_mask=named,  # type: ignore[arg-type] # protobuf takes it
    )


def _key_reused(world: JobsStack) -> Message:
    request = customers.RotateApiKeyRequest(customer_id=world.customer(), api_key_id=nobody())
    world.customers.RotateApiKey(request)
    request.overlap.seconds = 1
    return request


def _new_key(customer_id: str) -> customers.CreateApiKeyRequest:
    return customers.CreateApiKeyRequest(
        customer_id=customer_id, api_key_id=nobody(), name="backend", scopes=[options_pb2.SCOPE_READ]
    )


def _new_key_reused(world: JobsStack) -> Message:
    request = _new_key(world.customer())
    world.customers.CreateApiKey(request)
    request.scopes.append(options_pb2.SCOPE_SUBMIT)
    return request


def _inactive(world: JobsStack) -> Message:
    request = world.request()
    world.customers.DeleteCustomer(customers.DeleteCustomerRequest(customer_id=request.customer_id))
    return request


def _job_reused(world: JobsStack) -> Message:
    request = world.request()
    world.jobs.CreateJob(request)
    request.input_json = "2"
    return request


def _can_not_be_paid_again(world: JobsStack) -> Message:
    job = failed(world, customer_id=world.customer(5))
    world.wallets.Deduct(_deduction(job.customer_id))
    return jobs.RetryJobRequest(job_id=job.id)


def _retry_for_an_inactive_customer(world: JobsStack) -> Message:
    job = failed(world)
    world.customers.DeleteCustomer(customers.DeleteCustomerRequest(customer_id=job.customer_id))
    return jobs.RetryJobRequest(job_id=job.id)


def _refused_write_off(world: JobsStack) -> Message:
    job = world.succeeded()
    world.wallets.ReleaseHold(wallets.ReleaseHoldRequest(hold_id=job.hold_id))
    declined = jobs.JobSettlement(job_id=job.id, declined=jobs.ChargeDeclined(reason="INSUFFICIENT_FUNDS"))
    world.jobs.SettleJobs(jobs.SettleJobsRequest(settlements=[declined]))
    charge = _deduction(job.customer_id, amount_cents=1, job_id=job.id, idempotency_key=f"job:{job.id}")
    world.wallets.Deduct(charge)
    return jobs.WriteOffJobRequest(job_id=job.id, reason="never paid")


def _completion(world: JobsStack, output_json: str) -> Message:
    job, lease_id = world.running()
    done = jobs.JobCompletion(job_id=job.id, lease_id=lease_id, output_json=output_json)
    return jobs.CompleteJobsRequest(completions=[done])


def _completed(job_id: str) -> Message:
    return jobs.CompleteJobsRequest(completions=[jobs.JobCompletion(job_id=job_id, lease_id=nobody(), output_json="1")])


def _called_back(job_id: str, token: str, output_json: str = "1") -> Message:
    return jobs.CompleteWebhookJobRequest(job_id=job_id, callback_token=token, output_json=output_json)


def _called_back_with(world: JobsStack, output_json: str) -> Message:
    job, _, token = world.awaiting()
    return _called_back(job.id, token, output_json)


def _called_back_too_late(world: JobsStack) -> Message:
    job, _, token = world.awaiting()
    world.jobs.CancelJob(jobs.CancelJobRequest(job_id=job.id))
    return _called_back(job.id, token)


def _called_back_between_runs(world: JobsStack) -> Message:
    job, lease_id, token = world.posted()
    world.jobs.ReturnJobs(jobs.ReturnJobsRequest(returns=[jobs.JobReturn(job_id=job.id, lease_id=lease_id)]))
    return _called_back(job.id, token)


def _returned(job_id: str) -> Message:
    return jobs.ReturnJobsRequest(returns=[jobs.JobReturn(job_id=job_id, lease_id=nobody())])


def _reported(job_id: str, lease_id: str = "", checkpoint_json: str = "") -> Message:
    report = jobs.ProgressReport(
        job_id=job_id, lease_id=lease_id or nobody(), sequence=1, checkpoint_json=checkpoint_json
    )
    return jobs.ReportProgressRequest(reports=[report])


def _settled(job_id: str, receipt: bytes = b"") -> Message:
    transaction = jobs.ChargeTransaction(id=nobody(), receipt=receipt)
    return jobs.SettleJobsRequest(settlements=[jobs.JobSettlement(job_id=job_id, transaction=transaction)])


def _new_type(world: JobsStack, **values: Any) -> Message:
    return job_types.CreateJobTypeRequest(job_type=new_job_type(**values))


def _type_reused(world: JobsStack) -> Message:
    stored = world.job_type()
    return _new_type(world, id=stored.id, name=stored.name, standard_cost_cents=6)


def _type_update(job_type_id: str, **values: Any) -> Message:
    named = {"paths": [one for one in values if one != "etag"]}
    return job_types.UpdateJobTypeRequest(
        job_type=job_type_pb2.JobType(id=job_type_id, **values),
        update_mask=named,  # type: ignore[arg-type] # protobuf takes it
    )


def _type_in_use(world: JobsStack) -> Message:
    return job_types.DeleteJobTypeRequest(job_type_id=world.job().job_type_id)


def _new_wallet(world: JobsStack, **values: Any) -> wallets.CreateWalletRequest:
    request = wallets.CreateWalletRequest(wallet_id=nobody(), customer_id=nobody(), currency="EUR")
    world.wallets.CreateWallet(request)
    for name, value in values.items():
        setattr(request, name, value)
    return request


def _owner(customer_id: str) -> wallets.WalletOwner:
    return wallets.WalletOwner(customer_id=customer_id, currency="EUR")


def _moving(kind: Callable[..., Any], customer_id: str, **values: Any) -> Any:
    usual = {"currency": "EUR", "amount_cents": 5, "idempotency_key": nobody()}
    return kind(customer_id=customer_id, **{**usual, **values})


_credit = partial(_moving, wallets.CreditRequest)
_deduction = partial(_moving, wallets.DeductRequest)


def _reused(make: Callable[..., Any], method: str, world: JobsStack) -> Message:
    request = make(world.customer())
    getattr(world.wallets, method)(request)
    request.amount_cents += 1
    return request  # type: ignore[no-any-return] # a message


def _hold(customer_id: str, **values: Any) -> wallets.PlaceHoldRequest:
    usual = {"hold_id": nobody(), "job_id": nobody(), "currency": "EUR", "amount_cents": 5}
    return wallets.PlaceHoldRequest(customer_id=customer_id, **{**usual, **values})


def _placed(world: JobsStack) -> wallets.PlaceHoldRequest:
    request = _hold(world.customer())
    world.wallets.PlaceHold(request)
    return request


def _of_hold(kind: type[Any], hold: wallets.PlaceHoldRequest, job_id: str, **values: Any) -> Any:
    """A charge, or a write-off, for a job with a hold."""
    if kind is wallets.DeductRequest:
        values["idempotency_key"] = f"job:{job_id}"
    return kind(
        customer_id=hold.customer_id,
        currency="EUR",
        amount_cents=5,
        job_id=job_id,
        hold_id=hold.hold_id,
        **values,
    )


def _mismatched(kind: type[Any], world: JobsStack) -> Message:
    return _of_hold(kind, _placed(world), nobody())  # type: ignore[no-any-return] # a message


def _released(world: JobsStack) -> Message:
    request = _placed(world)
    world.wallets.ReleaseHold(wallets.ReleaseHoldRequest(hold_id=request.hold_id))
    return request


def _captured(world: JobsStack) -> Message:
    request = _placed(world)
    world.wallets.Deduct(_of_hold(wallets.DeductRequest, request, request.job_id))
    return wallets.ReleaseHoldRequest(hold_id=request.hold_id)


def _refund(world: JobsStack, **values: Any) -> wallets.RefundRequest:
    charged = world.wallets.Deduct(_deduction(world.customer())).transaction.id
    return wallets.RefundRequest(transaction_id=charged, idempotency_key=nobody(), **values)


def _refund_reused(world: JobsStack) -> Message:
    request = _refund(world, amount_cents=2)
    world.wallets.Refund(request)
    request.amount_cents = 3
    return request


def _full(world: JobsStack) -> str:
    """A customer whose wallet in EUR can hold no more."""
    customer_id = world.customer(0)
    world.credit(customer_id, INT64_MAX)
    return customer_id


def _refund_overflows(world: JobsStack) -> Message:
    customer_id = _full(world)
    charged = world.wallets.Deduct(_deduction(customer_id)).transaction.id
    world.credit(customer_id, 5)
    return wallets.RefundRequest(transaction_id=charged, idempotency_key=nobody())


def _write_off(customer_id: str, **values: Any) -> wallets.WriteOffRequest:
    usual = {"currency": "EUR", "amount_cents": 5, "job_id": nobody()}
    return wallets.WriteOffRequest(customer_id=customer_id, **{**usual, **values})


def _charged_already(world: JobsStack) -> Message:
    job_id, customer_id = nobody(), world.customer()
    world.wallets.Deduct(_deduction(customer_id, job_id=job_id, idempotency_key=f"job:{job_id}"))
    return _write_off(customer_id, job_id=job_id)


def _charged_elsewhere(world: JobsStack) -> Message:
    job_id = nobody()
    charge: wallets.DeductRequest = _deduction(world.customer(), job_id=job_id, idempotency_key=f"job:{job_id}")
    world.wallets.Deduct(charge)
    charge.customer_id = world.customer()
    return charge


def _hold_active(world: JobsStack) -> Message:
    hold = _placed(world)
    return _of_hold(wallets.WriteOffRequest, hold, hold.job_id)  # type: ignore[no-any-return] # a message


def _hold_reused(world: JobsStack) -> Message:
    request = _placed(world)
    request.amount_cents = 6
    return request


PROVOKED: Final[dict[tuple[str, str], Provocation]] = {
    ("CustomerService.CreateCustomer", "EMAIL_TAKEN"): _email_taken,
    ("CustomerService.CreateCustomer", "IDEMPOTENCY_KEY_REUSED"): _customer_reused,
    ("CustomerService.GetCustomer", "CUSTOMER_NOT_FOUND"): lambda _: customers.GetCustomerRequest(customer_id=nobody()),
    ("CustomerService.UpdateCustomer", "CUSTOMER_NOT_FOUND"): lambda _: _customer_update(nobody(), name="Bob"),
    ("CustomerService.UpdateCustomer", "EMAIL_TAKEN"): lambda world: _customer_update(
        world.customer(), email=_new_customer(world).email
    ),
    ("CustomerService.UpdateCustomer", "ETAG_MISMATCH"): lambda world: _customer_update(
        world.customer(), name="Bob", etag="other"
    ),
    ("CustomerService.DeleteCustomer", "CUSTOMER_NOT_FOUND"): lambda _: customers.DeleteCustomerRequest(
        customer_id=nobody()
    ),
    ("CustomerService.DeleteCustomer", "ETAG_MISMATCH"): lambda world: customers.DeleteCustomerRequest(
        customer_id=world.customer(), etag="other"
    ),
    ("CustomerService.UndeleteCustomer", "CUSTOMER_NOT_FOUND"): lambda _: customers.UndeleteCustomerRequest(
        customer_id=nobody()
    ),
    ("CustomerService.RotateApiKey", "CUSTOMER_NOT_FOUND"): lambda _: customers.RotateApiKeyRequest(
        customer_id=nobody()
    ),
    ("CustomerService.RotateApiKey", "IDEMPOTENCY_KEY_REUSED"): _key_reused,
    ("CustomerService.CreateApiKey", "CUSTOMER_NOT_FOUND"): lambda _: _new_key(nobody()),
    ("CustomerService.CreateApiKey", "IDEMPOTENCY_KEY_REUSED"): _new_key_reused,
    ("CustomerService.ListApiKeys", "CUSTOMER_NOT_FOUND"): lambda _: customers.ListApiKeysRequest(customer_id=nobody()),
    ("CustomerService.RevokeApiKey", "CUSTOMER_NOT_FOUND"): lambda _: customers.RevokeApiKeyRequest(
        customer_id=nobody(), api_key_id=nobody()
    ),
    ("CustomerService.RevokeApiKey", "API_KEY_NOT_FOUND"): lambda world: customers.RevokeApiKeyRequest(
        customer_id=world.customer(), api_key_id=nobody()
    ),
    ("CustomerService.ResolveApiKey", "BAD_CREDENTIALS"): lambda _: customers.ResolveApiKeyRequest(api_key="unknown"),
    ("JobService.CreateJob", "CUSTOMER_NOT_FOUND"): lambda world: world.request(customer_id=nobody()),
    ("JobService.CreateJob", "CUSTOMER_INACTIVE"): _inactive,
    ("JobService.CreateJob", "JOB_TYPE_NOT_FOUND"): lambda world: world.request(job_type="unknown"),
    ("JobService.CreateJob", "JOB_TYPE_DISABLED"): lambda world: world.request(
        job_type=world.job_type(enabled=False).name
    ),
    ("JobService.CreateJob", "PRICE_ABOVE_MAXIMUM"): lambda world: world.request(max_cost_cents=4),
    ("JobService.CreateJob", "INSUFFICIENT_FUNDS"): lambda world: world.request(customer_id=world.customer(4)),
    ("JobService.CreateJob", "NO_WALLET_IN_CURRENCY"): lambda world: world.request(
        job_type=world.job_type(currency="CHF").name
    ),
    ("JobService.CreateJob", "INVALID_INPUT_JSON"): lambda world: world.request(input_json="{"),
    ("JobService.CreateJob", "INPUT_TOO_LARGE"): lambda world: world.request(input_json=_LARGE),
    ("JobService.CreateJob", "IDEMPOTENCY_KEY_REUSED"): _job_reused,
    ("JobService.GetJob", "JOB_NOT_FOUND"): lambda _: jobs.GetJobRequest(job_id=nobody()),
    ("JobService.GetRunner", "RUNNER_NOT_FOUND"): lambda _: jobs.GetRunnerRequest(runner_id=nobody()),
    ("JobService.CancelJob", "JOB_NOT_FOUND"): lambda _: jobs.CancelJobRequest(job_id=nobody()),
    ("JobService.CancelJob", "JOB_NOT_CANCELLABLE"): lambda world: jobs.CancelJobRequest(job_id=world.succeeded().id),
    ("JobService.RetryJob", "JOB_NOT_FOUND"): lambda _: jobs.RetryJobRequest(job_id=nobody()),
    ("JobService.RetryJob", "JOB_NOT_RETRYABLE"): lambda world: jobs.RetryJobRequest(job_id=world.succeeded().id),
    ("JobService.RetryJob", "CUSTOMER_INACTIVE"): _retry_for_an_inactive_customer,
    ("JobService.RetryJob", "INSUFFICIENT_FUNDS"): _can_not_be_paid_again,
    ("JobService.WriteOffJob", "JOB_NOT_FOUND"): lambda _: jobs.WriteOffJobRequest(job_id=nobody(), reason="gone"),
    ("JobService.WriteOffJob", "NOTHING_TO_WRITE_OFF"): lambda world: jobs.WriteOffJobRequest(
        job_id=world.succeeded().id, reason="gone"
    ),
    ("JobService.WriteOffJob", "WRITE_OFF_REFUSED"): _refused_write_off,
    ("JobService.WatchJob", "JOB_NOT_FOUND"): lambda _: jobs.WatchJobRequest(job_id=nobody()),
    ("JobService.CompleteJobs", "JOB_NOT_FOUND"): lambda _: _completed(nobody()),
    ("JobService.CompleteJobs", "LEASE_LOST"): lambda world: _completed(world.running()[0].id),
    ("JobService.CompleteJobs", "INVALID_OUTPUT_JSON"): lambda world: _completion(world, "{"),
    ("JobService.CompleteJobs", "OUTPUT_TOO_LARGE"): lambda world: _completion(world, _LARGE),
    ("JobService.CompleteWebhookJob", "BAD_CREDENTIALS"): lambda world: _called_back(world.awaiting()[0].id, "none"),
    ("JobService.CompleteWebhookJob", "LEASE_LOST"): _called_back_too_late,
    ("JobService.CompleteWebhookJob", "INVALID_OUTPUT_JSON"): lambda world: _called_back_with(world, "{"),
    ("JobService.CompleteWebhookJob", "OUTPUT_TOO_LARGE"): lambda world: _called_back_with(world, _LARGE),
    ("JobService.CompleteWebhookJob", "DEPENDENCY_UNAVAILABLE"): _called_back_between_runs,
    ("JobService.ReturnJobs", "JOB_NOT_FOUND"): lambda _: _returned(nobody()),
    ("JobService.ReturnJobs", "LEASE_LOST"): lambda world: _returned(world.running()[0].id),
    ("JobService.ReportProgress", "JOB_NOT_FOUND"): lambda _: _reported(nobody()),
    ("JobService.ReportProgress", "LEASE_LOST"): lambda world: _reported(world.running()[0].id),
    ("JobService.ReportProgress", "INVALID_FIELD"): lambda world: _reported(world.running()[0].id, nobody(), "{"),
    ("JobService.SettleJobs", "JOB_NOT_FOUND"): lambda _: _settled(nobody()),
    ("JobService.SettleJobs", "NOT_ALLOWED"): lambda _: _settled(nobody(), receipt=b"forged"),
    ("JobTypeService.CreateJobType", "JOB_TYPE_NAME_TAKEN"): lambda world: _new_type(world, name=world.job_type().name),
    ("JobTypeService.CreateJobType", "IDEMPOTENCY_KEY_REUSED"): _type_reused,
    ("JobTypeService.GetJobType", "JOB_TYPE_NOT_FOUND"): lambda _: job_types.GetJobTypeRequest(name="unknown"),
    ("JobTypeService.UpdateJobType", "JOB_TYPE_NOT_FOUND"): lambda _: _type_update(nobody(), max_attempts=2),
    ("JobTypeService.UpdateJobType", "JOB_TYPE_NAME_TAKEN"): lambda world: _type_update(
        world.job_type().id, name=world.job_type().name
    ),
    ("JobTypeService.UpdateJobType", "ETAG_MISMATCH"): lambda world: _type_update(
        world.job_type().id, max_attempts=2, etag="other"
    ),
    ("JobTypeService.PauseJobType", "JOB_TYPE_NOT_FOUND"): lambda _: job_types.PauseJobTypeRequest(
        job_type_id=nobody()
    ),
    ("JobTypeService.ResumeJobType", "JOB_TYPE_NOT_FOUND"): lambda _: job_types.ResumeJobTypeRequest(
        job_type_id=nobody()
    ),
    ("JobTypeService.DeleteJobType", "JOB_TYPE_NOT_FOUND"): lambda _: job_types.DeleteJobTypeRequest(
        job_type_id=nobody()
    ),
    ("JobTypeService.DeleteJobType", "JOB_TYPE_IN_USE"): _type_in_use,
    ("JobTypeService.DeleteJobType", "ETAG_MISMATCH"): lambda world: job_types.DeleteJobTypeRequest(
        job_type_id=world.job_type().id, etag="other"
    ),
    ("WalletService.CreateWallet", "WALLET_EXISTS"): lambda world: _new_wallet(world, wallet_id=nobody()),
    ("WalletService.CreateWallet", "IDEMPOTENCY_KEY_REUSED"): lambda world: _new_wallet(world, currency="USD"),
    ("WalletService.GetWallet", "WALLET_NOT_FOUND"): lambda _: wallets.GetWalletRequest(owner=_owner(nobody())),
    ("WalletService.Credit", "WALLET_NOT_FOUND"): lambda _: _credit(nobody()),
    ("WalletService.Credit", "IDEMPOTENCY_KEY_REUSED"): partial(_reused, _credit, "Credit"),
    ("WalletService.Credit", "BALANCE_OVERFLOW"): lambda world: _credit(_full(world)),
    ("WalletService.Deduct", "WALLET_NOT_FOUND"): lambda _: _deduction(nobody()),
    ("WalletService.Deduct", "IDEMPOTENCY_KEY_REUSED"): partial(_reused, _deduction, "Deduct"),
    ("WalletService.Deduct", "HOLD_MISMATCH"): partial(_mismatched, wallets.DeductRequest),
    ("WalletService.Deduct", "ALREADY_CHARGED"): _charged_elsewhere,
    ("WalletService.Deduct", "NOT_ALLOWED"): lambda world: _deduction(world.customer(), charge_token=b"forged"),
    ("WalletService.Deduct", "INSUFFICIENT_FUNDS"): lambda world: _deduction(world.customer(4)),
    ("WalletService.PlaceHold", "IDEMPOTENCY_KEY_REUSED"): _hold_reused,
    ("WalletService.PlaceHold", "HOLD_NOT_ACTIVE"): _released,
    ("WalletService.PlaceHold", "WALLET_NOT_FOUND"): lambda _: _hold(nobody()),
    ("WalletService.PlaceHold", "INSUFFICIENT_FUNDS"): lambda world: _hold(world.customer(4)),
    ("WalletService.ReleaseHold", "HOLD_NOT_ACTIVE"): _captured,
    ("WalletService.GetHold", "HOLD_NOT_FOUND"): lambda _: wallets.GetHoldRequest(hold_id=nobody()),
    ("WalletService.Refund", "TRANSACTION_NOT_FOUND"): lambda _: wallets.RefundRequest(
        transaction_id=nobody(), idempotency_key=nobody()
    ),
    ("WalletService.Refund", "IDEMPOTENCY_KEY_REUSED"): _refund_reused,
    ("WalletService.Refund", "REFUND_EXCEEDS_CHARGE"): lambda world: _refund(world, amount_cents=6),
    ("WalletService.Refund", "BALANCE_OVERFLOW"): _refund_overflows,
    ("WalletService.WriteOff", "WALLET_NOT_FOUND"): lambda _: _write_off(nobody()),
    ("WalletService.WriteOff", "IDEMPOTENCY_KEY_REUSED"): partial(_reused, _write_off, "WriteOff"),
    ("WalletService.WriteOff", "ALREADY_CHARGED"): _charged_already,
    ("WalletService.WriteOff", "HOLD_MISMATCH"): partial(_mismatched, wallets.WriteOffRequest),
    ("WalletService.WriteOff", "HOLD_ACTIVE"): _hold_active,
    ("WalletService.WriteOff", "BALANCE_OVERFLOW"): lambda world: _write_off(_full(world)),
    ("WalletService.ListTransactions", "WALLET_NOT_FOUND"): lambda _: wallets.ListTransactionsRequest(
        owner=_owner(nobody())
    ),
    ("WalletService.GetTransaction", "TRANSACTION_NOT_FOUND"): lambda _: wallets.GetTransactionRequest(
        transaction_id=nobody()
    ),
}
"""By `Service.Method` and reason. Of a batch whose items fail each for itself, the request has one item."""


def _statement(world: JobsStack) -> wallets.ListTransactionsRequest:
    customer_id = world.customer()
    world.credit(customer_id, 5)
    return wallets.ListTransactionsRequest(owner=_owner(customer_id))


def _keys(world: JobsStack) -> customers.ListApiKeysRequest:
    customer_id = world.customer()
    world.customers.RotateApiKey(customers.RotateApiKeyRequest(customer_id=customer_id))
    return customers.ListApiKeysRequest(customer_id=customer_id)


def _after(make: Callable[[JobsStack], object], request: Callable[[], Message]) -> Provocation:
    """Ask for a list after two of what it lists were made."""

    def ask(world: JobsStack) -> Message:
        for _ in range(2):
            make(world)
        return request()

    return ask


LISTED: Final[dict[str, Provocation]] = {
    "CustomerService.ListCustomers": _after(JobsStack.customer, customers.ListCustomersRequest),
    "CustomerService.ListApiKeys": _keys,
    "JobService.ListJobs": _after(JobsStack.job, jobs.ListJobsRequest),
    "JobService.ListRunners": _after(JobsStack.runner, jobs.ListRunnersRequest),
    "JobTypeService.ListJobTypes": _after(JobsStack.job_type, job_types.ListJobTypesRequest),
    "WalletService.ListWallets": _after(JobsStack.customer, wallets.ListWalletsRequest),
    "WalletService.ListHolds": _after(JobsStack.job, wallets.ListHoldsRequest),
    "WalletService.ListTransactions": _statement,
}
"""A call of each list, which has two pages of one at least."""


def _with(make: Provocation, **values: Any) -> Provocation:
    def changed(world: JobsStack) -> Message:
        request = make(world)
        for name, value in values.items():
            setattr(request, name, value)
        return request

    return changed


def _kept(request: Message, _: JobsStack) -> Message:
    return request


for _method, _make in LISTED.items():
    PROVOKED[_method, "INVALID_FILTER"] = _with(_make, filter="no_such_field = 1")
    PROVOKED[_method, "INVALID_ORDER_BY"] = _with(_make, order_by="no_such_field")
    PROVOKED[_method, "INVALID_PAGE_TOKEN"] = _with(_make, page_token="invented")
PROVOKED["WalletService.VerifyLedger", "INVALID_PAGE_TOKEN"] = lambda _: wallets.VerifyLedgerRequest(
    page_token="invented"
)
for _name, _kind in (("Cancel", jobs.BatchCancelJobsRequest), ("Retry", jobs.BatchRetryJobsRequest)):
    _wrong = jobs.JobFilter(filter="no_such_field = 1"), jobs.JobFilter(all=True, page_token="invented")
    for _reason, _filter in zip(("INVALID_FILTER", "INVALID_PAGE_TOKEN"), _wrong, strict=True):
        PROVOKED[f"JobService.Batch{_name}Jobs", _reason] = partial(_kept, _kind(filter=_filter))


def _by_ids(kind: type[Any], items: list[Any]) -> Message:
    return kind(ids=jobs.JobIds(job_ids=[one.job_id for one in items]))  # type: ignore[no-any-return] # a message


#: What a batch makes of the requests of a method that does the same for one.
BATCHES: Final[dict[str, tuple[str, Callable[[list[Any]], Message]]]] = {
    "CustomerService.GetCustomer": (
        "BatchGetCustomers",
        lambda items: customers.BatchGetCustomersRequest(customer_ids=[one.customer_id for one in items]),
    ),
    "JobService.CreateJob": ("BatchCreateJobs", lambda items: jobs.BatchCreateJobsRequest(requests=items)),
    "JobService.CancelJob": ("BatchCancelJobs", partial(_by_ids, jobs.BatchCancelJobsRequest)),
    "JobService.RetryJob": ("BatchRetryJobs", partial(_by_ids, jobs.BatchRetryJobsRequest)),
    "WalletService.Deduct": ("BatchDeduct", lambda items: wallets.BatchDeductRequest(requests=items)),
    "WalletService.PlaceHold": ("BatchPlaceHolds", lambda items: wallets.BatchPlaceHoldsRequest(requests=items)),
    "WalletService.ReleaseHold": ("BatchReleaseHolds", lambda items: wallets.BatchReleaseHoldsRequest(requests=items)),
}

#: Reasons that take a fault, and where the tests with such faults are.
ELSEWHERE: Final[dict[tuple[str, str], str]] = {
    ("JobService.CreateJob", "JOB_NOT_FOUND"): "integration/tenants/test_isolation.py"
    "::test_the_id_of_a_job_of_others_is_refused_without_a_word_about_it",
    ("JobService.CreateJob", "CONCURRENT_UPDATE"): "integration/jobs/test_caches.py"
    "::test_a_job_type_deleted_elsewhere_is_a_conflict_once_and_then_unknown",
    ("JobService.CreateJob", "DEPENDENCY_UNAVAILABLE"): "integration/jobs/test_customers_away.py"
    "::test_while_the_customers_service_is_away_only_known_jobs_are_answered",
    # Customers are never deleted: it takes another database of customers.
    ("JobService.RetryJob", "CUSTOMER_NOT_FOUND"): "unit/jobs/test_control_service.py"
    "::test_a_job_is_not_run_again_without_its_customer",
    ("JobService.RetryJob", "CONCURRENT_UPDATE"): "unit/jobs/test_control.py"
    "::test_a_job_that_was_run_again_and_ended_meanwhile_needs_a_later_hold",
    ("JobService.RetryJob", "DEPENDENCY_UNAVAILABLE"): "integration/jobs/test_holds.py"
    "::test_a_failed_job_is_not_retried_without_a_wallet_or_the_wallets_service",
    ("JobService.RetryJob", "NO_WALLET_IN_CURRENCY"): "integration/jobs/test_holds.py"
    "::test_a_failed_job_is_not_retried_without_a_wallet_or_the_wallets_service",
    ("JobService.WriteOffJob", "DEPENDENCY_UNAVAILABLE"): "integration/jobs/test_write_off.py"
    "::test_while_the_wallets_service_is_away_nothing_is_written_off",
    ("JobService.WatchJob", "DRAINING"): "integration/jobs/test_watching.py"
    "::test_a_process_that_stops_ends_its_streams_and_begins_no_others",
}
