"""The ledger beside rows that a later release wrote: on PostgreSQL, without the CHECKs that it has changed."""

from uuid import UUID, uuid4

import psycopg
import pytest
from uuid_utils.compat import uuid7

from services.kit.auth.tenants import ALL_TENANTS
from services.kit.errors import DataCorrupt
from services.wallets.rules.entities import NewWallet, Owner
from services.wallets.rules.ledger import Accepted, Held
from services.wallets.rules.requests import Credit, Deduct, JobCharge, PlaceHold, Refund, ReleaseHold
from services.wallets.usecases.wallets import WalletsService


async def paid_in(service: WalletsService) -> Owner:
    owner = Owner(uuid4(), "EUR")
    await service.create(NewWallet(id=uuid7(), customer_id=owner.customer_id, currency=owner.currency))
    await service.credit(Credit(transaction_id=uuid7(), owner=owner, amount_cents=1000, idempotency_key="top-up"))
    return owner


def charge(owner: Owner, job_id: UUID, hold_id: UUID) -> Deduct:
    key = f"job:{job_id}"
    return Deduct(
        transaction_id=uuid7(), owner=owner, amount_cents=5, idempotency_key=key, job_id=job_id, hold_id=hold_id
    )


async def test_a_hold_in_an_unknown_state_is_nobody_elses_trouble(service: WalletsService, url: str) -> None:
    owner = await paid_in(service)
    held = [PlaceHold(hold_id=uuid7(), job_id=uuid7(), owner=owner, amount_cents=5) for _ in range(6)]
    assert [type(one) for one in await service.place_holds(held)] == [Held] * 6
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE holds DROP CONSTRAINT ck_holds_state_is_known")
        connection.execute("ALTER TABLE holds DROP CONSTRAINT ck_holds_resolved_unless_active")
        for at in (1, 4):
            connection.execute("UPDATE holds SET state = 'FROZEN' WHERE id = %s", [held[at].hold_id])
    assert [type(one) for one in await service.place_holds(held[:3])] == [Held, DataCorrupt, Held]
    charged = await service.deduct_many([charge(owner, one.job_id, one.hold_id) for one in held[:3]], ALL_TENANTS)
    assert [type(one) for one in charged] == [Accepted, DataCorrupt, Accepted]
    released = await service.release_holds([ReleaseHold(hold_id=one.hold_id) for one in held[3:]])
    assert [type(one) for one in released] == [Held, DataCorrupt, Held]


async def test_a_transaction_of_an_unknown_kind_is_in_the_way_of_its_own_key_alone(
    service: WalletsService, url: str
) -> None:
    owner = await paid_in(service)
    jobs = [uuid7() for _ in range(3)]
    requests = [charge(owner, job_id, uuid7()) for job_id in jobs]
    _, charged, _ = await service.deduct_many(requests, ALL_TENANTS)
    assert isinstance(charged, Accepted)
    with psycopg.connect(url, autocommit=True) as connection:
        names = connection.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'wallet_transactions'::regclass AND contype = 'c'"
        ).fetchall()
        for (name,) in names:
            connection.execute(f"ALTER TABLE wallet_transactions DROP CONSTRAINT {name}".encode())
        connection.execute("ALTER TABLE wallet_transactions DISABLE TRIGGER ALL")
        connection.execute("UPDATE wallet_transactions SET kind = 'DONATION' WHERE job_id = %s", [jobs[1]])
    again = await service.deduct_many(requests, ALL_TENANTS)
    assert [type(one) for one in again] == [Accepted, DataCorrupt, Accepted]
    with pytest.raises(DataCorrupt):
        await service.refund(
            Refund(
                transaction_id=uuid7(),
                charge=charged.transaction.id,
                amount_cents=1,
                idempotency_key="back",
            )
        )
    await service.refund(Refund(transaction_id=uuid7(), charge=JobCharge(jobs[0]), amount_cents=1, idempotency_key="b"))
