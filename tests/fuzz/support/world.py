"""What exists while requests are sent: customers with money, jobs in all states, the tokens of lists, and callers."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from innosystem.customers.v1 import customer_service_pb2
from innosystem.jobs.v1 import job_pb2, job_type_pb2, job_type_service_pb2, runner_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.options.v1 import options_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as wallets_pb
from services.kit.auth.principal import Kind
from tests.e2e.stack import Stack
from tests.fuzz.support.callers import Caller, Tokens
from tests.fuzz.support.sending import OWNED, Identity

_SECONDS = 30.0
_CENTS = 1_000_000
_SCHEMA = '{"type": "object"}'
_JOBS = 16
_TYPES, _IDLE_TYPES = 3, 3
_POSTED = 4
_QUEUE = "fuzz"
_WEBHOOK_HANDLER = "innosystem.webhook"
_KEYS = {
    "key of A: read": [options_pb2.SCOPE_READ],
    "key of A: submit": [options_pb2.SCOPE_SUBMIT],
    "key of A: read, submit": [options_pb2.SCOPE_READ, options_pb2.SCOPE_SUBMIT],
}


@dataclass(frozen=True)
class World:
    """What exists.

    Attributes:
        known: IDs and tokens by the names of the fields that hold them.
        callers: Who may call; some of them are bound to the customer A.
        own: The IDs of what belongs to A.
        foreign: Those of what belongs to another customer.
    """

    known: Mapping[str, Sequence[str]]
    callers: Sequence[Caller]
    own: frozenset[Identity]
    foreign: frozenset[Identity]


def prepare(stack: Stack, tokens: Tokens, seed: str) -> World:
    """Create it.

    Args:
        stack: The services.
        tokens: Whose calls create it, and who may call.
        seed: Decides on the IDs that callers choose.
    """
    return _Preparation(stack, tokens, random.Random(seed)).world()


class _Preparation:
    def __init__(self, stack: Stack, tokens: Tokens, choose: random.Random) -> None:
        self._stack = stack
        self._tokens = tokens
        self._random = choose
        self._known: dict[str, list[str]] = {}

    def world(self) -> World:
        self._job_types()
        own = self._owned_by_a_customer()
        foreign = self._owned_by_a_customer()
        first = self._known["customer_id"][0]
        idle = customer_service_pb2.CreateCustomerRequest(customer_id=self._id("idle_customer_id"), name="Ida")
        idle.email = f"{idle.customer_id}@example.com"
        self._call(self._stack.customers.CreateCustomer, idle)
        self._known["page_token"] = [*self._page_tokens()]
        callers = [*self._tokens.callers(first, _QUEUE), *self._api_keys(first)]
        return World(self._known, callers, own, foreign)

    def _owned_by_a_customer(self) -> frozenset[Identity]:
        before = {(name, value) for name in OWNED for value in self._known.get(name, ())}
        customer_id = self._customer()
        self._jobs(customer_id)
        self._posted(customer_id)
        return frozenset((name, value) for name in OWNED for value in self._known[name]) - before

    def _call(self, call: Any, request: Any, token: str = "") -> Any:
        token = token or self._tokens.operator
        return call(request, timeout=_SECONDS, metadata=(("authorization", f"Bearer {token}"),))

    def _id(self, name: str) -> str:
        return self._learn(name, str(UUID(int=self._random.getrandbits(128), version=4)))

    def _learn(self, name: str, value: str) -> str:
        self._known.setdefault(name, []).append(value)
        return value

    def _customer(self) -> str:
        customers, wallets, customer_id = self._stack.customers, self._stack.wallets, self._id("customer_id")
        email = self._learn("email", f"{customer_id}@example.com")
        create = customer_service_pb2.CreateCustomerRequest(customer_id=customer_id, name="Ada", email=email)
        self._learn("api_key", self._call(customers.CreateCustomer, create).api_key)
        rotate = customer_service_pb2.RotateApiKeyRequest(customer_id=customer_id, api_key_id=self._id("api_key_id"))
        self._learn("api_key", self._call(customers.RotateApiKey, rotate).api_key)
        for currency in ("EUR", "USD"):
            wallet = wallets_pb.CreateWalletRequest(
                wallet_id=self._id("wallet_id"), customer_id=customer_id, currency=currency
            )
            self._call(wallets.CreateWallet, wallet)
            credit = wallets_pb.CreditRequest(
                customer_id=customer_id,
                currency=currency,
                amount_cents=_CENTS,
                idempotency_key=self._id("idempotency_key"),
            )
            self._learn("transaction_id", self._call(wallets.Credit, credit).transaction.id)
            hold = wallets_pb.PlaceHoldRequest(
                hold_id=self._id("hold_id"),
                customer_id=customer_id,
                currency=currency,
                amount_cents=5,
                # No job: any customer may submit one with this ID.
                job_id=self._id("job_id_of_no_job"),
            )
            self._call(wallets.PlaceHold, hold)
        return customer_id

    def _api_keys(self, customer_id: str) -> Iterator[Caller]:
        """Keys that no request revokes, for their IDs are not known."""
        for name, scopes in _KEYS.items():
            request = customer_service_pb2.CreateApiKeyRequest(
                customer_id=customer_id, api_key_id=self._id("api_key_id_of_a_caller"), name=name, scopes=scopes
            )
            key = self._call(self._stack.customers.CreateApiKey, request).api_key
            yield Caller(
                name, key, Kind.CLIENT, is_bound=True, scopes=frozenset(map(int, scopes)), customer_id=customer_id
            )

    def _job_types(self) -> None:
        for index in range(_TYPES):
            job_type = self._new_job_type(self._id("job_type_id"), 5 * index)
            self._learn("job_type", job_type.name)
            self._learn("processing_logic_id", job_type.processing_logic_id)
            self._learn("queue", job_type.queue)
            self._learn("etag", job_type.etag)
        for _ in range(_IDLE_TYPES):
            self._new_job_type(self._id("idle_job_type_id"), 0)
        webhook = job_type_pb2.Webhook(url="https://example.com/jobs", signing_secret="FUZZ")
        self._webhook_type = self._new_job_type(
            self._id("webhook_type_id"),
            5,
            processing_logic_id=_WEBHOOK_HANDLER,
            processor_type=job_type_pb2.PROCESSOR_TYPE_WEBHOOK,
            webhook=webhook,
        ).name

    def _new_job_type(self, job_type_id: str, cents: int, **values: Any) -> job_type_pb2.JobType:
        job_type = job_type_pb2.JobType(
            id=job_type_id,
            name=f"fuzz-{self._random.getrandbits(64):x}",
            standard_cost_cents=cents,
            queue=_QUEUE,
            max_attempts=2,
            input_schema_json=_SCHEMA,
            **{
                "processing_logic_id": "echo",
                "processor_type": job_type_pb2.PROCESSOR_TYPE_ASYNC,
                **values,
            },
        )
        request = job_type_service_pb2.CreateJobTypeRequest(job_type=job_type)
        created: job_type_pb2.JobType = self._call(self._stack.job_types.CreateJobType, request).job_type
        return created

    def _jobs(self, customer_id: str) -> None:
        jobs = self._stack.jobs
        submitted = [self._submit(customer_id) for _ in range(_JOBS)]
        claim = pb.ClaimJobsRequest(
            job_ids=submitted[:12],
            runner_id=self._id("runner_id"),
            lease_id=(lease_id := self._id("lease_id")),
            queues=[_QUEUE],
            handlers=["echo"],
        )
        self._call(jobs.ClaimJobs, claim, self._tokens.runner)
        # Only such a call tells of the runner. There may be jobs of others in its response; they stay with it.
        asked = pb.ClaimJobsRequest(
            runner_id=claim.runner_id,
            lease_id=lease_id,
            queues=[_QUEUE],
            info=runner_pb2.RunnerInfo(host="fuzz", slots=4),
        )
        self._call(jobs.ClaimJobs, asked, self._tokens.runner)
        for one in submitted[:12]:
            self._learn("leases", f"{one} {lease_id}")
        done = [pb.JobCompletion(job_id=one, lease_id=lease_id, output_json="1") for one in submitted[:6]]
        failed = pb.JobCompletion(
            job_id=submitted[6], lease_id=lease_id, error=job_pb2.JobError(type="Bad", message="bad")
        )
        completed = self._call(
            jobs.CompleteJobs, pb.CompleteJobsRequest(completions=[*done, failed]), self._tokens.runner
        )
        self._charges([one.recorded.charge for one in completed.results if one.recorded.HasField("charge")])
        for one in submitted:
            job = self._call(jobs.GetJob, pb.GetJobRequest(job_id=one)).job
            if job.hold_id:
                self._learn("hold_id", job.hold_id)
        self._call(jobs.CancelJob, pb.CancelJobRequest(job_id=submitted[13]))

    def _posted(self, customer_id: str) -> None:
        """Claim jobs that are to be posted: the tokens of their results are known."""
        submitted = [self._submit(customer_id, self._webhook_type) for _ in range(_POSTED)]
        claim = pb.ClaimJobsRequest(
            job_ids=submitted,
            runner_id=self._id("runner_id"),
            lease_id=self._id("lease_id"),
            queues=[_QUEUE],
            handlers=[_WEBHOOK_HANDLER],
        )
        for one in self._call(self._stack.jobs.ClaimJobs, claim, self._tokens.runner).jobs:
            self._learn("callbacks", f"{one.job.id} {one.webhook.callback_token}")

    def _charges(self, charges: Sequence[pb.Charge]) -> None:
        """Make every other charge, so that there are receipts."""
        for index, one in enumerate(charges):
            token = one.charge_token.hex()
            self._learn(
                "charges",
                f"{one.customer_id} {one.currency} {one.job_id} {one.hold_id} {one.amount_cents} {token}",
            )
            if index % 2:
                continue
            request = wallets_pb.DeductRequest(
                customer_id=one.customer_id,
                currency=one.currency,
                amount_cents=one.amount_cents,
                idempotency_key=one.idempotency_key,
                hold_id=one.hold_id,
                job_id=one.job_id,
                charge_token=one.charge_token,
            )
            made = self._call(self._stack.wallets.Deduct, request, self._tokens.runner)
            transaction_id = self._learn("transaction_id", made.transaction.id)
            self._learn("receipts", f"{one.job_id} {transaction_id} {made.receipt.hex()}")

    def _submit(self, customer_id: str, job_type: str = "") -> str:
        request = pb.CreateJobRequest(
            job_id=self._id("job_id"),
            customer_id=customer_id,
            job_type=job_type or self._random.choice(self._known["job_type"]),
            input_json='{"n": 1}',
            labels={"a": "b"},
        )
        job: job_pb2.Job = self._call(self._stack.jobs.CreateJob, request).job
        return job.id

    def _page_tokens(self) -> Iterator[str]:
        stack, customer_id = self._stack, self._known["customer_id"][0]
        one = 1
        customers = customer_service_pb2.ListCustomersRequest(page_size=one)
        yield self._call(stack.customers.ListCustomers, customers).next_page_token
        keys = customer_service_pb2.ListApiKeysRequest(customer_id=customer_id, page_size=one)
        yield self._call(stack.customers.ListApiKeys, keys).next_page_token
        yield self._call(stack.wallets.ListWallets, wallets_pb.ListWalletsRequest(page_size=one)).next_page_token
        yield self._call(stack.jobs.ListJobs, pb.ListJobsRequest(page_size=one)).next_page_token
        types = job_type_service_pb2.ListJobTypesRequest(page_size=one)
        yield self._call(stack.job_types.ListJobTypes, types).next_page_token
