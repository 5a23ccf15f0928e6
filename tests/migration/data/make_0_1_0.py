"""Makes the dumps beside this file: what the services of 0.1.0 leave in their databases when they did what they can.

It is run with the code of that release, and imports nothing of another one; README.md says how.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
from calls_0_1_0 import (
    ADA,
    ALAN,
    BARBARA,
    DISABLED,
    EDSGER,
    FREE,
    GOLD,
    GRACE,
    PAID,
    PAUSED,
    YEN,
    Platform,
    at,
    identity,
    seconds,
)
from dumping import dumped
from sqlalchemy import create_engine

from innosystem.client import Innosystem
from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.jobs.v1 import job_service_pb2 as jobs
from innosystem.jobs.v1 import job_type_pb2, job_type_service_pb2
from innosystem.jobs.v1.job_pb2 import JobError
from innosystem.wallets.v1 import wallet_service_pb2 as wallets
from services.cli.stack import SERVICES, Stack
from services.jobs import housekeeping_statements

PRICE = 250


async def make_customers(platform: Platform) -> None:
    client = platform.client
    await platform.customer(ADA, "Ada", EUR=100_000, USD=5_000, JPY=20_000, KWD=7_500)
    await platform.customer(GRACE, "Grace", EUR=10_000)
    await platform.customer(ALAN, "Alan", EUR=0)
    await platform.customer(EDSGER, "Edsger", EUR=1_000)
    # Gold has no minor unit, and ISO 4217 does not know the other one: this release asks for three letters.
    await platform.customer(BARBARA, "Barbara", XAU=1_000, ABC=1_000)
    # A key within its overlap, one that was replaced twice, and one that was replaced at once.
    for customer_id, overlaps in ((ADA, [86_400]), (GRACE, [86_400, 3_600]), (EDSGER, [0])):
        for overlap in overlaps:
            await client.customers.RotateApiKey(
                customers.RotateApiKeyRequest(customer_id=customer_id, overlap=seconds(overlap))
            )
    for deleted in (ALAN, BARBARA):
        await client.customers.DeleteCustomer(customers.DeleteCustomerRequest(customer_id=deleted))
    await client.customers.UndeleteCustomer(customers.UndeleteCustomerRequest(customer_id=BARBARA))
    renamed = {"id": GRACE, "name": "Grace H."}
    await client.customers.UpdateCustomer(
        customers.UpdateCustomerRequest(customer=renamed, update_mask={"paths": ["name"]})
    )


async def make_job_types(platform: Platform) -> None:
    common = {"processing_logic_id": "noop", "processor_type": job_type_pb2.PROCESSOR_TYPE_ASYNC, "currency": "EUR"}
    for fields in (
        {"id": PAID, "name": "paid", "standard_cost_cents": PRICE, "max_attempts": 3},
        {"id": FREE, "name": "free", "queue": "low", "default_priority": job_type_pb2.PRIORITY_LOW},
        {"id": PAUSED, "name": "paused", "standard_cost_cents": PRICE, "input_schema_json": '{"type": "object"}'},
        {"id": DISABLED, "name": "disabled", "standard_cost_cents": 1, "enabled": False},
        {"id": YEN, "name": "yen", "standard_cost_cents": 99, "currency": "JPY"},
        {"id": GOLD, "name": "gold", "standard_cost_cents": 3, "currency": "XAU"},
    ):
        await platform.client.job_types.CreateJobType(
            job_type_service_pb2.CreateJobTypeRequest(job_type=job_type_pb2.JobType(**{**common, **fields}))
        )
    await platform.client.job_types.PauseJobType(job_type_service_pb2.PauseJobTypeRequest(job_type_id=PAUSED))


async def make_receipts(platform: Platform, jobs_url: str) -> None:
    """Jobs that are gone, as retention leaves them: a receipt of what was charged, and the ledger."""
    await platform.succeed(await platform.submit(401))
    await platform.succeed(await platform.submit(402, job_type_id=YEN))
    await platform.run(await platform.submit(403, job_type_id=FREE))
    engine = create_engine(jobs_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        parameters = {"age": timedelta(0), "limit": 100}
        assert connection.execute(housekeeping_statements.DELETE_FINISHED, parameters)


async def make_ledger(platform: Platform) -> None:
    """Lines and holds that no job made."""
    call = platform.client.wallets
    deduction = partial(wallets.DeductRequest, customer_id=ADA, currency="USD")
    plain = await call.Deduct(deduction(amount_cents=700, idempotency_key="licence", description="a licence"))
    refund = partial(wallets.RefundRequest, transaction_id=plain.transaction.id)
    await call.Refund(refund(amount_cents=100, idempotency_key="some of it"))
    await call.Refund(refund(idempotency_key="all that is left"))
    for number in (801, 802):
        place = wallets.PlaceHoldRequest(
            hold_id=identity(number), job_id=identity(number + 50), customer_id=ADA, currency="USD", amount_cents=300
        )
        await call.PlaceHold(place)
    # One that was released, one of a job that never came, and one that was released and never placed.
    for number in (801, 803):
        await call.ReleaseHold(wallets.ReleaseHoldRequest(hold_id=identity(number)))
    await platform.credit(ADA, "KWD", 500, "second")


async def make_finished_jobs(platform: Platform) -> None:
    charged = await platform.succeed(await platform.submit(410, labels={"team": "maps", "größe": ""}))
    refund = wallets.RefundRequest(transaction_id=charged, amount_cents=50, idempotency_key="goodwill")
    await platform.client.wallets.Refund(refund)
    await platform.succeed(await platform.submit(411, GRACE, priority=job_type_pb2.PRIORITY_HIGH))
    whole = wallets.RefundRequest(job_id=identity(411), idempotency_key="never worked")
    await platform.client.wallets.Refund(whole)
    await platform.run(await platform.submit(412, job_type_id=FREE), output="null")
    await platform.fail(await platform.submit(413))
    await platform.cancel(await platform.submit(414))
    await platform.cancel(await platform.claim(await platform.submit(415)))
    for number in (413, 414, 415):
        await platform.until(identity(number), billing_status="RELEASED")
    # Failed, run again under a second hold, and charged; cancelled, run again, and cancelled again.
    await platform.fail(await platform.submit(416))
    await platform.cancel(await platform.submit(417))
    for number in (416, 417):
        await platform.until(identity(number), billing_status="RELEASED")
        await platform.retry(identity(number))
    await platform.succeed(identity(416))
    await platform.cancel(identity(417))
    await platform.fail(await platform.submit(418, job_type_id=FREE))
    await platform.submit(419, expires_at=at(datetime.now(UTC) + timedelta(seconds=1)))
    await platform.until(identity(419), status="CANCELLED", billing_status="RELEASED")
    await platform.claim(await platform.submit(420), 1)
    await platform.until(identity(420), status="FAILED", billing_status="RELEASED")


async def make_unpaid_jobs(platform: Platform) -> None:
    """Charges that were declined, blocked and written off: the holds are gone, and so is the money."""
    for number in (430, 431, 432):
        await platform.submit(number, EDSGER)
        await platform.claim(identity(number))
    for number in (430, 431, 432):
        await platform.client.wallets.ReleaseHold(
            wallets.ReleaseHoldRequest(hold_id=await platform.hold_of(identity(number)))
        )
    fee = wallets.DeductRequest(customer_id=EDSGER, currency="EUR", amount_cents=1_000, idempotency_key="fee")
    await platform.client.wallets.Deduct(fee)
    for number, reason in ((430, "INSUFFICIENT_FUNDS"), (431, "INSUFFICIENT_FUNDS"), (432, "HOLD_MISMATCH")):
        await platform.complete(identity(number), output_json="[]")
        await platform.settle(identity(number), declined=jobs.ChargeDeclined(reason=reason))
    await platform.client.jobs.WriteOffJob(jobs.WriteOffJobRequest(job_id=identity(431), reason="a courtesy"))
    # Charged by a hand that named no hold, so its own charge is refused, and the hold stays.
    await platform.submit(433)
    by_hand = wallets.DeductRequest(
        customer_id=ADA,
        currency="EUR",
        amount_cents=PRICE,
        job_id=identity(433),
        idempotency_key=f"job:{identity(433)}",
    )
    await platform.client.wallets.Deduct(by_hand)
    await platform.run(identity(433))
    await platform.settle(identity(433), declined=jobs.ChargeDeclined(reason="IDEMPOTENCY_KEY_REUSED"))


async def make_waiting_jobs(platform: Platform) -> None:
    await platform.submit(440)
    await platform.submit(441, job_type_id=PAUSED)
    await platform.submit(442, run_at=at(datetime.now(UTC) + timedelta(days=80)))
    await platform.submit(443, job_type_id=YEN, labels={"a": "b"})
    await platform.fail(await platform.submit(444), retryable=True, retry_after=seconds(86_400))
    await platform.complete(await platform.claim(await platform.submit(445)), snooze=seconds(86_400))
    await platform.client.jobs.PauseQueue(jobs.PauseQueueRequest(queue="low"))
    await platform.client.jobs.PauseQueue(jobs.PauseQueueRequest(queue="other"))
    await platform.client.jobs.ResumeQueue(jobs.ResumeQueueRequest(queue="other"))
    await platform.submit(446, job_type_id=FREE)
    returned = await platform.claim(await platform.submit(447, GRACE))
    handed_back = jobs.JobReturn(job_id=returned, lease_id=platform.leases[returned], reason="drain")
    await platform.client.jobs.ReturnJobs(jobs.ReturnJobsRequest(returns=[handed_back]))
    # Runners have these in their hands.
    await platform.claim(await platform.submit(448))
    await platform.claim(await platform.submit(449, GRACE))
    await platform.submit(451, BARBARA, GOLD)
    # It will have expired.
    await platform.submit(450, expires_at=at(datetime.now(UTC) + timedelta(days=1)))


async def make_unsettled_jobs(platform: Platform, stack: Stack) -> None:
    """What is due while the wallets service is away."""
    for number in (460, 461, 462):
        await platform.submit(number)
    await platform.claim(identity(460))
    await platform.claim(identity(461))
    (service,) = [child for child in stack.children if child.name == "wallets"]
    await service.stop(30)
    await platform.complete(identity(460), output_json='"done"')
    await platform.complete(identity(461), error=JobError(type="ValueError", message="broken", retryable=False))
    await platform.cancel(identity(462))


def make_odd_rows(urls: Mapping[str, str]) -> None:
    """What this release reads and does not write any more: jobs without a hold, of before there were holds."""
    unheld = f"""
        INSERT INTO jobs SELECT (jsonb_populate_record(jobs, jsonb_build_object('id', '{identity(470)}',
            'billing_status', 'UNHELD', 'hold_id', NULL))).* FROM jobs WHERE id = '{identity(440)}'
    """
    with psycopg.connect(urls["jobs"]) as connection:
        assert connection.execute(unheld.encode()).rowcount == 1


async def make(folder: Path) -> dict[str, str]:
    # The settler comes when all is over, and who loses a runner is not run again.
    special = {"JOBS_SETTLE_AFTER_SECONDS": "3000", "JOBS_RESCUES_MAX": "0", "JOBS_RESCUE_GRACE_SECONDS": "0"}
    stack = Stack(folder, runners=0, settings={**os.environ, **special})
    async with stack:
        urls = {service: stack._settings[f"{service.upper()}_DATABASE_URL"] for service in SERVICES}
        async with Innosystem(**stack.addresses) as client:
            platform = Platform(client)
            await make_customers(platform)
            await make_job_types(platform)
            await make_receipts(platform, urls["jobs"])
            await make_ledger(platform)
            await make_finished_jobs(platform)
            await make_unpaid_jobs(platform)
            await make_waiting_jobs(platform)
            await make_unsettled_jobs(platform, stack)
        for child in stack.children:
            await child.stop(30)
        make_odd_rows(urls)
        for service, url in urls.items():
            (Path(__file__).parent / f"{service}_0_1_0.sql").write_text(dumped(url), encoding="utf-8")
    return urls


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="innosystem-dump-") as made:
        Path(made).chmod(0o755)
        asyncio.run(make(Path(made)))
    sys.exit(0)
