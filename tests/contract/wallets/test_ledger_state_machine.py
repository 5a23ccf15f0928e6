"""Whatever is asked in whatever order: the use cases on both repositories response as a model of twenty lines does."""

from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from services.kit.auth.tenants import ALL_TENANTS
from services.kit.errors import DomainError, IdempotencyKeyReused
from services.wallets.rules.entities import NewWallet, Owner
from services.wallets.rules.errors import AlreadyCharged, HoldActive, HoldMismatch, HoldNotActive, InsufficientFunds
from services.wallets.rules.requests import Credit, Deduct, JobCharge, PlaceHold, Refund, ReleaseHold, WriteOff
from tests.contract.wallets.test_holds_and_refunds import verified
from tests.support.wallets_work import BeginWallets

Step = tuple[str, int, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["credit", "place", "release", "deduct", "refund", "write_off"]),
        st.integers(0, 1),
        st.integers(0, 2),
        st.integers(1, 4),
    ),
    max_size=25,
)


class Model:
    """What the ledger has to do, for wallets 0 and 1 and jobs 0 to 2, each with one hold and one refund key."""

    def __init__(self) -> None:
        self.balance = [0, 0]
        self.holds: dict[int, tuple[str, int, int]] = {}
        self.charged: dict[tuple[int, int], int] = {}
        self.credits: dict[tuple[int, int], int] = {}
        self.written_off: set[tuple[int, int]] = set()

    def available(self, wallet: int) -> int:
        held = [cents for state, owner, cents in self.holds.values() if state == "ACTIVE" and owner == wallet]
        return self.balance[wallet] - sum(held)

    def is_charged(self, job: int) -> bool:
        return any(charged == job for _, charged in self.charged)

    def credit(self, wallet: int, job: int, cents: int) -> str:
        if (wallet, job) in self.credits:
            return "replayed" if self.credits[wallet, job] == cents else IdempotencyKeyReused.__name__
        self.credits[wallet, job] = cents
        self.balance[wallet] += cents
        return "done"

    def place(self, wallet: int, job: int, cents: int) -> str:
        if job in self.holds:
            state, owner, held = self.holds[job]
            if owner >= 0 and (owner, held) != (wallet, cents):
                return IdempotencyKeyReused.__name__
            return "replayed" if state == "ACTIVE" else HoldNotActive.__name__
        if cents > self.available(wallet):
            return InsufficientFunds.__name__
        self.holds[job] = ("ACTIVE", wallet, cents)
        return "done"

    def release(self, _wallet: int, job: int, _cents: int) -> str:
        state, owner, cents = self.holds.get(job, ("NEW", -1, 0))
        if state == "CAPTURED":
            return HoldNotActive.__name__
        self.holds[job] = ("RELEASED", owner, cents)
        return "replayed" if state == "RELEASED" else "done"

    def deduct(self, wallet: int, job: int, cents: int) -> str:
        if (wallet, job) in self.charged:
            return "replayed" if self.charged[wallet, job] == cents else IdempotencyKeyReused.__name__
        state, owner, held = self.holds.get(job, ("NEW", -1, 0))
        if owner not in {-1, wallet}:
            return HoldMismatch.__name__
        if cents > self.available(wallet) + (held if state == "ACTIVE" else 0):
            return InsufficientFunds.__name__
        if self.is_charged(job):
            return AlreadyCharged.__name__
        self.holds[job] = ("CAPTURED" if state == "ACTIVE" else "RELEASED" if state == "NEW" else state, owner, held)
        self.balance[wallet] -= cents
        self.charged[wallet, job] = cents
        return "done"

    def write_off(self, wallet: int, job: int, cents: int) -> str:
        if (wallet, job) in self.written_off:
            return "replayed" if self.charged[wallet, job] == cents else IdempotencyKeyReused.__name__
        if (wallet, job) in self.charged:
            return AlreadyCharged.__name__
        state, owner, _ = self.holds.get(job, ("NEW", -1, 0))
        if owner not in {-1, wallet}:
            return HoldMismatch.__name__
        if state == "ACTIVE":
            return HoldActive.__name__
        if self.is_charged(job):
            return AlreadyCharged.__name__
        self.holds.setdefault(job, ("RELEASED", -1, 0))
        self.written_off.add((wallet, job))
        self.charged[wallet, job] = cents
        return "done"


class Asked:
    """The same on the use cases."""

    def __init__(self, begin: BeginWallets) -> None:
        self.service = begin.make().service
        self.owners = [Owner(uuid7(), "EUR") for _ in range(2)]
        self.ids: list[UUID] = []
        self.jobs = [uuid7() for _ in range(3)]
        self.holds = [uuid7() for _ in range(3)]

    async def open(self) -> None:
        for owner in self.owners:
            self.ids.append(uuid7())
            await self.service.create(NewWallet(id=self.ids[-1], customer_id=owner.customer_id))

    async def ask(self, step: Step) -> str:
        name, wallet, job, cents = step
        try:
            replayed: bool = await getattr(self, name)(wallet, job, cents)
        except DomainError as error:
            return type(error).__name__
        return "replayed" if replayed else "done"

    async def credit(self, wallet: int, job: int, cents: int) -> bool:
        request = Credit(
            transaction_id=uuid7(), owner=self.owners[wallet], amount_cents=cents, idempotency_key=f"c{job}"
        )
        return (await self.service.credit(request)).replayed

    async def place(self, wallet: int, job: int, cents: int) -> bool:
        request = PlaceHold(
            hold_id=self.holds[job], job_id=self.jobs[job], owner=self.owners[wallet], amount_cents=cents
        )
        return _replayed(*await self.service.place_holds([request]))

    async def release(self, _wallet: int, job: int, _cents: int) -> bool:
        return _replayed(*await self.service.release_holds([ReleaseHold(hold_id=self.holds[job])]))

    async def deduct(self, wallet: int, job: int, cents: int) -> bool:
        request = Deduct(
            transaction_id=uuid7(),
            owner=self.owners[wallet],
            amount_cents=cents,
            idempotency_key=f"job:{self.jobs[job]}",
            job_id=self.jobs[job],
            hold_id=self.holds[job],
        )
        return (await self.service.deduct(request, ALL_TENANTS)).replayed

    async def write_off(self, wallet: int, job: int, cents: int) -> bool:
        request = WriteOff(
            adjustment_id=uuid7(),
            deduction_id=uuid7(),
            owner=self.owners[wallet],
            amount_cents=cents,
            job_id=self.jobs[job],
            hold_id=self.holds[job],
        )
        return (await self.service.write_off(request)).replayed


def _replayed(decision: Any) -> bool:
    if isinstance(decision, DomainError):
        raise decision
    replayed: bool = decision.replayed
    return replayed


async def run(begin: BeginWallets, steps: list[Step]) -> None:
    model, asked = Model(), Asked(begin)
    await asked.open()
    refunded: dict[tuple[int, int], int] = {}
    for step in steps:
        name, wallet, job, cents = step
        if name == "refund":
            await refund(asked, model, refunded, (wallet, job, cents))
            continue
        assert await asked.ask(step) == getattr(model, name)(wallet, job, cents), step
    for number, wallet_id in enumerate(asked.ids):
        stored = await asked.service.get(wallet_id, ALL_TENANTS)
        assert stored.current_balance_cents == model.balance[number]
        assert stored.available_cents == model.available(number)
    assert (await verified(begin, 2)).offenders == []


async def refund(asked: Asked, model: Model, refunded: dict[tuple[int, int], int], what: tuple[int, int, int]) -> None:
    """Each refund has a key of its own; together they never give back more than was charged."""
    wallet, job, cents = what
    charged = model.charged.get((wallet, job))
    if charged is None:
        return
    request = Refund(
        transaction_id=uuid7(), charge=JobCharge(asked.jobs[job]), amount_cents=cents, idempotency_key=str(uuid7())
    )
    left = 0 if (wallet, job) in model.written_off else charged - refunded.get((wallet, job), 0)
    try:
        await asked.service.refund(request)
    except DomainError:
        assert cents > left
    else:
        assert cents <= left
        refunded[wallet, job] = charged - left + cents
        model.balance[wallet] += cents


@given(steps=STEPS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
async def test_the_ledger_answers_as_the_model_does(begin: BeginWallets, steps: list[Step]) -> None:
    await run(begin, steps)
