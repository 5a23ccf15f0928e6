"""The books in the jobs database, read in short read-only transactions."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Interval, TextClause, Uuid, bindparam, text
from typing_extensions import override

from services.kit.data.transactions.sql import SqlTransactions
from tools.verify.findings import Limits
from tools.verify.lines import JobLine, JobsBooks, Range, Receipt
from tools.verify.store.walking import WALK

# The CHECK constraints are repeated here, because they may have been dropped, or be younger than the row. All times are
# compared with the clock of the database.
_JOB = """
SELECT id AS job_id, customer_id, currency, status, billing_status, cost_cents, transaction_id, hold_id,
    CASE
        WHEN (completed_at IS NOT NULL) <> (status IN ('SUCCEEDED', 'FAILED', 'CANCELLED')) THEN 'completed_at'
        WHEN (output_data IS NOT NULL) <> (status = 'SUCCEEDED') THEN 'output_data'
        WHEN (cost_cents IS NOT NULL) <> (status = 'SUCCEEDED') THEN 'cost_cents'
        WHEN started_at IS NULL AND status IN ('RUNNING', 'SUCCEEDED') THEN 'started_at'
        WHEN (lease_id IS NOT NULL) <> (status = 'RUNNING') THEN 'lease_id'
        WHEN (lease_expires_at IS NOT NULL) <> (status = 'RUNNING') THEN 'lease_expires_at'
        WHEN callback_expires_at IS DISTINCT FROM lease_expires_at AND callback_expires_at IS NOT NULL
            THEN 'callback_expires_at'
        WHEN (transaction_id IS NOT NULL) <> (billing_status = 'CHARGED') THEN 'transaction_id'
        WHEN hold_id IS NULL AND (billing_status IN ('HELD', 'RELEASE_DUE') OR unit_price_micro_cents IS NOT NULL)
            THEN 'hold_id'
        WHEN (billing_status IN ('CHARGE_DUE', 'CHARGED', 'DECLINED', 'CHARGE_BLOCKED'))
            <> (status = 'SUCCEEDED' AND cost_cents > 0) THEN 'billing_status'
        WHEN billing_status IN ('HELD', 'UNHELD') AND completed_at IS NOT NULL THEN 'billing_status'
        WHEN billing_status IN ('RELEASE_DUE', 'RELEASED') AND status NOT IN ('FAILED', 'CANCELLED')
            AND (status = 'SUCCEEDED' AND cost_cents = 0 AND unit_price_micro_cents IS NOT NULL) IS NOT TRUE
            THEN 'billing_status'
        WHEN (billing_status = 'NOT_BILLABLE') <> (estimated_cost_cents = 0) OR estimated_cost_cents < 0
            THEN 'estimated_cost_cents'
        WHEN cost_cents > estimated_cost_cents THEN 'cost_cents: more than its hold'
        WHEN usage_units < 0 OR (usage_units IS NOT NULL AND status <> 'SUCCEEDED') THEN 'usage_units'
        WHEN CASE WHEN unit_price_micro_cents IS NULL THEN metering_unit IS NOT NULL OR standard_cost_cents IS NOT NULL
            ELSE (metering_unit <> '' AND unit_price_micro_cents > 0
                AND standard_cost_cents BETWEEN 0 AND estimated_cost_cents) IS NOT TRUE END THEN 'metering'
        -- The rule of services/jobs/rules/prices/metering.py.
        WHEN cost_cents <> CASE WHEN unit_price_micro_cents IS NULL THEN estimated_cost_cents
            WHEN usage_units IS NULL THEN standard_cost_cents
            ELSE least(estimated_cost_cents, div(usage_units::numeric * unit_price_micro_cents + 500000, 1000000)) END
            THEN 'cost_cents: not what it has used'
        WHEN currency !~ '^[A-Z]{3}$' THEN 'currency'
        WHEN NOT EXISTS (SELECT FROM job_types WHERE job_types.id = jobs.job_type_id) THEN 'job_type_id'
        WHEN queue = '' THEN 'queue'
        WHEN status = 'SCHEDULED' AND run_at IS NULL THEN 'run_at'
        WHEN status = 'RUNNING' AND runner_id IS NULL THEN 'runner_id'
        WHEN (completed_lease_id IS NULL) <> (completion_digest IS NULL) THEN 'completed_lease_id'
        WHEN least(attempt, rescue_count, snooze_count, deaths, early_losses, retry_count, hold_generation,
            settle_attempts, input_bytes, output_bytes) < 0 OR max_attempts < 1 OR version < 1 THEN 'counts'
        WHEN greatest(created_at, queued_at, dispatched_at, started_at, completed_at) > now() + :late
            OR started_at < created_at - :late OR completed_at < coalesce(started_at, created_at) - :late
            OR expires_at < created_at - :late THEN 'times'
    END AS disagreement,
    CASE
        WHEN status = 'RUNNING' AND lease_expires_at < now() - :late
            THEN CASE WHEN callback_expires_at IS NULL THEN 'its lease ended at ' ELSE 'its wait ended at ' END
                || to_char(lease_expires_at, 'YYYY-MM-DD HH24:MI:SS"Z"')
        WHEN status = 'SCHEDULED' AND run_at < now() - :late
            THEN 'it was to be queued at ' || to_char(run_at, 'YYYY-MM-DD HH24:MI:SS"Z"')
        WHEN status IN ('SCHEDULED', 'PENDING') AND started_at IS NULL AND expires_at < now() - :late
            THEN 'it expired at ' || to_char(expires_at, 'YYYY-MM-DD HH24:MI:SS"Z"')
    END AS stuck,
    CASE
        WHEN billing_status IN ('CHARGE_DUE', 'RELEASE_DUE', 'DECLINED') AND next_try_at > now() + :in_flight
            THEN 'it is not to be tried again before ' || to_char(next_try_at, 'YYYY-MM-DD HH24:MI:SS"Z"')
        WHEN billing_status IN ('CHARGE_DUE', 'RELEASE_DUE') THEN CASE
            WHEN next_try_at IS NULL THEN 'it has no next try'
            WHEN next_try_at < now() - :late
                THEN 'it was to be tried again at ' || to_char(next_try_at, 'YYYY-MM-DD HH24:MI:SS"Z"')
            WHEN completed_at < now() - :in_flight
                THEN 'it has been due since ' || to_char(completed_at, 'YYYY-MM-DD HH24:MI:SS"Z"')
        END
    END AS overdue,
    next_try_at IS NULL AS untried,
    CASE
        WHEN status NOT IN ('SCHEDULED', 'PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')
            THEN 'status ' || status
        WHEN billing_status NOT IN ('NOT_BILLABLE', 'HELD', 'UNHELD', 'CHARGE_DUE', 'CHARGED', 'RELEASE_DUE',
            'RELEASED', 'DECLINED', 'CHARGE_BLOCKED') THEN 'billing_status ' || billing_status
        WHEN priority NOT BETWEEN 0 AND 2 THEN 'priority ' || priority
        WHEN jsonb_typeof(labels) <> 'object' OR labels @? '$.* ? (@.type() != "string")' THEN 'labels'
        WHEN jsonb_typeof(error -> 'type') IS DISTINCT FROM 'string'
            OR jsonb_typeof(error -> 'message') IS DISTINCT FROM 'string'
            OR jsonb_typeof(error -> 'attempt') IS DISTINCT FROM 'number'
            OR NOT error ? 'retryable'
            OR jsonb_typeof(error -> 'at') IS DISTINCT FROM 'string' THEN
            CASE WHEN error IS NOT NULL THEN 'error' END
    END AS unknown,
    estimated_cost_cents, coalesce(completed_at > now() - :holds_kept, true) AS needs_hold
FROM jobs
"""
_RECEIPT = "SELECT job_id, customer_id, currency, cost_cents, transaction_id FROM receipts\n"
_IDS = bindparam("ids", type_=ARRAY(Uuid()))
_BOUNDS = (bindparam("first", type_=Uuid()), bindparam("last", type_=Uuid()))
_LATE = tuple(bindparam(name, type_=Interval()) for name in ("late", "in_flight", "holds_kept"))

_JOBS = text(f"{_JOB} WHERE id >= :first AND id <= :last ORDER BY id LIMIT :limit").bindparams(*_BOUNDS, *_LATE)
_JOBS_OF = text(f"{_JOB} WHERE id = ANY(:ids)").bindparams(_IDS, *_LATE)
_RECEIPTS = text(f"{_RECEIPT} WHERE job_id >= :first AND job_id <= :last ORDER BY job_id LIMIT :limit").bindparams(
    *_BOUNDS
)
_RECEIPTS_OF = text(f"{_RECEIPT} WHERE job_id = ANY(:ids)").bindparams(_IDS)


class SqlJobsBooks(JobsBooks):
    """Jobs and receipts, read by their primary keys.

    Args:
        transactions: Transactions of the jobs database.
        limits: When work is late, and how long it may be in flight.
    """

    def __init__(self, transactions: SqlTransactions, limits: Limits) -> None:
        self._transactions = transactions
        self._late = {"late": limits.late, "in_flight": limits.in_flight, "holds_kept": limits.holds_kept}

    @override
    async def jobs(self, wanted: Range, limit: int) -> Sequence[JobLine]:
        rows = await self._read(_JOBS, {**wanted._asdict(), "limit": limit, **self._late}, walk=True)
        return [JobLine._make(row) for row in rows]

    @override
    async def receipts(self, wanted: Range, limit: int) -> Sequence[Receipt]:
        rows = await self._read(_RECEIPTS, {**wanted._asdict(), "limit": limit}, walk=True)
        return [Receipt._make(row) for row in rows]

    @override
    async def jobs_of(self, job_ids: Sequence[UUID]) -> Sequence[JobLine]:
        rows = await self._read(_JOBS_OF, {"ids": list(job_ids), **self._late})
        return [JobLine._make(row) for row in rows]

    @override
    async def receipts_of(self, job_ids: Sequence[UUID]) -> Sequence[Receipt]:
        return [Receipt._make(row) for row in await self._read(_RECEIPTS_OF, {"ids": list(job_ids)})]

    async def _read(self, statement: TextClause, parameters: dict[str, Any], *, walk: bool = False) -> Sequence[Any]:
        async with self._transactions.begin(read_only=True):
            connection = self._transactions.resource
            if walk:
                await connection.execute(WALK)
            return (await connection.execute(statement, parameters)).all()
