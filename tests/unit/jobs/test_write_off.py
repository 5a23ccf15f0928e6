"""Write-offs of jobs, in memory, with the rules of the real ledger on the other side."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from services.jobs.background.settler import Settler
from services.jobs.rules.entities import BillingStatus, Charge, Job
from services.jobs.rules.errors import JobNotFound, NothingToWriteOff, WriteOffRefused
from services.jobs.rules.transitions.completion import Charged, Declined, Deduction
from services.jobs.usecases.write_off import WriteOffs
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.data.transactions.memory import MemoryTransactions
from services.kit.errors import DependencyUnavailable, DomainError
from services.wallets.rules.entities import NewWallet, Owner, TransactionKind
from services.wallets.rules.ledger import Accepted
from services.wallets.rules.requests import Credit, Deduct, PlaceHold, WriteOff
from tests.support.jobs_work import WalletsForTests
from tests.support.wallets_work import memory_work
from tests.unit.jobs.test_housekeeping import AGO, World


class LedgerForTests(WalletsForTests):
    """The wallets service, in memory.

    Attributes:
        away: Whether it is unavailable.
        late: Whether the response to a write-off is lost.
    """

    def __init__(self, jobs: MemoryTransactions) -> None:
        super().__init__()
        self.service = memory_work(MemoryTransactions()).service
        self.away = self.late = False
        self._jobs = jobs

    async def write_off(self, charge: Charge, description: str) -> Deduction:
        assert not self._jobs.is_open
        if self.away:
            raise DependencyUnavailable("wallets")
        request = WriteOff(
            adjustment_id=uuid7(),
            deduction_id=uuid7(),
            owner=Owner(charge.customer_id, charge.currency),
            amount_cents=charge.amount_cents,
            job_id=charge.job_id,
            hold_id=charge.hold_id,
            description=description,
        )
        try:
            accepted = await self.service.write_off(request)
        except DomainError as error:
            return Declined(charge.job_id, error.reason)
        if self.late:
            raise DependencyUnavailable("wallets")
        return _made(charge, accepted)

    async def deduct(self, charges: Sequence[Charge]) -> list[Deduction | DomainError]:
        decisions = await self.service.deduct_many([_deduct(charge) for charge in charges], ALL_TENANTS)
        return [_made(charge, one) for charge, one in zip(charges, decisions, strict=True)]

    async def open(self, job: Job, cents: int = 0) -> UUID:
        """Make the wallet that a job is charged to."""
        owner = Owner(job.customer_id, job.currency)
        await self.service.create(NewWallet(id=(wallet_id := uuid7()), customer_id=job.customer_id))
        if cents:
            request = Credit(transaction_id=uuid7(), owner=owner, amount_cents=cents, idempotency_key="top-up")
            await self.service.credit(request)
        return wallet_id


def _deduct(charge: Charge) -> Deduct:
    return Deduct(
        transaction_id=uuid7(),
        owner=Owner(charge.customer_id, charge.currency),
        amount_cents=charge.amount_cents,
        idempotency_key=charge.idempotency_key,
        job_id=charge.job_id,
        hold_id=charge.hold_id,
    )


def _made(charge: Charge, decision: Accepted | DomainError) -> Deduction:
    if isinstance(decision, DomainError):
        return Declined(charge.job_id, decision.reason)
    return Charged(charge.job_id, decision.transaction.id)


class WriteOffWorld(World):
    """Jobs and their ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = LedgerForTests(self.transactions)
        self.write_offs = WriteOffs(self.transactions, self.work.jobs, self.runs, self.ledger)
        self.settler = Settler(self.transactions, self.work.jobs, self.runs, self.ledger, settle_after=AGO)

    async def unpaid(self) -> Job:
        """Store a job that succeeded and whose customer has a wallet with too little in it."""
        job = await self.read(await self.succeeded())
        await self.ledger.open(job, 4)
        await self.settler.round()
        job = await self.read(job.id)
        assert job.billing_status is BillingStatus.DECLINED
        self.changes.job_ids.clear()
        return job

    async def balance(self, job: Job) -> int:
        return (await self.ledger.service.get(Owner(job.customer_id, job.currency), ALL_TENANTS)).current_balance_cents

    async def credit(self, job: Job, cents: int) -> None:
        owner = Owner(job.customer_id, job.currency)
        await self.ledger.service.credit(
            Credit(transaction_id=uuid7(), owner=owner, amount_cents=cents, idempotency_key=str(uuid7()))
        )


@pytest.fixture
def books() -> WriteOffWorld:
    return WriteOffWorld()


async def test_a_declined_job_is_charged_at_our_expense_and_watchers_hear_of_it(books: WriteOffWorld) -> None:
    job = await books.unpaid()
    done = await books.write_offs.write_off(job.id, "never paid")
    assert done.billing_status is BillingStatus.CHARGED
    assert books.changes.job_ids == [job.id]
    assert await books.balance(job) == 4
    assert done.transaction_id is not None
    _, transaction = await books.ledger.service.get_transaction(done.transaction_id, ALL_TENANTS)
    assert (transaction.kind, transaction.amount_cents, transaction.job_id, transaction.description) == (
        TransactionKind.DEDUCTION,
        -5,
        job.id,
        "never paid",
    )


async def test_a_job_that_is_charged_already_is_answered_as_it_is_and_the_ledger_is_not_asked(
    books: WriteOffWorld,
) -> None:
    job = await books.unpaid()
    done = await books.write_offs.write_off(job.id, "never paid")
    books.ledger.away = True
    assert await books.write_offs.write_off(job.id, "never paid") == done


async def test_a_charge_that_is_neither_declined_nor_blocked_is_not_written_off(books: WriteOffWorld) -> None:
    books.ledger.away = True
    for job_id in (await books.stored(), await books.succeeded()):
        before = await books.read(job_id)
        with pytest.raises(NothingToWriteOff) as error:
            await books.write_offs.write_off(job_id, "never paid")
        assert (error.value.status, error.value.billing_status) == (before.status, before.billing_status)
        assert await books.read(job_id) == before
    with pytest.raises(JobNotFound):
        await books.write_offs.write_off(uuid7(), "never paid")


async def test_a_blocked_charge_can_be_written_off_once_its_cause_is_gone(books: WriteOffWorld) -> None:
    job = await books.read(await books.succeeded())
    await books.settler.round()
    assert (await books.read(job.id)).billing_status is BillingStatus.CHARGE_BLOCKED
    with pytest.raises(WriteOffRefused) as error:
        await books.write_offs.write_off(job.id, "never paid")
    assert error.value.refusal == "WALLET_NOT_FOUND"
    assert (await books.read(job.id)).billing_status is BillingStatus.CHARGE_BLOCKED
    await books.ledger.open(job)
    assert (await books.write_offs.write_off(job.id, "never paid")).billing_status is BillingStatus.CHARGED


async def test_while_the_ledger_can_not_be_asked_the_job_stays_as_it_is(books: WriteOffWorld) -> None:
    job = await books.unpaid()
    books.ledger.away = True
    with pytest.raises(DependencyUnavailable):
        await books.write_offs.write_off(job.id, "never paid")
    assert await books.read(job.id) == job


async def test_a_write_off_whose_answer_was_lost_is_settled_by_the_settler(books: WriteOffWorld) -> None:
    job = await books.unpaid()
    books.ledger.late = True
    with pytest.raises(DependencyUnavailable):
        await books.write_offs.write_off(job.id, "never paid")
    assert (await books.read(job.id)).billing_status is BillingStatus.DECLINED
    # Now the customer could pay. The charge was given up all the same.
    await books.credit(job, 100)
    await books.settler.round()
    settled = await books.read(job.id)
    assert settled.billing_status is BillingStatus.CHARGED
    assert await books.balance(job) == 104


async def test_a_write_off_whose_answer_was_lost_is_finished_by_the_same_call(books: WriteOffWorld) -> None:
    job = await books.unpaid()
    books.ledger.late = True
    with pytest.raises(DependencyUnavailable):
        await books.write_offs.write_off(job.id, "never paid")
    books.ledger.late = False
    assert (await books.write_offs.write_off(job.id, "never paid")).billing_status is BillingStatus.CHARGED
    assert await books.balance(job) == 4


async def test_a_charge_that_was_paid_meanwhile_is_recorded_and_nothing_is_written_off(books: WriteOffWorld) -> None:
    job = await books.unpaid()
    await books.credit(job, 10)
    [paid] = await books.ledger.deduct([Charge(job.customer_id, job.currency, 5, job.hold_id, job.id)])
    assert isinstance(paid, Charged)
    done = await books.write_offs.write_off(job.id, "never paid")
    assert (done.billing_status, done.transaction_id) == (BillingStatus.CHARGED, paid.transaction_id)
    assert await books.balance(job) == 9


async def test_a_deduction_of_another_amount_keeps_the_job_as_it_is(books: WriteOffWorld) -> None:
    job = await books.unpaid()
    await books.ledger.deduct([Charge(job.customer_id, job.currency, 1, job.hold_id, job.id)])
    with pytest.raises(WriteOffRefused) as error:
        await books.write_offs.write_off(job.id, "never paid")
    assert error.value.refusal == "IDEMPOTENCY_KEY_REUSED"
    assert (await books.read(job.id)).billing_status is BillingStatus.DECLINED


async def test_money_that_is_held_for_the_job_is_left_to_the_settler(books: WriteOffWorld) -> None:
    job = await books.read(await books.succeeded(hold_id=uuid7(), billing_status=BillingStatus.HELD))
    assert job.hold_id is not None
    await books.settler.round()
    await books.ledger.open(job, 5)
    owner = Owner(job.customer_id, job.currency)
    request = PlaceHold(hold_id=job.hold_id, job_id=job.id, owner=owner, amount_cents=5)
    await books.ledger.service.place_holds([request])
    with pytest.raises(WriteOffRefused) as error:
        await books.write_offs.write_off(job.id, "never paid")
    assert error.value.refusal == "HOLD_ACTIVE"
