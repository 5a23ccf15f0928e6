"""The services and runners as processes, on databases and a Redis that are given, and clients of them."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from innosystem.client import InnosystemError, error_from
from innosystem.client.service_config import service_config
from innosystem.customers.v1 import customer_service_pb2
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.jobs.v1 import job_pb2, job_service_pb2, job_type_pb2, job_type_service_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.jobs.v1.job_type_service_pb2_grpc import JobTypeServiceStub
from innosystem.wallets.v1 import wallet_pb2, wallet_service_pb2
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from tests.conftest import as_service
from tests.e2e.processes import Process
from tools.local.credentials import Credentials

# Clients of tests see each failure, and find a server again as soon as it is back. Without a service config nothing is
# repeated but what no server has seen, as when it asks for a new connection in the moment of a call.
_CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]
_TIMEOUT_SECONDS = 15.0


def refusal(call: Callable[[], object]) -> InnosystemError | None:
    """The error that a call fails with, or None if it does not fail.

    A failure of gRPC itself, such as a refused connection, is one without a reason.
    """
    try:
        call()
    except grpc.RpcError as error:
        return error_from(error) or InnosystemError(error.code(), error.details() or "")
    return None


@dataclass
class Stack:
    """What runs, by name.

    Attributes:
        folder: Where the processes work.
        database_urls: The databases, by service, as their owner connects.
        redis_url: The queue.
        key_prefix: Keeps the queue's lists apart from those of other tests.
        credentials: How channels are protected; None for channels without TLS.
        issued: By which the processes know each other; by default nobody has to authenticate.
    """

    folder: Path
    database_urls: Mapping[str, str]
    redis_url: str
    key_prefix: str = ""
    credentials: grpc.ChannelCredentials | None = None
    issued: Credentials = field(default_factory=Credentials)
    processes: dict[str, Process] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    _opened: ExitStack = field(default_factory=ExitStack)
    _channels: dict[str, grpc.Channel] = field(default_factory=dict)

    def environment(self, service: str) -> dict[str, str]:
        """The settings of a service. It listens where it did before, if it was started before."""
        name = service.upper()
        settings = {
            f"{name}_DATABASE_URL": as_service(service, self.database_urls[service]),
            f"{name}_LISTEN_ADDRESS": self.addresses.get(service, "127.0.0.1:0"),
            **self.issued.shared,
            **self.issued.services.get(service, {}),
        }
        if service != "wallets":
            settings |= self._queue()
        if service != "customers":
            settings["CUSTOMERS_ADDRESS"] = self.addresses.get("customers", "127.0.0.1:1")
        if service == "jobs":
            settings["WALLETS_ADDRESS"] = self.addresses.get("wallets", "127.0.0.1:1")
        return settings

    def start(self, *services: str, **settings: str) -> None:
        """Start services one after the other, each until it serves."""
        for service in services:
            environment = self.environment(service) | settings
            process = Process(f"services.{service}", environment=environment, folder=self.folder)
            self.processes[service] = process
            self.addresses[service] = process.logged("serving")["address"]

    def start_runner(self, handlers: str | None, **settings: str) -> Process:
        """Start a runner with a module of handlers or without one, until it is ready."""
        environment = {
            **self._queue(),
            "JOBS_ADDRESS": self.addresses["jobs"],
            "WALLETS_ADDRESS": self.addresses["wallets"],
            **self.issued.runner,
            **settings,
        }
        modules = ("--handlers", handlers) if handlers else ()
        runner = Process("innosystem.runner", *modules, environment=environment, folder=self.folder)
        self.processes[f"runner-{runner.pid}"] = runner
        runner.logged("runner_ready")
        return runner

    def _queue(self) -> dict[str, str]:
        return {"REDIS_URL": self.redis_url, "REDIS_KEY_PREFIX": self.key_prefix}

    def restart(self, service: str) -> None:
        """Stop a service and start it again where it was."""
        assert self.processes[service].stop() == 0
        self.start(service)

    def close(self) -> None:
        """End all that runs."""
        self._opened.close()
        for process in self.processes.values():
            process.kill()

    def channel(self, service: str) -> grpc.Channel:
        """A channel to a service."""
        if service not in self._channels:
            channel = (
                grpc.secure_channel(self.addresses[service], self.credentials, options=_CHANNEL_OPTIONS)
                if self.credentials
                else grpc.insecure_channel(self.addresses[service], options=_CHANNEL_OPTIONS)
            )
            self._channels[service] = self._opened.enter_context(channel)
        return self._channels[service]

    def retrying_channel(self, service: str) -> grpc.Channel:
        """A channel that repeats calls as the SDK's do."""
        options = [*_CHANNEL_OPTIONS[1:], ("grpc.service_config", service_config())]
        return self._opened.enter_context(grpc.insecure_channel(self.addresses[service], options=options))

    def health(self, service: str, name: str = "") -> str:
        """What the health service of a service says."""
        stub = health_pb2_grpc.HealthStub(self.channel(service))
        request = health_pb2.HealthCheckRequest(service=name)
        response = stub.Check(request, timeout=_TIMEOUT_SECONDS)  # type: ignore[attr-defined] # untyped
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))

    @property
    def jobs(self) -> JobServiceStub:
        """JobService."""
        return JobServiceStub(self.channel("jobs"))

    @property
    def job_types(self) -> JobTypeServiceStub:
        """JobTypeService."""
        return JobTypeServiceStub(self.channel("jobs"))

    @property
    def customers(self) -> CustomerServiceStub:
        """CustomerService."""
        return CustomerServiceStub(self.channel("customers"))

    @property
    def wallets(self) -> WalletServiceStub:
        """WalletService."""
        return WalletServiceStub(self.channel("wallets"))

    def customer(self) -> str:
        """Create a customer."""
        request = new_customer()
        self.customers.CreateCustomer(request, timeout=_TIMEOUT_SECONDS)
        return request.customer_id

    def paying_customer(self) -> str:
        """Create a customer with money enough."""
        customer_id = self.customer()
        self.wallet(customer_id, 1_000_000)
        return customer_id

    def wallet(self, customer_id: str, cents: int = 0) -> wallet_pb2.Wallet:
        """Create a wallet with money in it."""
        create = wallet_service_pb2.CreateWalletRequest(wallet_id=str(uuid4()), customer_id=customer_id)
        wallet = self.wallets.CreateWallet(create, timeout=_TIMEOUT_SECONDS).wallet
        return self.wallets.Credit(new_credit(wallet, cents), timeout=_TIMEOUT_SECONDS).wallet if cents else wallet

    def job_type(self, processing_logic_id: str, **values: Any) -> str:
        """Create a job type that costs 5 cents; return its name."""
        job_type = job_type_pb2.JobType(
            **{
                "id": str(uuid4()),
                "name": f"type-{uuid4()}",
                "processing_logic_id": processing_logic_id,
                "processor_type": job_type_pb2.PROCESSOR_TYPE_ASYNC,
                "standard_cost_cents": 5,
                # One attempt: whatever uses one up fails the job.
                "max_attempts": 1,
                **values,
            }
        )
        request = job_type_service_pb2.CreateJobTypeRequest(job_type=job_type)
        return self.job_types.CreateJobType(request, timeout=_TIMEOUT_SECONDS).job_type.name

    def submit(self, request: job_service_pb2.CreateJobRequest, request_id: str = "") -> job_pb2.Job:
        """Submit a job."""
        metadata = (("x-request-id", request_id),) if request_id else ()
        return self.jobs.CreateJob(request, timeout=_TIMEOUT_SECONDS, metadata=metadata).job

    def job(self, job_id: str) -> job_pb2.Job:
        """Read a job."""
        return self.jobs.GetJob(job_service_pb2.GetJobRequest(job_id=job_id), timeout=_TIMEOUT_SECONDS).job


def new_customer() -> customer_service_pb2.CreateCustomerRequest:
    """A customer of whom there is no other."""
    customer_id = str(uuid4())
    return customer_service_pb2.CreateCustomerRequest(
        customer_id=customer_id, name="Ada", email=f"{customer_id}@example.com"
    )


def new_credit(wallet: wallet_pb2.Wallet, cents: int) -> wallet_service_pb2.CreditRequest:
    """A credit under a key of its own."""
    return wallet_service_pb2.CreditRequest(
        customer_id=wallet.customer_id, currency=wallet.currency, amount_cents=cents, idempotency_key=str(uuid4())
    )


def new_job(customer_id: str, job_type: str, input_json: str = "") -> job_service_pb2.CreateJobRequest:
    """A submission."""
    return job_service_pb2.CreateJobRequest(
        job_id=str(uuid4()), customer_id=customer_id, job_type=job_type, input_json=input_json
    )
