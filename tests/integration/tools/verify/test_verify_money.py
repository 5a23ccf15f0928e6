"""Money that went wrong in a way that each row by itself allows: constraints and triggers are in force here."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import CheckViolation
from uuid_utils.compat import uuid7

from tests.integration.tools.verify.conftest import DONE, PRICE, Platform
from tools.verify.findings import Finding, Kind, Limits, VerifyReport

_REFUND = """
WITH advanced AS (
    UPDATE wallets SET last_sequence = last_sequence + 1, current_balance_cents = current_balance_cents + %(cents)s,
        updated_at = now(), version = version + 1
    WHERE id = %(wallet_id)s RETURNING *
)
INSERT INTO wallet_transactions (id, wallet_id, sequence, kind, counter_account, amount_cents, balance_after_cents,
    idempotency_key, job_id, refunds_transaction_id, created_at)
SELECT %(id)s, id, last_sequence, %(kind)s, %(counter)s, %(cents)s, current_balance_cents, %(key)s, %(job_id)s,
    %(charge)s, updated_at
FROM advanced
"""


def given_back(platform: Platform, wallet_id: UUID, cents: int, job_id: UUID, charge: UUID | None) -> UUID:
    """A refund of a charge; without one an adjustment that writes off."""
    values: dict[str, Any] = {
        "id": uuid7(),
        "wallet_id": wallet_id,
        "cents": cents,
        "kind": "REFUND" if charge else "ADJUSTMENT",
        "counter": "REVENUE" if charge else "ADJUSTMENT",
        "key": f"refund:{uuid7()}" if charge else f"write-off:{job_id}",
        "job_id": job_id,
        "charge": charge,
    }
    platform.wallets.execute(_REFUND, values)
    return UUID(str(values["id"]))


def only(report: VerifyReport, kind: Kind) -> Finding:
    assert report.counts == {kind: 1}, report.offenders
    assert not report.ok
    return report.offenders[kind][0]


@pytest.mark.parametrize("billing_status", ["RELEASED", "NOT_BILLABLE", "RELEASE_DUE"])
@pytest.mark.usefixtures("wallet_id")
async def test_work_that_was_done_and_never_charged_is_refused_by_the_database_and_found_by_the_check(
    platform: Platform, customer_id: UUID, billing_status: str
) -> None:
    values: dict[str, Any] = {"billing_status": billing_status, "next_try_at": "2026-01-01T00:00:00Z"}
    with pytest.raises(CheckViolation):
        platform.done(customer_id, **values)
    platform.jobs.execute("ALTER TABLE jobs DROP CONSTRAINT ck_jobs_billing_fits_status")
    job_id = platform.done(customer_id, **{**values, "hold_id": uuid7()})
    report = await platform.verified()
    assert [one.id for one in report.offenders[Kind.INCONSISTENT_JOB]] == [job_id]


async def test_more_refunds_than_the_charge_was_are_found_from_the_one_on_that_is_too_much(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    job_id, charge = platform.charged(customer_id, wallet_id)
    _, second, third = [given_back(platform, wallet_id, PRICE, job_id, charge) for _ in range(3)]
    report = await platform.verified()
    assert report.counts == {Kind.INCONSISTENT_TRANSACTION: 2}
    assert {one.id for one in report.offenders[Kind.INCONSISTENT_TRANSACTION]} == {second, third}


async def test_a_refund_into_the_wallet_of_somebody_else_is_found(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    job_id, charge = platform.charged(customer_id, wallet_id)
    refund = given_back(platform, platform.wallet(platform.customer(), "USD"), PRICE, job_id, charge)
    finding = only(await platform.verified(), Kind.INCONSISTENT_TRANSACTION)
    assert (finding.subject, finding.id) == ("transaction", refund)
    assert "another wallet was charged" in finding.description


async def test_half_a_write_off_is_found(platform: Platform, customer_id: UUID, wallet_id: UUID) -> None:
    adjustment = given_back(platform, wallet_id, PRICE, uuid7(), None)
    assert only(await platform.verified(), Kind.INCONSISTENT_TRANSACTION).id == adjustment


async def test_a_write_off_with_its_charge_is_no_finding_and_gives_nothing_back(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    job_id = uuid7()
    given_back(platform, wallet_id, PRICE, job_id, None)
    charge = platform.deduction(wallet_id, job_id)
    platform.done(customer_id, job_id, billing_status="CHARGED", transaction_id=charge)
    assert (await platform.verified()).ok
    refund = given_back(platform, wallet_id, 1, job_id, charge)
    assert only(await platform.verified(), Kind.INCONSISTENT_TRANSACTION).id == refund


async def test_a_hold_that_no_charge_captured_is_found(platform: Platform, customer_id: UUID, wallet_id: UUID) -> None:
    hold_id = platform.hold(wallet_id, uuid7())
    platform.end_hold(hold_id)
    platform.wallets.execute("UPDATE holds SET state = 'CAPTURED' WHERE id = %s", (hold_id,))
    assert only(await platform.verified(), Kind.INCONSISTENT_HOLD).id == hold_id


async def test_a_hold_of_another_amount_on_the_wallet_of_somebody_else_is_found(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    cheap, foreign = uuid7(), uuid7()
    platform.job(
        customer_id,
        cheap,
        billing_status="HELD",
        hold_id=platform.hold(wallet_id, cheap),
        estimated_cost_cents=100 * PRICE,
    )
    elsewhere = platform.hold(platform.wallet(platform.customer(), "USD"), foreign)
    platform.job(customer_id, foreign, billing_status="HELD", hold_id=elsewhere)
    report = await platform.verified()
    assert report.counts == {Kind.MISSING_HOLD: 2}
    assert {one.id for one in report.offenders[Kind.MISSING_HOLD]} == {cheap, foreign}


async def test_jobs_and_wallets_of_customers_who_do_not_exist_are_found_and_of_deleted_ones_are_not(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    platform.customers.execute("UPDATE customers SET active = false")
    assert (await platform.verified()).ok
    nobody, no_one = uuid7(), uuid7()
    platform.wallet(nobody)
    platform.done(no_one, billing_status="CHARGE_DUE", next_try_at="2026-01-01T00:00:00Z", **_now(platform))
    report = await platform.verified(limits=Limits(grace=timedelta(), late=timedelta(days=10_000)))
    assert report.counts == {Kind.UNKNOWN_CUSTOMER: 2}
    assert {one.id for one in report.offenders[Kind.UNKNOWN_CUSTOMER]} == {nobody, no_one}


def _now(platform: Platform) -> dict[str, Any]:
    [(now,)] = platform.jobs.execute("SELECT now()").fetchall()
    return dict.fromkeys(("created_at", "started_at", "completed_at"), now)


@pytest.mark.parametrize(
    ("database", "change"),
    [
        ("jobs", "UPDATE job_types SET processor_type = 'QUANTUM'"),
        ("wallets", "UPDATE holds SET state = 'FROZEN', resolved_at = now()"),
        ("wallets", "UPDATE wallet_transactions SET kind = 'PAYOUT' WHERE kind = 'CREDIT' AND wallet_id = %s"),
        ("wallets", "UPDATE wallet_transactions SET counter_account = 'FEES' WHERE kind = 'CREDIT' AND wallet_id = %s"),
    ],
)
async def test_a_value_that_a_later_release_wrote_is_named_where_it_stands(
    platform: Platform, wallet_id: UUID, database: str, change: str
) -> None:
    for table, check in (
        ("holds", "state_is_known"),
        ("wallet_transactions", "sign_fits_kind"),
        ("wallet_transactions", "counter_account_fits_kind"),
    ):
        platform.wallets.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_{table}_{check}".encode())
    connection: psycopg.Connection[Any] = getattr(platform, database)
    with platform.unguarded():
        connection.execute(change.encode(), (wallet_id,) if "%s" in change else None)
    report = await platform.verified()
    assert report.counts[Kind.VALUE_NOT_UNDERSTOOD] == 1, report.offenders
    assert "does not understand" in report.offenders[Kind.VALUE_NOT_UNDERSTOOD][0].description


async def test_what_is_late_follows_the_settings_of_the_services(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    hold_id = platform.hold(wallet_id, uuid7(), timedelta(minutes=50))
    assert only(await platform.verified(), Kind.ORPHAN_HOLD).id == hold_id
    slow = Limits(grace=timedelta()).allowing(
        housekeeping_every=timedelta(seconds=2),
        settled_after=timedelta(seconds=5),
        hold_orphan_after=timedelta(hours=1),
        holds_kept=timedelta(days=90),
    )
    assert (await platform.verified(limits=slow)).ok
    assert slow.late == Limits().late


async def test_a_charged_job_that_names_the_transaction_of_another_job_is_found_and_can_be_mended(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    _, foreign = platform.charged(customer_id, wallet_id)
    job_id = uuid7()
    own = platform.deduction(wallet_id, job_id)
    platform.job(customer_id, job_id, **{**DONE, "billing_status": "CHARGED", "transaction_id": foreign})
    finding = only(await platform.verified(), Kind.MISSING_CHARGE)
    assert finding.id == job_id
    assert finding.repair is not None
    assert str(own) in finding.description
