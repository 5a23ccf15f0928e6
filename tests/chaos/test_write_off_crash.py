"""The jobs service dies between the ledger's write-off and its own record of it."""

import pytest

from innosystem.client import new_id
from innosystem.jobs.v1.job_service_pb2 import WriteOffJobRequest
from innosystem.wallets.v1 import wallet_service_pb2 as wallets_pb
from tests.chaos.support.arena import COST_CENTS, Arena, expect_death
from tests.e2e.stack import refusal

pytestmark = pytest.mark.slow


def unpaid(arena: Arena) -> str:
    """A job that succeeds for a customer who has spent the money elsewhere; an operator has released its hold."""
    request = arena.request()
    request.customer_id = arena.stack.customer()
    wallet = arena.stack.wallet(request.customer_id, COST_CENTS)
    job = arena.stack.submit(request)
    arena.stack.wallets.ReleaseHold(wallets_pb.ReleaseHoldRequest(hold_id=job.hold_id))
    arena.stack.wallets.Deduct(
        wallets_pb.DeductRequest(
            customer_id=wallet.customer_id,
            currency=wallet.currency,
            amount_cents=COST_CENTS,
            idempotency_key=str(new_id()),
        )
    )
    arena.runner()
    arena.until(job.id, "SUCCEEDED", "DECLINED")
    return job.id


@pytest.mark.parametrize("by", ["the settler", "the same call"])
def test_a_write_off_that_was_made_and_not_recorded_is_recorded_by(arena: Arena, by: str) -> None:
    job_id = unpaid(arena)
    jobs = arena.arm("jobs", "jobs.write_off.before_settle")
    request = WriteOffJobRequest(job_id=job_id, reason="never paid")

    assert refusal(lambda: arena.stack.jobs.WriteOffJob(request)) is not None
    expect_death(jobs)
    assert arena.state(job_id) == ("SUCCEEDED", "DECLINED")
    [(transaction_id, _)] = arena.deductions(job_id)

    arena.start("jobs")
    if by == "the same call":
        assert arena.stack.jobs.WriteOffJob(request).job.transaction_id == transaction_id
    arena.expect_success(job_id, held=False)
    assert str(arena.row(job_id)["transaction_id"]) == transaction_id
