"""What the services do while something they need is unavailable, and when they are asked to stop."""

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import grpc
import psycopg
import pytest
import redis

from innosystem.client import InnosystemError
from innosystem.customers.v1 import customer_service_pb2
from innosystem.customers.v1.customer_service_pb2_grpc import CustomerServiceStub
from innosystem.jobs.v1 import job_pb2, job_service_pb2
from innosystem.jobs.v1.job_service_pb2_grpc import JobServiceStub
from innosystem.wallets.v1 import wallet_service_pb2
from innosystem.wallets.v1.wallet_service_pb2_grpc import WalletServiceStub
from services import SERVICES
from tests.e2e.conftest import Servers
from tests.e2e.load import Load
from tests.e2e.processes import Process
from tests.e2e.stack import Stack, new_credit, new_customer, new_job, refusal
from tests.support.until import until_sync

NAMES = {
    "customers": "innosystem.customers.v1.CustomerService",
    "wallets": "innosystem.wallets.v1.WalletService",
    "jobs": "innosystem.jobs.v1.JobService",
}
CALL_SECONDS = 20


def reading(stack: Stack, service: str) -> Callable[[], object]:
    """Create a call that a service can't serve without its database."""
    calls: dict[str, Callable[[], object]] = {
        "customers": lambda: stack.customers.ListCustomers(
            customer_service_pb2.ListCustomersRequest(), timeout=CALL_SECONDS
        ),
        "wallets": lambda: stack.wallets.ListWallets(wallet_service_pb2.ListWalletsRequest(), timeout=CALL_SECONDS),
        "jobs": lambda: stack.jobs.ListJobs(job_service_pb2.ListJobsRequest(), timeout=CALL_SECONDS),
    }
    return calls[service]


def expect_unavailable(error: InnosystemError | None) -> None:
    """Check that an error says that the database is unavailable, and when to retry."""
    assert error is not None
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
    assert error.retry_after_seconds


def expect_recovery(stack: Stack, service: str, pid: int) -> None:
    """Wait until a service serves again, and look that it is the same process."""
    for name in ("", NAMES[service]):
        until_sync(lambda name=name: stack.health(service, name) == "SERVING")  # type: ignore[misc] # bound immediately
    until_sync(lambda: refusal(reading(stack, service)) is None)
    assert stack.processes[service].running
    assert stack.processes[service].pid == pid


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_whose_database_is_down_at_its_start_waits_for_it(
    own_stack: Stack, servers: Servers, service: str
) -> None:
    servers.postgres.stop(mode="fast")

    own_stack.start(service)

    process = own_stack.processes[service]
    process.logged("dependency_down", dependency="database", required=True)
    assert own_stack.health(service) == "NOT_SERVING"
    assert own_stack.health(service, NAMES[service]) == "NOT_SERVING"
    expect_unavailable(refusal(reading(own_stack, service)))
    servers.postgres.start()
    expect_recovery(own_stack, service, process.pid)
    process.logged("dependency_up", dependency="database")
    # It is said when it changes, and not with every look.
    assert len(process.lines("dependency_down", dependency="database")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_survives_the_crash_of_its_database(own_stack: Stack, servers: Servers, service: str) -> None:
    own_stack.start(service)
    process = own_stack.processes[service]
    until_sync(lambda: own_stack.health(service) == "SERVING")

    with Load(lambda: ("", reading(own_stack, service))) as load:
        until_sync(lambda: len(load.outcomes) > 50)
        servers.postgres.stop(mode="immediate")
        until_sync(lambda: load.errors)
        until_sync(lambda: own_stack.health(service) == "NOT_SERVING")
        expect_unavailable(refusal(reading(own_stack, service)))
        servers.postgres.start()
        expect_recovery(own_stack, service, process.pid)

    # However it came: in the middle of a statement, at the start of one, or without any connection.
    assert {(error.code, error.reason) for error in load.errors} == {
        (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
    }


def waiting(client: "redis.Redis", stack: Stack) -> set[str]:
    """The IDs in the lists of the queue."""
    names = [f"{stack.key_prefix}jobs:p{priority}:pending" for priority in range(3)]
    return {str(job_id) for name in names for job_id in client.lrange(name, 0, -1)}


def test_while_redis_is_down_jobs_are_accepted_at_once_and_pushed_when_it_is_back(
    own_stack: Stack, servers: Servers
) -> None:
    own_stack.start(*SERVICES)
    customer_id, job_type = own_stack.paying_customer(), own_stack.job_type("echo")
    servers.redis.stop()

    began = time.monotonic()
    submitted = [own_stack.submit(new_job(customer_id, job_type)).id for _ in range(5)]
    assert time.monotonic() - began < 5

    assert {own_stack.job(job_id).status for job_id in submitted} == {job_pb2.JOB_STATUS_PENDING}
    own_stack.processes["jobs"].logged("background_work_failing", loop="pushing")
    assert own_stack.health("jobs", NAMES["jobs"]) == "SERVING"
    stats = job_service_pb2.GetQueueStatsRequest(queues=["default"])
    until_sync(lambda: [one.dispatched for one in own_stack.jobs.GetQueueStats(stats).queues] == [0, 0, 0])
    servers.redis.start()
    with redis.Redis.from_url(servers.redis.url, decode_responses=True) as client:
        until_sync(lambda: waiting(client, own_stack) == set(submitted))
    until_sync(lambda: [one.dispatched for one in own_stack.jobs.GetQueueStats(stats).queues] == [0, 5, 0])
    own_stack.processes["jobs"].logged("background_work_recovered", loop="pushing")


@pytest.mark.slow
def test_a_restarted_jobs_service_pushes_again_what_redis_has_lost(stack: Stack) -> None:
    stack.start(*SERVICES)
    customer_id, job_type = stack.paying_customer(), stack.job_type("echo")
    submitted = {stack.submit(new_job(customer_id, job_type)).id for _ in range(5)}
    with redis.Redis.from_url(stack.redis_url, decode_responses=True) as client:
        until_sync(lambda: waiting(client, stack) == submitted)
        client.delete(f"{stack.key_prefix}jobs:p1:pending")

        stack.restart("jobs")

        until_sync(lambda: waiting(client, stack) == submitted)


Call = tuple[str, Callable[[], object]]


def creating_customers(stack: Stack) -> Callable[[], Call]:
    """Create calls that store a customer each."""
    stub = CustomerServiceStub(stack.retrying_channel("customers"))

    def call() -> Call:
        request = new_customer()
        return request.customer_id, lambda: stub.CreateCustomer(request, timeout=CALL_SECONDS)

    return call


def crediting_a_wallet(stack: Stack) -> Callable[[], Call]:
    """Create calls that store a transaction each."""
    wallet = stack.wallet(str(uuid4()))
    stub = WalletServiceStub(stack.retrying_channel("wallets"))

    def call() -> Call:
        request = new_credit(wallet, 1)
        return request.idempotency_key, lambda: stub.Credit(request, timeout=CALL_SECONDS)

    return call


def submitting_jobs(stack: Stack) -> Callable[[], Call]:
    """Create calls that store a job each."""
    customer_id, job_type = stack.paying_customer(), stack.job_type("echo")
    stub = JobServiceStub(stack.retrying_channel("jobs"))

    def call() -> Call:
        request = new_job(customer_id, job_type)
        return request.job_id, lambda: stub.CreateJob(request, timeout=CALL_SECONDS)

    return call


@pytest.mark.parametrize(
    ("service", "calls", "stored"),
    [
        ("customers", creating_customers, "SELECT id::text FROM customers"),
        ("wallets", crediting_a_wallet, "SELECT idempotency_key FROM wallet_transactions"),
        ("jobs", submitting_jobs, "SELECT id::text FROM jobs"),
    ],
)
def test_a_service_told_to_stop_under_load_ends_cleanly_and_loses_no_call(
    stack: Stack, service: str, calls: Callable[[Stack], Callable[[], Call]], stored: str
) -> None:
    stack.start(*(SERVICES if service == "jobs" else (service,)))
    process = stack.processes[service]

    with Load(calls(stack)) as load:
        until_sync(lambda: len(load.returned) > 100)
        assert process.stop() == 0
        until_sync(lambda: load.errors)

    # Each call was returned, or refused so that the caller knows to send it again elsewhere.
    assert load.codes == {grpc.StatusCode.UNAVAILABLE}, {str(error) for error in load.errors}
    with psycopg.connect(stack.database_urls[service]) as connection:
        kept = {key for [key] in connection.execute(stored.encode())}
    assert set(load.returned) <= kept
    assert [bool(process.lines(event)) for event in ("draining", "stopped")] == [True, True]
    assert not process.lines("unexpected_error")
    assert "Traceback" not in process.output + process.errors


def test_a_request_id_shows_in_the_logs_of_all_services_on_its_way(stack: Stack) -> None:
    stack.start(*SERVICES)
    customer_id, job_type = stack.paying_customer(), stack.job_type("echo")
    request_id = f"from-the-test-{uuid4()}"

    stack.submit(new_job(customer_id, job_type), request_id)

    jobs, customers = stack.processes["jobs"], stack.processes["customers"]
    created = jobs.logged("call", method="/innosystem.jobs.v1.JobService/CreateJob", request_id=request_id)
    asked = customers.logged(
        "call", method="/innosystem.customers.v1.CustomerService/BatchGetCustomers", request_id=request_id
    )
    assert (created["service"], created["code"]) == ("jobs", "OK")
    assert (asked["service"], asked["code"]) == ("customers", "OK")


@pytest.mark.parametrize(
    ("service", "changes", "line"),
    [
        ("customers", {"CUSTOMERS_DATABASE_URL": None}, "customers: CUSTOMERS_DATABASE_URL is not set"),
        ("wallets", {"WALLETS_DATABASE_URL": None}, "wallets: WALLETS_DATABASE_URL is not set"),
        ("jobs", {"JOBS_DATABASE_URL": None}, "jobs: JOBS_DATABASE_URL is not set"),
        ("jobs", {"REDIS_URL": None}, "jobs: REDIS_URL is not set"),
        ("jobs", {"JOBS_DRAIN_SECONDS": "-1"}, "jobs: JOBS_DRAIN_SECONDS: "),
        ("wallets", {"WALLETS_DATABASE_POOL_SIZE": "many"}, "wallets: WALLETS_DATABASE_POOL_SIZE: "),
        ("customers", {"LOG_LEVEL": "LOUD"}, "customers: LOG_LEVEL: "),
    ],
)
def test_a_missing_or_wrong_setting_is_one_clear_line(
    tmp_path: Path, service: str, changes: dict[str, str | None], line: str
) -> None:
    nowhere = dict.fromkeys(SERVICES, "postgresql://localhost:1/none")
    environment = Stack(tmp_path, nowhere, "redis://localhost:1").environment(service)
    settings = {name: value for name, value in {**environment, **changes}.items() if value is not None}

    process = Process(f"services.{service}", environment=settings, folder=tmp_path)

    assert process.wait() == 2
    [error] = process.errors.splitlines()
    assert error.startswith(line)
    assert process.output == ""


@pytest.mark.parametrize("service", SERVICES)
def test_an_address_in_use_is_one_clear_line(tmp_path: Path, service: str) -> None:
    nowhere = dict.fromkeys(SERVICES, "postgresql://localhost:1/none")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        stack = Stack(tmp_path, nowhere, "redis://localhost:1", addresses={service: address})
        process = Process(f"services.{service}", environment=stack.environment(service), folder=tmp_path)
        status = process.wait()

    assert status == 2
    # gRPC writes a line of its own before, in the format of its logs.
    [error] = [line for line in process.errors.splitlines() if not re.match(r"[EWI][0-9]{4} ", line)]
    assert error.startswith(f"{service}: can't listen on {address}")
    assert error.endswith(f"The setting is {service.upper()}_LISTEN_ADDRESS")
    assert not process.lines("serving")
