"""The operations of `innosystem bench data`: the services' own repositories, on PostgreSQL and in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from services.customers.rules.entities import Customer, NewCustomer
from services.customers.rules.resources import CUSTOMERS
from services.customers.usecases.ports import CustomerRepository
from services.jobs.rules.entities import BillingStatus, NewJob
from services.jobs.rules.job_types import NewJobType, Priority, ProcessorType
from services.jobs.rules.schemas.payloads import Payload
from services.jobs.rules.transitions.completion import Completion, ending
from services.jobs.rules.transitions.leasing import Claim
from services.jobs.usecases.ports import JobRepository, JobTypeRepository
from services.kit.data.corrupt import understood_by_key
from services.kit.data.transactions.ambient import Transactions
from services.kit.query.page import PAGE_SIZE_DEFAULT, ListQuery
from services.wallets.rules.entities import NewWallet, Owner
from services.wallets.rules.ledger import Accepted
from services.wallets.rules.requests import Credit
from services.wallets.usecases.ports import Ledger, WalletRepository
from tools.bench.data.timings import Operation
from tools.errors import CommandError

# The rows before anything is measured, the same on PostgreSQL and in memory.
ROWS = 1000
_WALLETS = 10
_SUBMITTED = 200
_CLAIMED = 100
_BOOKED = 100
_CURRENCY = "EUR"
_LEASE = timedelta(minutes=1)
_SETTLE_AFTER = timedelta(seconds=5)
_CLAIM_BYTES_MAX = 1_000_000


class CustomerOperations:
    """The administration of customers: one row a call, and changes write to the audit trail as well."""

    def __init__(self, transactions: Transactions[Any], customers: CustomerRepository) -> None:
        self._transactions = transactions
        self._customers = customers
        self._ids = cycle([uuid7() for _ in range(ROWS)])

    async def fill(self) -> None:
        """Store the rows that the operations use."""
        async with self._transactions.begin():
            for _ in range(ROWS):
                await self._customers.create(_new_customer(next(self._ids)))

    def operations(self) -> list[Operation]:
        """Return the operations to measure."""

        def operation(name: str, call: Any, rows: int = 1, **more: Any) -> Operation:
            return Operation(name=f"customers.{name}", rows=rows, transactions=self._transactions, call=call, **more)

        return [
            operation("create", self._create, prepare=self._new),
            operation("get", self._get, read_only=True),
            operation("update", self._update, prepare=self._present),
            operation("list_page", self._list_page, PAGE_SIZE_DEFAULT, read_only=True),
        ]

    async def _new(self) -> NewCustomer:
        return _new_customer(uuid7())

    async def _create(self, customer: NewCustomer) -> None:
        await self._customers.create(customer)

    async def _get(self, _: None) -> None:
        _expect(await self._customers.get(next(self._ids)) is not None)

    async def _present(self) -> Customer | None:
        async with self._transactions.begin(read_only=True):
            return await self._customers.get(next(self._ids))

    async def _update(self, customer: Customer) -> None:
        await self._customers.update(replace(customer, name=f"changed {customer.version} times"))

    async def _list_page(self, _: None) -> None:
        page = await self._customers.list_page(ListQuery(CUSTOMERS.default_ordering))
        _expect(len(page.items) == PAGE_SIZE_DEFAULT)


class JobOperations:
    """The life of jobs, in batches as submitters and runners send them."""

    def __init__(self, transactions: Transactions[Any], jobs: JobRepository, job_types: JobTypeRepository) -> None:
        self._transactions = transactions
        self._jobs = jobs
        self._job_types = job_types
        self._job_type_id = uuid7()
        self._runner_id = uuid7()

    async def fill(self) -> None:
        """Store the rows that the operations use."""
        job_type = NewJobType(
            id=self._job_type_id,
            name=f"bench-{self._job_type_id}",
            processing_logic_id="noop",
            processor_type=ProcessorType.ASYNC,
        )
        async with self._transactions.begin():
            await self._job_types.create(job_type)
        await self.waiting(ROWS)

    async def waiting(self, count: int) -> list[UUID]:
        """Store jobs that wait, and return their IDs."""
        jobs = [self._new_job() for _ in range(count)]
        async with self._transactions.begin():
            await self._jobs.create_many(jobs)
        return [job.id for job in jobs]

    def operations(self) -> list[Operation]:
        """Return the operations to measure."""

        def operation(name: str, call: Any, rows: int, prepare: Any) -> Operation:
            return Operation(
                name=f"jobs.{name}", rows=rows, transactions=self._transactions, call=call, prepare=prepare
            )

        return [
            operation("create_many", self._create, _SUBMITTED, self._new),
            operation("claim", self._claim, _CLAIMED, self._waiting_claim),
            operation("apply", self._complete, _CLAIMED, self._running),
        ]

    async def _new(self) -> list[NewJob]:
        return [self._new_job() for _ in range(_SUBMITTED)]

    async def _create(self, jobs: Sequence[NewJob]) -> None:
        _expect(len(await self._jobs.create_many(jobs)) == len(jobs))

    async def _waiting_claim(self) -> Claim:
        ids = await self.waiting(_CLAIMED)
        return Claim(ids, self._runner_id, uuid7(), _LEASE, _CLAIM_BYTES_MAX)

    async def _claim(self, claim: Claim) -> None:
        _expect(len((await self._jobs.claim(claim)).jobs) == len(claim.job_ids))

    async def _running(self) -> list[Completion]:
        claim = await self._waiting_claim()
        async with self._transactions.begin():
            await self._claim(claim)
        return [Completion(job_id=one, lease_id=claim.lease_id, outcome=Payload("1", 1)) for one in claim.job_ids]

    async def _complete(self, completions: Sequence[Completion]) -> None:
        # The service, too, locks the jobs before it changes them.
        jobs = understood_by_key(await self._jobs.lock_many([one.job_id for one in completions]))
        await self._jobs.apply([ending(jobs[one.job_id], one, settle_after=_SETTLE_AFTER) for one in completions])

    def _new_job(self) -> NewJob:
        return NewJob(
            id=uuid7(),
            customer_id=uuid7(),
            job_type_id=self._job_type_id,
            billing_status=BillingStatus.UNHELD,
            priority=Priority.MEDIUM,
            queue="default",
            input_data='{"text": "a job input of about fifty bytes in all"}',
            input_bytes=51,
            estimated_cost_cents=1,
            currency=_CURRENCY,
            max_attempts=1,
            expires_at=datetime.now(UTC) + timedelta(days=1),
        )


class LedgerOperations:
    """Bookings: one, and a batch over several wallets."""

    def __init__(self, transactions: Transactions[Any], wallets: WalletRepository, ledger: Ledger) -> None:
        self._transactions = transactions
        self._wallets = wallets
        self._ledger = ledger
        self._owners = [Owner(uuid7(), _CURRENCY) for _ in range(_WALLETS)]
        self._next_owner = cycle(self._owners)

    async def fill(self) -> None:
        """Store the rows that the operations use."""
        async with self._transactions.begin():
            for owner in self._owners:
                await self._wallets.create(
                    NewWallet(id=uuid7(), customer_id=owner.customer_id, currency=owner.currency)
                )
        for _ in range(ROWS // _BOOKED):
            requests = await self._many()
            async with self._transactions.begin():
                await self._apply(requests)

    def operations(self) -> list[Operation]:
        """Return the operations to measure."""
        return [
            Operation(
                name="ledger.apply", rows=rows, transactions=self._transactions, call=self._apply, prepare=prepare
            )
            for rows, prepare in ((1, self._one), (_BOOKED, self._many))
        ]

    async def _one(self) -> list[Credit]:
        return [self._credit()]

    async def _many(self) -> list[Credit]:
        return [self._credit() for _ in range(_BOOKED)]

    async def _apply(self, requests: Sequence[Credit]) -> None:
        decisions = await self._ledger.apply(requests)
        _expect(all(isinstance(one, Accepted) and not one.replayed for one in decisions))

    def _credit(self) -> Credit:
        credit_id = uuid7()
        return Credit(
            transaction_id=credit_id, owner=next(self._next_owner), amount_cents=1, idempotency_key=str(credit_id)
        )


def _new_customer(customer_id: UUID) -> NewCustomer:
    return NewCustomer(id=customer_id, name="name", email=f"{customer_id}@example.com", request_digest=b"digest")


def _expect(right: bool) -> None:
    """Stop if an operation did something else: its figures would be worthless."""
    if not right:
        raise CommandError("a repository did not do what was measured")
