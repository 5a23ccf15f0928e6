"""The real grpcurl against real processes: all that the documentation tells operators to type."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from innosystem.jobs.v1 import job_service_pb2
from services import SERVICES
from tests.e2e.stack import Stack

GRPCURL = Path(sys.executable).parent / "grpcurl"


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, fresh_database: Callable[[str], str], redis_url: str
) -> Iterator[Stack]:
    urls = {service: fresh_database(service) for service in SERVICES}
    stack = Stack(tmp_path_factory.mktemp("grpcurl"), urls, redis_url, key_prefix=f"{uuid4()}:")
    stack.start(*SERVICES)
    yield stack
    stack.close()


def grpcurl(*arguments: str, request: Any = None) -> subprocess.CompletedProcess[str]:
    data = () if request is None else ("-d", json.dumps(request))
    command = [str(GRPCURL), "-plaintext", *data, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def response(*arguments: str, request: Any = None) -> Any:
    done = grpcurl(*arguments, request=request)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_list_names_the_services_and_their_methods(running: Stack) -> None:
    common = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    expected = {
        "customers": {"innosystem.customers.v1.CustomerService"},
        "wallets": {"innosystem.wallets.v1.WalletService"},
        "jobs": {"innosystem.jobs.v1.JobService", "innosystem.jobs.v1.JobTypeService"},
    }
    for service, names in expected.items():
        assert set(grpcurl(running.addresses[service], "list").stdout.split()) == names | common

    methods = grpcurl(running.addresses["jobs"], "list", "innosystem.jobs.v1.JobService").stdout.split()
    described = job_service_pb2.DESCRIPTOR.services_by_name["JobService"]
    assert set(methods) == {method.full_name for method in described.methods}


@pytest.mark.parametrize("symbol", ["JobService.CreateJob", "CreateJobRequest"])
def test_describe_shows_a_method_and_a_message(running: Stack, symbol: str) -> None:
    done = grpcurl(running.addresses["jobs"], "describe", f"innosystem.jobs.v1.{symbol}")

    assert done.returncode == 0, done.stderr
    assert f"innosystem.jobs.v1.{symbol} is a" in done.stdout
    assert ("CreateJobRequest ) returns" if "." in symbol else "string job_id = 1") in done.stdout


def test_describe_shows_the_comments_of_the_contract(running: Stack) -> None:
    done = grpcurl(running.addresses["jobs"], "describe", "innosystem.jobs.v1.JobService.CreateJob")

    assert "CreateJob accepts a job. Once the call has returned, the job is not lost" in done.stdout

    message = grpcurl(running.addresses["jobs"], "describe", "innosystem.jobs.v1.CreateJobRequest")
    assert "max_cost_cents is the highest price the caller agrees to" in message.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_health_says_serving(running: Stack, service: str) -> None:
    name = {"customers": "customers.v1.CustomerService", "wallets": "wallets.v1.WalletService"}.get(
        service, "jobs.v1.JobTypeService"
    )
    check = (running.addresses[service], "grpc.health.v1.Health/Check")

    assert response(*check) == {"status": "SERVING"}
    assert response(*check, request={"service": f"innosystem.{name}"}) == {"status": "SERVING"}
    assert "NotFound" in grpcurl(*check, request={"service": "nobody"}).stderr


def test_a_job_is_submitted_and_read(running: Stack) -> None:
    customers, jobs = running.addresses["customers"], running.addresses["jobs"]
    customer_id, job_id = str(uuid4()), str(uuid4())
    created = response(
        customers,
        "innosystem.customers.v1.CustomerService/CreateCustomer",
        request={"customer_id": customer_id, "name": "Ada", "email": f"{customer_id}@example.com"},
    )
    assert created["apiKey"]
    job_type = {
        "name": f"type-{job_id}",
        "processing_logic_id": "echo",
        "processor_type": "PROCESSOR_TYPE_ASYNC",
        "standard_cost_cents": 5,
    }
    response(jobs, "innosystem.jobs.v1.JobTypeService/CreateJobType", request={"job_type": job_type})
    wallets, owner = running.addresses["wallets"], {"customer_id": customer_id, "currency": "EUR"}
    response(wallets, "innosystem.wallets.v1.WalletService/CreateWallet", request={"wallet_id": str(uuid4()), **owner})
    credit = {**owner, "amount_cents": 12, "idempotency_key": "the first"}
    response(wallets, "innosystem.wallets.v1.WalletService/Credit", request=credit)
    submission = {
        "job_id": job_id,
        "customer_id": customer_id,
        "job_type": job_type["name"],
        "priority": "PRIORITY_HIGH",
        "input_json": '{"n": 1}',
    }

    submitted = response(jobs, "innosystem.jobs.v1.JobService/CreateJob", request=submission)
    read = response(jobs, "innosystem.jobs.v1.JobService/GetJob", request={"job_id": job_id})

    assert submitted["job"]["status"] == read["job"]["status"] == "JOB_STATUS_PENDING"
    assert (read["job"]["id"], read["job"]["priority"]) == (job_id, "PRIORITY_HIGH")
    assert read["job"]["inputJson"] == '{"n": 1}'
    assert read["job"]["estimatedCostCents"] == "5"
    reserved = response(wallets, "innosystem.wallets.v1.WalletService/GetWallet", request={"owner": owner})
    assert (reserved["wallet"]["pendingChargesCents"], reserved["wallet"]["availableCents"]) == ("5", "7")


def test_an_error_is_shown_with_its_reason_and_details(running: Stack) -> None:
    jobs = running.addresses["jobs"]
    unknown = str(uuid4())

    missing = grpcurl(jobs, "innosystem.jobs.v1.JobService/GetJob", request={"job_id": unknown})
    malformed = grpcurl(jobs, "innosystem.jobs.v1.JobService/GetJob", request={"job_id": "nonsense"})

    assert missing.returncode != 0
    for word in ("NotFound", "JOB_NOT_FOUND", '"domain":"innosystem"', unknown):
        assert word in missing.stderr
    for word in ("InvalidArgument", "INVALID_FIELD", '"field_violations"', '"field":"job_id"'):
        assert word in malformed.stderr
