"""Each kind of damage is planted in real databases, and is found and named; what is right is no finding."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from tests.integration.tools.verify.conftest import DONE, Platform
from tools.verify.findings import Finding, Kind, Limits, VerifyReport

AGES = timedelta(hours=1)


def only(report: VerifyReport, kind: Kind) -> Finding:
    assert report.counts == {kind: 1}, report.offenders
    assert not report.ok
    return report.offenders[kind][0]


@pytest.mark.parametrize("page", [1, 2, 10_000])
@pytest.mark.usefixtures("wallet_id")
async def test_books_that_are_right_are_ok(platform: Platform, page: int) -> None:
    report = await platform.verified(limits=Limits(page=page))
    assert report.ok, report.offenders
    assert (report.wallets, report.transactions, report.jobs_checked, report.receipts_checked) == (2, 6, 5, 1)
    assert report.active_holds == 1
    assert report.suspects == 0


async def test_empty_databases_are_ok(platform: Platform) -> None:
    assert (await platform.verified()).ok


async def test_a_charge_that_is_not_in_the_ledger_is_missing(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    job_id = platform.done(customer_id, billing_status="CHARGED", transaction_id=uuid7())
    assert only(await platform.verified(), Kind.MISSING_CHARGE).id == job_id


async def test_a_deduction_that_was_taken_out_of_the_ledger_is_a_gap_and_a_missing_charge(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    job_id, transaction_id = platform.charged(customer_id, wallet_id)
    platform.charged(customer_id, wallet_id)
    with platform.unguarded():
        platform.wallets.execute("DELETE FROM wallet_transactions WHERE id = %s", (transaction_id,))
    report = await platform.verified()
    assert (report.sequence_gaps, report.ledger_imbalance_cents) == (1, 5)
    assert report.offenders[Kind.MISSING_CHARGE][0].id == job_id
    assert report.offenders[Kind.SEQUENCE_GAP][0].id == wallet_id
    assert report.offenders[Kind.LEDGER_IMBALANCE][0].id == wallet_id


async def test_a_balance_that_somebody_changed_is_an_imbalance(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    platform.wallets.execute(
        "UPDATE wallets SET current_balance_cents = current_balance_cents + 7 WHERE id = %s", (wallet_id,)
    )
    report = await platform.verified()
    assert only(report, Kind.LEDGER_IMBALANCE).id == wallet_id
    assert report.to_json()["ledger_imbalance_cents"] == 7


async def test_pending_charges_without_a_hold_are_an_imbalance(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    platform.wallets.execute("UPDATE wallets SET pending_charges_cents = 9 WHERE id = %s", (wallet_id,))
    report = await platform.verified()
    assert only(report, Kind.PENDING_IMBALANCE).id == wallet_id
    assert report.to_json()["pending_imbalance_cents"] == 9


@pytest.mark.parametrize("page", [1, 10_000])
async def test_a_charge_to_two_wallets_is_a_double_charge(
    platform: Platform, customer_id: UUID, wallet_id: UUID, page: int
) -> None:
    job_id, _ = platform.charged(customer_id, wallet_id)
    platform.deduction_again(platform.wallet(customer_id, "USD"), job_id)
    # A page does not end between the two.
    report = await platform.verified(limits=Limits(grace=timedelta(), page=page))
    assert only(report, Kind.DOUBLE_CHARGE).id == job_id


async def test_a_charge_without_job_is_found(platform: Platform, customer_id: UUID, wallet_id: UUID) -> None:
    job_id = uuid7()
    platform.deduction(wallet_id, job_id)
    assert only(await platform.verified(), Kind.CHARGE_WITHOUT_JOB).id == job_id


async def test_a_charge_for_a_job_that_failed_is_one_without_job(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    job_id = platform.job(customer_id, status="FAILED", billing_status="RELEASED", completed_at="2026-01-01T00:00:00Z")
    platform.deduction(wallet_id, job_id)
    assert "FAILED" in only(await platform.verified(), Kind.CHARGE_WITHOUT_JOB).description


async def test_an_old_hold_without_job_is_an_orphan_and_a_young_one_is_not(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    platform.hold(wallet_id, uuid7())
    hold_id = platform.hold(wallet_id, uuid7(), AGES)
    assert only(await platform.verified(), Kind.ORPHAN_HOLD).id == hold_id
    strict = await platform.verified(limits=Limits(grace=timedelta(), in_flight=timedelta()))
    assert strict.counts == {Kind.ORPHAN_HOLD: 2}


async def test_a_job_whose_hold_was_released_is_found(platform: Platform, customer_id: UUID, wallet_id: UUID) -> None:
    job_id = uuid7()
    hold_id = platform.hold(wallet_id, job_id)
    platform.job(customer_id, job_id, billing_status="HELD", hold_id=hold_id)
    platform.end_hold(hold_id)
    finding = only(await platform.verified(), Kind.MISSING_HOLD)
    assert finding.id == job_id
    assert "is RELEASED" in finding.description


@pytest.mark.parametrize(
    ("next_try", "completed", "found"),
    [
        (None, "1 minute", "no next try"),
        ("-10 minutes", "20 minutes", "to be tried again"),
        ("1 minute", "20 minutes", "due since"),
        ("1 minute", "1 minute", None),
        ("-1 minute", "2 minutes", None),
    ],
)
@pytest.mark.usefixtures("wallet_id")
async def test_a_charge_that_is_due_for_too_long_is_overdue(
    platform: Platform, customer_id: UUID, next_try: str | None, completed: str, found: str | None
) -> None:
    job_id = platform.done(customer_id, billing_status="CHARGE_DUE")
    platform.jobs.execute(
        "UPDATE jobs SET next_try_at = now() + CAST(%s AS interval), completed_at = now() - CAST(%s AS interval)"
        " WHERE id = %s",
        (next_try, completed, job_id),
    )
    report = await platform.verified()
    if found is None:
        assert report.ok
    else:
        assert found in only(report, Kind.UNSETTLED_OVERDUE).description


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (
            {
                "status": "RUNNING",
                "started_at": "2026-01-01T00:00:00Z",
                "runner_id": UUID(int=1),
                "lease_id": UUID(int=1),
                "lease_expires_at": "2026-01-01T00:01:00Z",
            },
            "its lease ended at 2026-01-01 00:01:00Z",
        ),
        ({"status": "SCHEDULED", "run_at": "2026-01-01T00:02:00Z"}, "to be queued at 2026-01-01 00:02:00Z"),
        ({"expires_at": "2026-01-01T00:03:00Z"}, "it expired at 2026-01-01 00:03:00Z"),
    ],
)
async def test_a_job_that_nobody_moves_is_stuck(
    platform: Platform, customer_id: UUID, wallet_id: UUID, values: dict[str, Any], found: str
) -> None:
    job_id = platform.job(customer_id, **values)
    finding = only(await platform.verified(), Kind.STUCK_JOB)
    assert finding.id == job_id
    assert found in finding.description


@pytest.mark.parametrize(
    ("constraint", "values", "column"),
    [
        ("completed_when_final", {"completed_at": "2026-01-01T00:00:00Z"}, "completed_at"),
        ("output_when_done", {"output_data": "{}"}, "output_data"),
        ("cost_when_done", {"cost_cents": 5}, "cost_cents"),
        ("started_when_run", {**DONE, "billing_status": "CHARGE_DUE", "started_at": None}, "started_at"),
        ("leased_when_running", {"lease_id": UUID(int=1)}, "lease_id"),
        ("leased_when_running", {"lease_expires_at": "2100-01-01T00:00:00Z"}, "lease_expires_at"),
        ("transaction_when_charged", {"transaction_id": UUID(int=1)}, "transaction_id"),
        ("hold_when_held", {"billing_status": "RELEASE_DUE"}, "hold_id"),
        ("charged_when_done", {"billing_status": "DECLINED"}, "billing_status"),
    ],
)
@pytest.mark.usefixtures("wallet_id")
async def test_a_job_that_contradicts_itself_is_found_where_no_constraint_keeps_it_out(
    platform: Platform, customer_id: UUID, constraint: str, values: dict[str, Any], column: str
) -> None:
    for check in {constraint, "billing_fits_status"}:
        platform.jobs.execute(f"ALTER TABLE jobs DROP CONSTRAINT ck_jobs_{check}".encode())
    job_id = platform.job(customer_id, **{**values, "next_try_at": "2100-01-01T00:00:00Z"})
    platform.jobs.execute("UPDATE jobs SET completed_at = now() WHERE id = %s AND completed_at IS NOT NULL", (job_id,))
    report = await platform.verified()
    [finding] = report.offenders[Kind.INCONSISTENT_JOB]
    assert finding.id == job_id
    assert finding.description.endswith(f"does not fit its {column}")


@pytest.mark.parametrize(
    ("change", "unknown"),
    [
        ("status = 'SUSPENDED'", "status SUSPENDED"),
        ("billing_status = 'CHARGE_LATER'", "billing_status CHARGE_LATER"),
        ("priority = 7", "priority 7"),
        ("labels = '{\"n\": 1}'", "labels"),
        ("labels = '[]'", "labels"),
        ("error = '{}'", "error"),
        ("error = '[]'", "error"),
        ("""error = '{"type": 1, "message": "", "attempt": 1, "retryable": true, "at": ""}'""", "error"),
    ],
)
@pytest.mark.usefixtures("wallet_id")
async def test_a_job_with_a_value_that_a_later_release_wrote_is_named(
    platform: Platform, customer_id: UUID, change: str, unknown: str
) -> None:
    for check in ("status_known", "billing_status_known", "priority_known", "billing_fits_status"):
        platform.jobs.execute(f"ALTER TABLE jobs DROP CONSTRAINT ck_jobs_{check}".encode())
    job_id = platform.job(customer_id)
    platform.jobs.execute(f"UPDATE jobs SET {change} WHERE id = %s".encode(), (job_id,))
    finding = only(await platform.verified(), Kind.NOT_UNDERSTOOD)
    assert finding.id == job_id
    assert finding.description.endswith(f"does not understand: {unknown}")


async def test_a_job_that_is_over_and_still_held_contradicts_itself(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    platform.jobs.execute("ALTER TABLE jobs DROP CONSTRAINT ck_jobs_billing_fits_status")
    job_id = platform.job(customer_id, status="CANCELLED", billing_status="UNHELD", completed_at="2026-01-01T00:00:00Z")
    assert only(await platform.verified(), Kind.INCONSISTENT_JOB).id == job_id


async def test_declined_and_blocked_charges_are_counted_and_are_no_damage(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    declined = platform.done(customer_id, billing_status="DECLINED")
    blocked = platform.done(customer_id, billing_status="CHARGE_BLOCKED")
    report = await platform.verified()
    assert report.ok
    assert report.counts == {Kind.DECLINED: 1, Kind.BLOCKED: 1}
    assert [report.offenders[kind][0].id for kind in (Kind.DECLINED, Kind.BLOCKED)] == [declined, blocked]


async def test_what_heals_within_the_grace_time_is_no_finding(
    platform: Platform, customer_id: UUID, wallet_id: UUID
) -> None:
    late = uuid7()
    hold_id = platform.hold(wallet_id, uuid7(), AGES)
    without = uuid7()
    platform.deduction(wallet_id, without)
    platform.done(customer_id, billing_status="CHARGE_DUE")

    async def heal(seconds: float) -> None:
        assert seconds == 3
        platform.end_hold(hold_id)
        platform.jobs.execute(
            "UPDATE jobs SET next_try_at = now(), completed_at = now() WHERE billing_status = 'CHARGE_DUE'"
        )
        transaction_id = platform.wallets.execute(
            "SELECT id FROM wallet_transactions WHERE job_id = %s", (without,)
        ).fetchall()[0][0]
        platform.done(customer_id, without, billing_status="CHARGED", transaction_id=transaction_id)
        platform.jobs.execute(
            "UPDATE jobs SET transaction_id = %s WHERE id = %s", (platform.deduction(wallet_id, late), late)
        )

    platform.done(customer_id, late, billing_status="CHARGED", transaction_id=uuid7())
    report = await platform.verified(limits=Limits(grace=timedelta(seconds=3)), wait=heal)
    assert report.ok, report.offenders
    assert report.suspects == 4


async def test_it_changes_nothing_unless_it_is_told_to(platform: Platform, customer_id: UUID, wallet_id: UUID) -> None:
    transaction_id = uuid7()
    job_id = platform.done(customer_id, billing_status="CHARGED", transaction_id=transaction_id)
    await platform.verified()
    assert platform.row(job_id, "billing_status", "transaction_id", "version") == ("CHARGED", transaction_id, 1)
