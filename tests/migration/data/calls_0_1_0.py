"""Calls of clients, operators and runners of 0.1.0, in short; for `make_0_1_0.py`."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from innosystem.client import Innosystem
from innosystem.customers.v1 import customer_service_pb2 as customers
from innosystem.jobs.v1 import job_service_pb2 as jobs
from innosystem.jobs.v1.job_pb2 import Job, JobError
from innosystem.wallets.v1 import wallet_service_pb2 as wallets

#: Jobs that are to wait must not have expired when the dumps are read.
LATER = datetime(2999, 1, 1, tzinfo=UTC)
RUNNER = "01990000-0000-7000-8000-000000000901"
_PREFIXES = {"status": "JOB_STATUS", "billing_status": "BILLING_STATUS"}


def identity(number: int) -> str:
    return f"01990000-0000-7000-8000-{number:012}"


ADA, GRACE, ALAN, EDSGER, BARBARA = map(identity, range(201, 206))
PAID, FREE, PAUSED, DISABLED, YEN, GOLD = map(identity, range(101, 107))


def seconds(number: float) -> Duration:
    return Duration(seconds=int(number), nanos=int(number % 1 * 1e9))


def at(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


class Platform:
    """Calls of clients, operators and runners, in short."""

    def __init__(self, client: Innosystem) -> None:
        self.client = client
        self.leases: dict[str, str] = {}
        self._number = 500

    async def customer(self, customer_id: str, name: str, **credits_cents: int) -> str:
        created = await self.client.customers.CreateCustomer(
            customers.CreateCustomerRequest(customer_id=customer_id, name=name, email=f"{name}@Example.com".lower())
        )
        for number, (currency, cents) in enumerate(credits_cents.items()):
            wallet_id = identity(int(customer_id[-3:]) * 10 + number)
            await self.client.wallets.CreateWallet(
                wallets.CreateWalletRequest(wallet_id=wallet_id, customer_id=customer_id, currency=currency)
            )
            if cents:
                await self.credit(customer_id, currency, cents, "first")
        return created.api_key

    async def credit(self, customer_id: str, currency: str, cents: int, key: str) -> None:
        await self.client.wallets.Credit(
            wallets.CreditRequest(
                customer_id=customer_id,
                currency=currency,
                amount_cents=cents,
                idempotency_key=key,
                description="by bank transfer, Überweisung ✓",
            )
        )

    async def submit(self, number: int, customer_id: str = ADA, job_type_id: str = PAID, **fields: Any) -> str:
        given: dict[str, Any] = {"expires_at": at(LATER), "input_json": f'{{"n": {number}, "π": 3.14}}', **fields}
        request = jobs.CreateJobRequest(
            job_id=identity(number), customer_id=customer_id, job_type_id=job_type_id, **given
        )
        return (await self.client.jobs.CreateJob(request)).job.id

    async def claim(self, job_id: str, lease_seconds: float = 3600) -> str:
        self._number += 1
        self.leases[job_id] = identity(self._number)
        claimed = await self.client.jobs.ClaimJobs(
            jobs.ClaimJobsRequest(
                job_ids=[job_id], runner_id=RUNNER, lease_id=self.leases[job_id], lease=seconds(lease_seconds)
            )
        )
        assert len(claimed.jobs) == 1, job_id
        return job_id

    async def complete(self, job_id: str, **outcome: Any) -> jobs.Charge:
        one = jobs.JobCompletion(job_id=job_id, lease_id=self.leases[job_id], **outcome)
        (result,) = (await self.client.jobs.CompleteJobs(jobs.CompleteJobsRequest(completions=[one]))).results
        assert result.HasField("recorded"), result
        return result.recorded.charge

    async def run(self, job_id: str, output: str = '{"ok": true, "list": [1, 2.50, "é"]}') -> jobs.Charge:
        return await self.complete(await self.claim(job_id), output_json=output)

    async def fail(self, job_id: str, *, retryable: bool = False, **also: Any) -> None:
        error = JobError(type="ValueError", message="it is broken: 'ß'", retryable=retryable)
        await self.complete(await self.claim(job_id), error=error, **also)

    async def charge(self, charge: jobs.Charge) -> str:
        deducted = await self.client.wallets.Deduct(
            wallets.DeductRequest(
                customer_id=charge.customer_id,
                currency=charge.currency,
                amount_cents=charge.amount_cents,
                idempotency_key=charge.idempotency_key,
                hold_id=charge.hold_id,
                job_id=charge.job_id,
                charge_token=charge.charge_token,
            )
        )
        await self.settle(charge.job_id, transaction=jobs.ChargeTransaction(id=deducted.transaction.id))
        return str(deducted.transaction.id)

    async def settle(self, job_id: str, **outcome: Any) -> None:
        settlement = jobs.JobSettlement(job_id=job_id, **outcome)
        (result,) = (await self.client.jobs.SettleJobs(jobs.SettleJobsRequest(settlements=[settlement]))).results
        assert not result.HasField("error"), result

    async def succeed(self, job_id: str) -> str:
        return await self.charge(await self.run(job_id))

    async def cancel(self, job_id: str) -> None:
        await self.client.jobs.CancelJob(jobs.CancelJobRequest(job_id=job_id, reason="not needed any more"))

    async def retry(self, job_id: str) -> None:
        await self.client.jobs.RetryJob(jobs.RetryJobRequest(job_id=job_id))

    async def hold_of(self, job_id: str) -> str:
        return (await self.job(job_id)).hold_id

    async def job(self, job_id: str) -> Job:
        return (await self.client.jobs.GetJob(jobs.GetJobRequest(job_id=job_id))).job

    async def until(self, job_id: str, **wanted: str) -> None:
        """Wait for what the services do by themselves."""
        enums = {name: Job.DESCRIPTOR.fields_by_name[name].enum_type.values_by_name for name in wanted}
        numbers = {name: enums[name][f"{_PREFIXES[name]}_{value}"].number for name, value in wanted.items()}
        async with asyncio.timeout(60):
            while True:
                job = await self.job(job_id)
                if all(getattr(job, name) == number for name, number in numbers.items()):
                    return
                await asyncio.sleep(0.1)
