"""What exists while requests are sent: customers with money, jobs in all states, and the tokens of lists."""

import random
from collections.abc import Iterator, Mapping
from uuid import UUID

from innosystem.customers.v1 import customer_service_pb2
from innosystem.jobs.v1 import job_pb2, job_type_pb2, job_type_service_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.wallets.v1 import wallet_service_pb2 as wallets_pb
from tests.e2e.stack import Stack

_SECONDS = 30.0
_CENTS = 1_000_000
_SCHEMA = '{"type": "object"}'


def prepare(stack: Stack, seed: str) -> Mapping[str, list[str]]:
    """Create it; return its IDs and tokens by the names of the fields that hold them.

    Args:
        stack: The services.
        seed: Decides on the IDs that callers choose.
    """
    return _World(stack, random.Random(seed)).known()


class _World:
    def __init__(self, stack: Stack, choose: random.Random) -> None:
        self._stack = stack
        self._random = choose
        self._known: dict[str, list[str]] = {}

    def known(self) -> Mapping[str, list[str]]:
        for _ in range(2):
            self._customer()
        self._job_types()
        self._jobs()
        self._known["page_token"] = [*self._tokens()]
        return self._known

    def _id(self, name: str) -> str:
        made = str(UUID(int=self._random.getrandbits(128), version=4))
        return self._learn(name, made)

    def _learn(self, name: str, value: str) -> str:
        self._known.setdefault(name, []).append(value)
        return value

    def _customer(self) -> None:
        stack, customer_id = self._stack, self._id("customer_id")
        email = self._learn("email", f"{customer_id}@example.com")
        create = customer_service_pb2.CreateCustomerRequest(customer_id=customer_id, name="Ada", email=email)
        self._learn("api_key", stack.customers.CreateCustomer(create, timeout=_SECONDS).api_key)
        rotate = customer_service_pb2.RotateApiKeyRequest(customer_id=customer_id, api_key_id=self._id("api_key_id"))
        self._learn("api_key", stack.customers.RotateApiKey(rotate, timeout=_SECONDS).api_key)
        for currency in ("EUR", "USD"):
            wallet = wallets_pb.CreateWalletRequest(
                wallet_id=self._id("wallet_id"), customer_id=customer_id, currency=currency
            )
            stack.wallets.CreateWallet(wallet, timeout=_SECONDS)
            credit = wallets_pb.CreditRequest(
                customer_id=customer_id,
                currency=currency,
                amount_cents=_CENTS,
                idempotency_key=self._id("idempotency_key"),
            )
            self._learn("transaction_id", stack.wallets.Credit(credit, timeout=_SECONDS).transaction.id)
            hold = wallets_pb.PlaceHoldRequest(
                hold_id=self._id("hold_id"),
                customer_id=customer_id,
                currency=currency,
                amount_cents=5,
                job_id=self._id("job_id"),
            )
            stack.wallets.PlaceHold(hold, timeout=_SECONDS)

    def _job_types(self) -> None:
        for index in range(3):
            job_type = job_type_pb2.JobType(
                id=self._id("job_type_id"),
                name=self._learn("job_type", f"fuzz-{self._random.getrandbits(64):x}"),
                processing_logic_id=self._learn("processing_logic_id", "echo"),
                processor_type=job_type_pb2.PROCESSOR_TYPE_ASYNC,
                standard_cost_cents=5 * index,
                queue=self._learn("queue", "fuzz"),
                max_attempts=2,
                input_schema_json=_SCHEMA,
            )
            request = job_type_service_pb2.CreateJobTypeRequest(job_type=job_type)
            self._learn("etag", self._stack.job_types.CreateJobType(request, timeout=_SECONDS).job_type.etag)

    def _jobs(self) -> None:
        jobs = self._stack.jobs
        submitted = [self._submit() for _ in range(12)]
        claim = pb.ClaimJobsRequest(
            job_ids=submitted[:9],
            runner_id=self._id("runner_id"),
            lease_id=(lease_id := self._id("lease_id")),
            queues=["fuzz"],
        )
        jobs.ClaimJobs(claim, timeout=_SECONDS)
        done = [pb.JobCompletion(job_id=one, lease_id=lease_id, output_json="1") for one in submitted[:4]]
        failed = pb.JobCompletion(
            job_id=submitted[4], lease_id=lease_id, error=job_pb2.JobError(type="Bad", message="bad")
        )
        jobs.CompleteJobs(pb.CompleteJobsRequest(completions=[*done, failed]), timeout=_SECONDS)
        for one in submitted:
            job = jobs.GetJob(pb.GetJobRequest(job_id=one), timeout=_SECONDS).job
            if job.hold_id:
                self._learn("charges", f"{job.customer_id} EUR {job.id} {self._learn('hold_id', job.hold_id)}")
        jobs.CancelJob(pb.CancelJobRequest(job_id=submitted[9]), timeout=_SECONDS)

    def _submit(self) -> str:
        request = pb.CreateJobRequest(
            job_id=self._id("job_id"),
            customer_id=self._known["customer_id"][0],
            job_type=self._random.choice(self._known["job_type"]),
            input_json='{"n": 1}',
            labels={"a": "b"},
        )
        return self._stack.jobs.CreateJob(request, timeout=_SECONDS).job.id

    def _tokens(self) -> Iterator[str]:
        stack, customer_id = self._stack, self._known["customer_id"][0]
        one = 1
        yield stack.customers.ListCustomers(
            customer_service_pb2.ListCustomersRequest(page_size=one), timeout=_SECONDS
        ).next_page_token
        keys = customer_service_pb2.ListApiKeysRequest(customer_id=customer_id, page_size=one)
        yield stack.customers.ListApiKeys(keys, timeout=_SECONDS).next_page_token
        wallets = wallets_pb.ListWalletsRequest(page_size=one)
        yield stack.wallets.ListWallets(wallets, timeout=_SECONDS).next_page_token
        yield stack.jobs.ListJobs(pb.ListJobsRequest(page_size=one), timeout=_SECONDS).next_page_token
        types = job_type_service_pb2.ListJobTypesRequest(page_size=one)
        yield stack.job_types.ListJobTypes(types, timeout=_SECONDS).next_page_token
