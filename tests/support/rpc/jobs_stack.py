"""Makes customers, job types and jobs over gRPC, and takes jobs through their lives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import uuid4

import redis

from innosystem.customers.v1 import customer_service_pb2
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.jobs.v1 import job_pb2, job_type_pb2, job_type_service_pb2, runner_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.jobs.v1.job_type_service_pb2_grpc import JobTypeServiceStub
from innosystem.wallets.v1 import wallet_pb2
from innosystem.wallets.v1 import wallet_service_pb2 as wallets_pb
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from tests.support.rpc.loop_thread import AioServer
from tests.support.rpc.refusals import reason_of
from tests.support.until import until_sync

CURRENCIES = ("EUR", "USD")


@dataclass(frozen=True)
class CustomersServer:
    """A running customers service, and where its database is."""

    address: str
    server: AioServer
    stub: CustomerServiceStub
    url: str


@dataclass(frozen=True)
class WalletsServer:
    """A running wallets service, and where its database is."""

    address: str
    server: AioServer
    stub: WalletServiceStub
    url: str


@dataclass(frozen=True)
class Lists:
    """The Redis lists of waiting jobs."""

    client: redis.Redis
    prefix: str

    def holding(self, name: str, job_ids: list[str]) -> list[str]:
        """Wait until a list holds as many IDs as given, and return it, the first to be popped first."""
        until_sync(
            lambda: self.client.llen(self.prefix + name) == len(job_ids),
            limit_seconds=10,
            context=lambda: self.client.lrange(self.prefix + name, 0, -1),
        )
        found: list[str] = self.client.lrange(self.prefix + name, 0, -1)  # type: ignore[assignment] # a blocking client
        return found[::-1]


@dataclass(frozen=True)
class JobsStack:
    """The stubs of the services, and what housekeeping does when a test wants it.

    Attributes:
        settle: One round of the settler, which makes no charges here.
        audit: One round of the hold auditor.
        end_waits: One round of the end of waits for the results of endpoints.
    """

    jobs: JobServiceStub
    job_types: JobTypeServiceStub
    customers: CustomerServiceStub
    wallets: WalletServiceStub
    settle: Callable[[], bool]
    audit: Callable[[], bool]
    end_waits: Callable[[], bool] = lambda: False

    def customer(self, cents: int = 100_000) -> str:
        """Create an active customer with wallets in two currencies, and credits them."""
        customer_id = str(uuid4())
        self.customers.CreateCustomer(
            customer_service_pb2.CreateCustomerRequest(
                customer_id=customer_id, name="Ada", email=f"{customer_id}@example.com"
            )
        )
        for currency in CURRENCIES:
            self.wallets.CreateWallet(
                wallets_pb.CreateWalletRequest(wallet_id=str(uuid4()), customer_id=customer_id, currency=currency)
            )
            if cents:
                self.credit(customer_id, cents, currency)
        return customer_id

    def credit(self, customer_id: str, cents: int, currency: str = "EUR") -> str:
        """Pays money in; returns the ID of the transaction."""
        request = wallets_pb.CreditRequest(
            customer_id=customer_id, currency=currency, amount_cents=cents, idempotency_key=str(uuid4())
        )
        return self.wallets.Credit(request).transaction.id

    def wallet(self, customer_id: str, currency: str = "EUR") -> wallet_pb2.Wallet:
        """Read a wallet."""
        owner = wallets_pb.WalletOwner(customer_id=customer_id, currency=currency)
        return self.wallets.GetWallet(wallets_pb.GetWalletRequest(owner=owner)).wallet

    def hold(self, hold_id: str) -> wallet_pb2.Hold:
        """Read a hold."""
        return self.wallets.GetHold(wallets_pb.GetHoldRequest(hold_id=hold_id)).hold

    def method(self, name: str) -> Any:
        """Return the stub's method of a name such as `JobService.GetJob`."""
        service, _, method = name.partition(".")
        stubs = {
            "CustomerService": self.customers,
            "JobService": self.jobs,
            "JobTypeService": self.job_types,
            "WalletService": self.wallets,
        }
        return getattr(stubs[service], method)

    def released(self, job_id: str) -> job_pb2.Job:
        """Has the hold of a job that ended without success released, and returns the job."""
        ended = (job_pb2.BILLING_STATUS_RELEASED, job_pb2.BILLING_STATUS_NOT_BILLABLE)
        self.settle()
        # It is done now, unless the service has a settler of its own.
        until_sync(lambda: self.get(job_id).billing_status in ended)
        return self.get(job_id)

    def job_type(self, **values: Any) -> job_type_pb2.JobType:
        """Create a job type that costs 5 cents."""
        request = job_type_service_pb2.CreateJobTypeRequest(job_type=new_job_type(**values))
        return self.job_types.CreateJobType(request).job_type

    def metered(self, standard_cost_cents: int = 4, **values: Any) -> job_type_pb2.JobType:
        """Create a job type that costs 2 cents a page, at most 10 and 4 if nothing is reported."""
        metering = {"unit": "page", "unit_price_micro_cents": 2_000_000, "max_cost_cents": 10, **values}
        return self.job_type(standard_cost_cents=standard_cost_cents, metering=job_type_pb2.Metering(**metering))

    def request(self, **values: Any) -> pb.CreateJobRequest:
        """A submission that is accepted, with a customer and a job type of its own unless they are given."""
        request = pb.CreateJobRequest(**{"job_id": str(uuid4()), "input_json": '{"n": 1}', **values})
        if "customer_id" not in values:
            request.customer_id = self.customer()
        if request.WhichOneof("type") is None:
            request.job_type = self.job_type().name
        return request

    def job(self, **values: Any) -> job_pb2.Job:
        """Submit a job."""
        return self.jobs.CreateJob(self.request(**values)).job

    def get(self, job_id: str, view: job_pb2.JobView.ValueType = job_pb2.JOB_VIEW_FULL) -> job_pb2.Job:
        """Read a job."""
        return self.jobs.GetJob(pb.GetJobRequest(job_id=job_id, view=view)).job

    def claim(self, *job_ids: str, lease_id: str) -> pb.ClaimJobsResponse:
        """Take jobs as a runner."""
        return self.jobs.ClaimJobs(pb.ClaimJobsRequest(job_ids=job_ids, runner_id=str(uuid4()), lease_id=lease_id))

    def announce(self, runner_id: str = "", **values: Any) -> str:
        """Describe a runner, as it does every ten seconds; return its ID."""
        values = {"runner_id": runner_id or str(uuid4()), "lease_id": str(uuid4()), "queues": ["default"], **values}
        request = pb.ClaimJobsRequest(**values)
        assert not self.jobs.ClaimJobs(request).jobs
        return request.runner_id

    def runner(self, **values: Any) -> runner_pb2.Runner:
        """Describe a new runner, and return it when it is listed."""
        request = pb.GetRunnerRequest(runner_id=self.announce(**values))
        until_sync(lambda: reason_of(partial(self.jobs.GetRunner, request)) != "RUNNER_NOT_FOUND")
        return self.jobs.GetRunner(request).runner

    def running(self, **values: Any) -> tuple[job_pb2.Job, str]:
        """Submit a job and claim it; return it and its lease."""
        job, lease_id = self.job(**values), str(uuid4())
        [claimed] = self.claim(job.id, lease_id=lease_id).jobs
        return claimed.job, lease_id

    def posted(self, **values: Any) -> tuple[job_pb2.Job, str, str]:
        """Submit a job that is posted to an endpoint, and claim it; return it, its lease and its callback token."""
        job, lease_id = self.job(**{"job_type": self.job_type(**WEBHOOK).name, **values}), str(uuid4())
        request = pb.ClaimJobsRequest(
            job_ids=[job.id], runner_id=str(uuid4()), lease_id=lease_id, handlers=["innosystem.webhook"]
        )
        [claimed] = self.jobs.ClaimJobs(request).jobs
        return claimed.job, lease_id, claimed.webhook.callback_token

    def awaiting(self, **values: Any) -> tuple[job_pb2.Job, str, str]:
        """Do the same, and report that the endpoint has accepted the job."""
        job, lease_id, token = self.posted(**values)
        [result] = self.complete(accepted(job.id, lease_id, token))
        assert result.HasField("recorded"), result
        return job, lease_id, token

    def complete(self, *completions: pb.JobCompletion) -> list[pb.JobCompletionResult]:
        """Report results."""
        return list(self.jobs.CompleteJobs(pb.CompleteJobsRequest(completions=completions)).results)

    def succeeded(self, **values: Any) -> job_pb2.Job:
        """Take a job to its success."""
        return self.used(None, **values)

    def used(self, usage_units: int | None, /, **values: Any) -> job_pb2.Job:
        """Take a job to its success, with a report of its usage unless that is None."""
        job, lease_id = self.running(**values)
        done = pb.JobCompletion(job_id=job.id, lease_id=lease_id, output_json="1", usage_units=usage_units)
        [result] = self.complete(done)
        assert result.HasField("recorded"), result
        return self.get(job.id)


#: What makes a job type one whose jobs are posted to an endpoint.
WEBHOOK: Final[Mapping[str, Any]] = {
    "processor_type": job_type_pb2.PROCESSOR_TYPE_WEBHOOK,
    "processing_logic_id": "innosystem.webhook",
    "webhook": job_type_pb2.Webhook(url="https://hooks.example.com/jobs", signing_secret="hooks"),
}


def accepted(job_id: str, lease_id: str, token: str) -> pb.JobCompletion:
    """The report that an endpoint has accepted a job."""
    return pb.JobCompletion(
        job_id=job_id, lease_id=lease_id, awaiting_callback=pb.AwaitingCallback(callback_token=token)
    )


def new_job_type(**values: Any) -> job_type_pb2.JobType:
    """A job type that can be created."""
    job_type_id = str(uuid4())
    defaults = {
        "id": job_type_id,
        "name": f"type-{job_type_id}",
        "processing_logic_id": "echo",
        "processor_type": job_type_pb2.PROCESSOR_TYPE_ASYNC,
        "standard_cost_cents": 5,
        # One attempt: whatever uses one up fails the job.
        "max_attempts": 1,
    }
    return job_type_pb2.JobType(**{**defaults, **values})
