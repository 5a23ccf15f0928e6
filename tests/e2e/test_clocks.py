"""A service on a machine whose clock is wrong judges all times by its database's."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from innosystem.client import Innosystem
from innosystem.customers.v1.customer_service_pb2 import CreateCustomerRequest
from innosystem.jobs.v1.job_pb2 import JOB_STATUS_PENDING, JOB_STATUS_SCHEDULED, Job
from innosystem.jobs.v1.job_service_pb2 import CreateJobRequest
from innosystem.jobs.v1.job_type_pb2 import PROCESSOR_TYPE_ASYNC, JobType
from innosystem.jobs.v1.job_type_service_pb2 import CreateJobTypeRequest
from innosystem.wallets.v1.wallet_service_pb2 import CreateWalletRequest, CreditRequest, GetWalletRequest, WalletOwner
from services import SERVICES
from tests.conftest import as_service
from tests.e2e.processes import Process

COST_CENTS = 5
AHEAD = timedelta(minutes=5)


@pytest.fixture(params=[AHEAD, -AHEAD], ids=["ahead", "behind"])
def addresses(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_database: Callable[[str], str], redis_url: str
) -> Iterator[dict[str, str]]:
    """Where the services are; the clock of jobs is five minutes off."""
    started: dict[str, Process] = {}
    found: dict[str, str] = {}
    queue = {"REDIS_URL": redis_url, "REDIS_KEY_PREFIX": f"{uuid4()}:"}
    try:
        for service in SERVICES:
            upper = service.upper()
            url = as_service(service, fresh_database(service))
            own = {f"{upper}_DATABASE_URL": url, f"{upper}_LISTEN_ADDRESS": "127.0.0.1:0"}
            peers = {f"{name.upper()}_ADDRESS": address for name, address in found.items()}
            how = [f"services.{service}"]
            if service == "jobs":
                how = ["tests.e2e.shifted_clock", str(request.param.total_seconds()), *how]
            started[service] = Process(*how, environment={**own, **peers, **queue}, folder=tmp_path)
            found[service] = started[service].logged("serving")["address"]
        [skew] = [started["jobs"].logged("clock_skewed", of="innosystem-jobs")["ahead_seconds"]]
        assert abs(skew + request.param.total_seconds()) < 1
        yield found
    finally:
        for process in started.values():
            process.kill()


async def customer_with_money(platform: Innosystem) -> str:
    customer_id = str(uuid4())
    await platform.customers.CreateCustomer(
        CreateCustomerRequest(customer_id=customer_id, name="Ada", email=f"{customer_id}@example.com")
    )
    await platform.wallets.CreateWallet(CreateWalletRequest(customer_id=customer_id, currency="EUR"))
    await platform.wallets.Credit(
        CreditRequest(customer_id=customer_id, currency="EUR", amount_cents=100, idempotency_key="funds")
    )
    return customer_id


async def test_a_clock_that_is_wrong_reserves_once_and_runs_nothing_early(addresses: dict[str, str]) -> None:
    async with Innosystem(**addresses) as platform:
        customer_id = await customer_with_money(platform)
        job_type = JobType(
            name="shifted",
            processing_logic_id="e2e.double",
            processor_type=PROCESSOR_TYPE_ASYNC,
            standard_cost_cents=COST_CENTS,
            currency="EUR",
        )
        await platform.job_types.CreateJobType(CreateJobTypeRequest(job_type=job_type))

        async def submit(run_at: datetime | None = None, expires_at: datetime | None = None) -> Job:
            request = CreateJobRequest(customer_id=customer_id, job_type="shifted", input_json="1")
            for field, value in (("run_at", run_at), ("expires_at", expires_at)):
                if value is not None:
                    stamp = Timestamp()
                    stamp.FromDatetime(value)
                    getattr(request, field).CopyFrom(stamp)
            return (await platform.jobs.CreateJob(request)).job

        now = datetime.now(UTC)
        at_once = await submit(expires_at=now + timedelta(minutes=1))
        assert at_once.status == JOB_STATUS_PENDING
        later = await submit(run_at=now + timedelta(minutes=2))
        assert later.status == JOB_STATUS_SCHEDULED
        wallet = (
            await platform.wallets.GetWallet(
                GetWalletRequest(owner=WalletOwner(customer_id=customer_id, currency="EUR"))
            )
        ).wallet
        assert wallet.pending_charges_cents == 2 * COST_CENTS
