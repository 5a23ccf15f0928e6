"""The statements of the housekeeping: each finds a bounded number of jobs by an index of its own.

Rows locked by another replica are skipped (SKIP LOCKED), so all replicas can work at the same time without waiting. The
rows to change are chosen once (MATERIALIZED): a subquery may be run again for each row, and would then take more than
its limit. They are changed by an array of their keys: the planner, which does not know how few are chosen, would read
the whole table to join it with them (of a million waiting jobs a feed of a thousand took 0.3 s).

A job with a value that only a later release understands is left alone until that release is back: background work
skips it (`KNOWN`), and `LEFT_ALONE` finds such jobs.
"""

# ruff: noqa: S608 - only constants of this module are inserted

from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import text

from services.jobs.rules.entities import BILLING_IS_OVER, SETTLERS, BillingStatus, JobStatus
from services.jobs.rules.job_types import Priority


def _one_of(column: str, values: Iterable[StrEnum]) -> str:
    listed = ", ".join(f"'{one.value}'" for one in values)
    return f"{column} IN ({listed})"


KNOWN = " AND ".join(
    (
        _one_of("status", JobStatus),
        _one_of("billing_status", BillingStatus),
        f"priority IN ({', '.join(str(one.value) for one in Priority)})",
    )
)
_LOST = "status = 'RUNNING' AND callback_expires_at IS NULL AND lease_expires_at < now()"
_OVERDUE = "status = 'RUNNING' AND callback_expires_at < now()"
_EXPIRED = "status IN ('SCHEDULED', 'PENDING') AND started_at IS NULL AND expires_at <= now()"
_SETTLERS = _one_of("billing_status", SETTLERS)
_DUE = f"{_SETTLERS} AND (next_try_at IS NULL OR next_try_at <= now())"

# RUNNING jobs are few: those that runners have in hand.
LOST = text(
    f"""
    SELECT id FROM jobs WHERE {_LOST} AND {KNOWN} AND id <> ALL(:without)
    ORDER BY lease_expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)
OVERDUE = text(
    f"""
    SELECT id FROM jobs WHERE {_OVERDUE} AND {KNOWN} AND id <> ALL(:without)
    ORDER BY callback_expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)
EXPIRED = text(
    f"""
    SELECT id FROM jobs WHERE {_EXPIRED} AND {KNOWN} AND id <> ALL(:without)
    ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)
# Jobs that are due for background work, but have values unknown to this release. Each part reads an index of its own.
LEFT_ALONE = text(
    " UNION ".join(
        f"(SELECT id, status, billing_status, priority FROM jobs WHERE {due} AND NOT ({KNOWN}) LIMIT :limit)"
        for due in (_LOST, _OVERDUE, _EXPIRED, _DUE)
    )
)

TAKE_UNSETTLED = text(
    f"""
    WITH due AS MATERIALIZED (
        SELECT id FROM jobs WHERE {_DUE} AND {KNOWN}
        ORDER BY next_try_at NULLS FIRST LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET settle_attempts = settle_attempts + 1,
        next_try_at = now() + least(:settle_after * power(2, least(settle_attempts, 30)), :longest)
    WHERE id = ANY(ARRAY(SELECT id FROM due))
    RETURNING id, billing_status, customer_id, currency, cost_cents, hold_id
    """
)

COUNT_UNSETTLED = text(
    f"""
    SELECT billing_status, count(*), count(*) FILTER (WHERE next_try_at < now() - interval '1 minute')
    FROM jobs WHERE {_SETTLERS}
    GROUP BY billing_status
    UNION ALL
    SELECT billing_status, count(*), 0 FROM jobs WHERE billing_status = 'CHARGE_BLOCKED' GROUP BY billing_status
    """
)

FINISHED = text(
    f"""
    SELECT id FROM jobs
    WHERE completed_at < now() - :age AND {_one_of("billing_status", BILLING_IS_OVER)} AND {KNOWN}
        AND id <> ALL(:without)
    ORDER BY completed_at LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)
DELETE_FINISHED = text(
    """
    WITH deleted AS (
        DELETE FROM jobs WHERE id = ANY(:ids) RETURNING jobs.*
    ), kept AS (
        INSERT INTO receipts (job_id, customer_id, currency, cost_cents, transaction_id, completed_at)
        SELECT id, customer_id, currency, cost_cents, transaction_id, completed_at FROM deleted
        WHERE billing_status = 'CHARGED'
        -- A job with a receipt was submitted again under its ID: it was charged once, under the same key.
        ON CONFLICT (job_id) DO NOTHING
    )
    SELECT count(*) FROM deleted
    """
)

LOSE_RUNS = text(
    """
    WITH old AS MATERIALIZED (
        SELECT ctid FROM lost_runs WHERE lost_at < now() - interval '1 hour' LIMIT 1000 FOR UPDATE SKIP LOCKED
    ), forgotten AS (
        DELETE FROM lost_runs WHERE ctid IN (SELECT ctid FROM old)
    )
    INSERT INTO lost_runs (runner_id, jobs)
    SELECT * FROM unnest(CAST(:runner_ids AS uuid[]), CAST(:jobs AS int[]))
    """
)
