"""What `--repair` does to real databases, and what it leaves alone."""

from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import SecretStr
from uuid_utils.compat import uuid7

from services.kit.settings import DatabaseSettings
from tests.integration.tools.verify.conftest import DONE, Platform
from tools.verify.findings import Kind, Limits, Rebill, TryNow, VerifyReport
from tools.verify.repair import HoldNotReleased, Proposals, Repairer
from tools.verify.store.books import open_books
from tools.verify.verification import verify


class Released:
    """Stands in for the wallets service."""

    def __init__(self, platform: Platform, problem: str | None = None) -> None:
        self.holds: list[UUID] = []
        self._platform = platform
        self._problem = problem

    async def __call__(self, hold_id: UUID) -> None:
        self.holds.append(hold_id)
        if self._problem is not None:
            raise HoldNotReleased(self._problem)
        self._platform.end_hold(hold_id)


async def repaired(platform: Platform, kind: Kind) -> tuple[bool, str]:
    """Repair, and return whether the repair took effect, and its outcome."""
    report: VerifyReport = await platform.verified(Released(platform))
    assert not report.ok
    [one] = report.repaired[kind]
    assert report.repairs == one.done
    return one.done, one.outcome


async def test_a_charge_that_the_ledger_lost_is_made_again_by_the_settler(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    job_id = platform.done(customer_id, billing_status="CHARGED", transaction_id=uuid7(), settle_attempts=9)
    done, outcome = await repaired(platform, Kind.MISSING_CHARGE)
    assert done
    assert "CHARGE_DUE again" in outcome
    row = platform.row(job_id, "billing_status", "transaction_id", "next_try_at <= now()", "settle_attempts", "version")
    assert row == ("CHARGE_DUE", None, True, 0, 2)


@pytest.mark.parametrize("billing_status", ["DECLINED", "CHARGE_BLOCKED"])
async def test_an_unpaid_job_that_was_charged_becomes_charged(
    platform: Platform, customer_id: UUID, wallet_id: UUID, billing_status: str
) -> None:
    job_id = platform.done(customer_id, billing_status=billing_status, next_try_at="2100-01-01T00:00:00Z")
    transaction_id = platform.deduction(wallet_id, job_id)
    assert (await repaired(platform, Kind.CHARGE_WITHOUT_JOB))[0]
    row = platform.row(job_id, "billing_status", "transaction_id", "next_try_at", "version")
    assert row == ("CHARGED", transaction_id, None, 2)
    assert (await platform.verified()).ok


async def test_a_charge_that_is_overdue_and_was_made_is_settled(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    job_id = platform.done(customer_id, billing_status="CHARGE_DUE")
    transaction_id = platform.deduction(wallet_id, job_id)
    report = await platform.verified(Released(platform))
    assert report.counts == {Kind.CHARGE_WITHOUT_JOB: 1, Kind.UNSETTLED_OVERDUE: 1}
    assert platform.row(job_id, "billing_status", "transaction_id") == ("CHARGED", transaction_id)
    assert (await platform.verified()).ok


async def test_a_charge_that_is_there_under_another_name_is_taken_over(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    job_id = platform.done(customer_id, billing_status="CHARGED", transaction_id=uuid7())
    transaction_id = platform.deduction(wallet_id, job_id)
    assert (await repaired(platform, Kind.MISSING_CHARGE))[0]
    assert platform.row(job_id, "billing_status", "transaction_id") == ("CHARGED", transaction_id)
    assert (await platform.verified()).ok


@pytest.mark.parametrize("billing_status", ["CHARGE_DUE", "RELEASE_DUE"])
async def test_a_job_without_next_try_gets_one(
    platform: Platform, customer_id: UUID, wallet_id: UUID, billing_status: str
) -> None:
    job_id = uuid7()
    values = DONE if billing_status == "CHARGE_DUE" else {"status": "FAILED", "completed_at": DONE["completed_at"]}
    hold_id = platform.hold(wallet_id, job_id)
    platform.job(customer_id, job_id, **{**values, "billing_status": billing_status, "hold_id": hold_id})
    assert (await repaired(platform, Kind.UNSETTLED_OVERDUE))[0]
    assert platform.row(job_id, "billing_status", "next_try_at <= now()", "version") == (billing_status, True, 2)


async def test_an_orphan_hold_is_released_by_the_wallets_service(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    hold_id = platform.hold(wallet_id, uuid7(), timedelta(hours=1))
    release = Released(platform)
    report = await platform.verified(release)
    assert release.holds == [hold_id]
    assert report.repairs == 1
    assert (await platform.verified()).ok


async def test_a_hold_that_the_wallets_service_does_not_release_is_said_so(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    platform.hold(wallet_id, uuid7(), timedelta(hours=1))
    report = await platform.verified(Released(platform, "not released: the service is unreachable"))
    [one] = report.repaired[Kind.ORPHAN_HOLD]
    assert (one.done, one.outcome, report.repairs) == (False, "not released: the service is unreachable", 0)


async def test_what_only_somebody_can_decide_is_left_alone(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    platform.deduction(wallet_id, uuid7())
    job_id, _ = platform.charged(customer_id, wallet_id)
    platform.deduction_again(platform.wallet(customer_id, "USD"), job_id)
    report = await platform.verified(Released(platform))
    assert report.counts == {Kind.CHARGE_WITHOUT_JOB: 1, Kind.DOUBLE_CHARGE: 1}
    assert (report.repairs, report.repaired) == (0, {})


async def test_what_comes_after_it_was_agreed_to_is_left_alone(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    agreed_to = platform.hold(wallet_id, uuid7(), timedelta(days=1))
    released = Released(platform)
    settings = {name: DatabaseSettings(url=SecretStr(url)) for name, url in platform.urls.items()}
    async with open_books(**settings, limits=(limits := Limits(grace=timedelta()))) as opened:
        proposals = Proposals()
        await verify(opened.books, limits=limits, repairing=proposals)
        assert [one.id for one in proposals.findings] == [agreed_to]
        [told] = proposals.plan()
        assert told.startswith(f"hold {agreed_to}: 0.05 EUR held since ")
        assert told.endswith(": released")
        platform.hold(wallet_id, uuid7(), timedelta(days=1))
        agreed = {one.repair for one in proposals.findings if one.repair is not None}
        report = await verify(opened.books, limits=limits, repairing=Repairer(opened.repairs, released, agreed))
    assert released.holds == [agreed_to]
    assert (report.counts[Kind.ORPHAN_HOLD], report.repairs) == (2, 1)


async def test_a_job_that_has_changed_since_it_was_judged_is_left_alone(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    job_id, transaction_id = platform.charged(customer_id, wallet_id)
    settings = {name: DatabaseSettings(url=SecretStr(url)) for name, url in platform.urls.items()}
    async with open_books(**settings, limits=Limits()) as opened:
        assert not await opened.repairs.rebill(Rebill(job_id, "CHARGED", uuid7(), None))
        assert not await opened.repairs.rebill(Rebill(job_id, "CHARGE_DUE", None, None))
        assert not await opened.repairs.try_now(TryNow(job_id, "CHARGE_DUE"))
    assert platform.row(job_id, "billing_status", "transaction_id", "version") == ("CHARGED", transaction_id, 1)
