"""Books with one of each: what the services write when jobs of all kinds of lives go through them."""

from datetime import timedelta
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from innosystem.customers.v1 import customer_service_pb2
from innosystem.jobs.v1 import job_pb2
from innosystem.jobs.v1 import job_service_pb2 as pb
from innosystem.wallets.v1 import wallet_service_pb2 as wallets_pb
from services.jobs.background.retention import Retention
from services.jobs.store.sql import SqlJobRepository
from services.kit.data.engine.database import Database
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.settings import DatabaseSettings
from tests.support.rpc.jobs_stack import JobsStack

_LATER = Timestamp(seconds=4_000_000_000)


async def keep_receipts(jobs_url: str) -> None:
    """Has all jobs deleted that are over and settled, as retention does it."""
    database = Database.connect(DatabaseSettings(url=SecretStr(jobs_url)), application_name="tests")
    transactions = SqlTransactions(database)
    await Retention(transactions, SqlJobRepository(transactions), age=timedelta(0)).round()
    await database.close()


class Lives:
    """Takes jobs of two customers through their lives, each customer in a currency of their own and in both.

    Args:
        world: The services.
    """

    def __init__(self, world: JobsStack) -> None:
        self._world = world
        self._paid = {"EUR": world.job_type().name, "USD": world.job_type(currency="USD").name}
        self._free = world.job_type(standard_cost_cents=0).name
        self._metered = world.metered().name
        self._customers = [world.customer(), world.customer()]

    def to_be_deleted(self) -> None:
        """Jobs of which receipts are kept."""
        for customer in self._customers:
            self._refunded(self._charged(customer), 2)

    def all(self) -> None:
        """Jobs in all states, refunds, write-offs, holds."""
        for customer in self._customers:
            for currency in self._paid:
                self._live(customer, currency)
                self._ended(customer, currency)
            self._unpaid(customer)
            self._by_usage(customer)
            self._of_the_ledger(customer)
        last = customer_service_pb2.DeleteCustomerRequest(customer_id=self._world.customer())
        self._world.customers.DeleteCustomer(last)

    def _live(self, customer: str, currency: str) -> None:
        world, paid = self._world, self._paid[currency]
        world.job(customer_id=customer, job_type=paid)
        world.job(customer_id=customer, job_type=self._free)
        later = Timestamp()
        later.GetCurrentTime()
        later.seconds += 86_400
        world.job(customer_id=customer, job_type=paid, run_at=later)
        world.running(customer_id=customer, job_type=paid)
        retried = self._failed(customer, paid)
        world.released(retried)
        world.jobs.RetryJob(pb.RetryJobRequest(job_id=retried))

    def _ended(self, customer: str, currency: str) -> None:
        world, paid = self._world, self._paid[currency]
        world.succeeded(customer_id=customer, job_type=self._free)
        self._refunded(self._charged(customer, currency), 2)
        self._refunded(self._charged(customer, currency), 0)
        self._charged(customer, currency)
        world.released(self._failed(customer, paid))
        world.jobs.CancelJob(pb.CancelJobRequest(job_id=world.job(customer_id=customer, job_type=paid).id))
        world.settle()
        world.succeeded(customer_id=customer, job_type=paid)
        self._failed(customer, paid)

    def _by_usage(self, customer: str) -> None:
        world, metered = self._world, {"customer_id": customer, "job_type": self._metered}
        world.job(**metered)
        self._paid_for(world.used(3, **metered))
        self._paid_for(world.used(1_000, **metered))
        self._paid_for(world.succeeded(**metered))
        world.released(world.used(0, **metered).id)
        self._paid_for(world.used(7, customer_id=customer, job_type=self._paid["EUR"]))

    def _unpaid(self, customer: str) -> None:
        for reason in ("INSUFFICIENT_FUNDS", "INSUFFICIENT_FUNDS", "WALLET_NOT_FOUND"):
            job = self._world.succeeded(customer_id=customer, job_type=self._paid["EUR"])
            self._world.wallets.ReleaseHold(wallets_pb.ReleaseHoldRequest(hold_id=job.hold_id))
            self._settle(pb.JobSettlement(job_id=job.id, declined=pb.ChargeDeclined(reason=reason)))
        given_up = self._world.succeeded(customer_id=customer, job_type=self._paid["EUR"])
        self._world.wallets.ReleaseHold(wallets_pb.ReleaseHoldRequest(hold_id=given_up.hold_id))
        declined = pb.ChargeDeclined(reason="INSUFFICIENT_FUNDS")
        self._settle(pb.JobSettlement(job_id=given_up.id, declined=declined))
        self._world.jobs.WriteOffJob(pb.WriteOffJobRequest(job_id=given_up.id, reason="goodwill"))

    def _of_the_ledger(self, customer: str) -> None:
        wallets = self._world.wallets
        wallets.Deduct(
            wallets_pb.DeductRequest(
                customer_id=customer, currency="EUR", amount_cents=7, idempotency_key=str(uuid4()), description="fee"
            )
        )
        wallets.ReleaseHold(wallets_pb.ReleaseHoldRequest(hold_id=str(uuid4())))

    def _failed(self, customer: str, job_type: str) -> str:
        job, lease_id = self._world.running(customer_id=customer, job_type=job_type)
        error = job_pb2.JobError(type="Broken", message="it broke", retryable=False)
        self._world.complete(pb.JobCompletion(job_id=job.id, lease_id=lease_id, error=error))
        return job.id

    def _charged(self, customer: str, currency: str = "EUR") -> str:
        return self._paid_for(self._world.succeeded(customer_id=customer, job_type=self._paid[currency]))

    def _paid_for(self, job: job_pb2.Job) -> str:
        charge = wallets_pb.DeductRequest(
            customer_id=job.customer_id,
            currency=job.currency,
            amount_cents=job.cost_cents,
            idempotency_key=f"job:{job.id}",
            job_id=job.id,
            hold_id=job.hold_id,
        )
        transaction = self._world.wallets.Deduct(charge).transaction
        self._settle(pb.JobSettlement(job_id=job.id, transaction=pb.ChargeTransaction(id=transaction.id)))
        return transaction.id

    def _settle(self, settlement: pb.JobSettlement) -> None:
        [result] = self._world.jobs.SettleJobs(pb.SettleJobsRequest(settlements=[settlement])).results
        assert not result.HasField("error"), result

    def _refunded(self, transaction_id: str, cents: int) -> None:
        self._world.wallets.Refund(
            wallets_pb.RefundRequest(
                transaction_id=transaction_id, amount_cents=cents, idempotency_key=str(uuid4()), description="sorry"
            )
        )
