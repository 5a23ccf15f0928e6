"""The backlogs in PostgreSQL. Rows locked by another replica are skipped."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from typing_extensions import override

from services.jobs.rules.backlogs import CALM, SEEN, BacklogState, Count, Note
from services.jobs.rules.entities import Backlog, ListKey
from services.jobs.rules.job_types import Priority
from services.jobs.usecases.ports import UnservedRepository
from services.kit.data.transactions.sql import SqlTransactions

_NOTED = """
    unnest(CAST(:queues AS text[]), CAST(:job_type_ids AS uuid[]), CAST(:refused AS int[]), CAST(:granted AS int[]),
           CAST(:served AS bool[])) AS noted (queue, job_type_id, refused, granted, served)
"""
_ADD = text(
    f"""
    INSERT INTO unserved_types (queue, job_type_id)
    SELECT noted.queue, noted.job_type_id FROM {_NOTED}
    JOIN job_types ON job_types.id = noted.job_type_id WHERE noted.refused > 0
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING
    """  # noqa: S608 - a constant of this module
)
_NOTE = text(
    f"""
    WITH mine AS MATERIALIZED (
        SELECT backlogs.queue, backlogs.job_type_id, noted.refused, noted.granted, noted.served
        FROM {_NOTED} JOIN unserved_types AS backlogs USING (queue, job_type_id)
        FOR UPDATE OF backlogs SKIP LOCKED
    )
    UPDATE unserved_types AS backlogs
    SET refused = backlogs.refused + mine.refused, granted = backlogs.granted + mine.granted,
        refused_at = CASE WHEN mine.refused > 0 THEN now() ELSE backlogs.refused_at END,
        served_at = CASE WHEN mine.served THEN now() ELSE backlogs.served_at END,
        -- The wait for a runner with the handler is over.
        feed_at = CASE WHEN mine.served AND coalesce(backlogs.served_at < now() - :seen, true) THEN now()
            ELSE backlogs.feed_at END
    FROM mine WHERE backlogs.queue = mine.queue AND backlogs.job_type_id = mine.job_type_id
    """  # noqa: S608 - a constant of this module
)
_DUE = text(
    """
    SELECT backlogs.queue, backlogs.job_type_id, job_types.processing_logic_id AS handler,
        backlogs.refused, backlogs.granted, backlogs.wait,
        coalesce(backlogs.served_at > now() - :seen, false) AS served,
        backlogs.refused_at < now() - :calm AS calm
    FROM unserved_types AS backlogs JOIN job_types ON job_types.id = backlogs.job_type_id
    WHERE backlogs.feed_at <= now() AND NOT job_types.paused
        AND backlogs.queue NOT IN (SELECT name FROM queues WHERE paused)
    ORDER BY backlogs.feed_at LIMIT :limit FOR UPDATE OF backlogs SKIP LOCKED
    """
)
_FED = text(
    """
    UPDATE unserved_types SET feed_at = now() + :wait, wait = :wait, refused = 0, granted = 0
    WHERE queue = :queue AND job_type_id = :job_type_id
    """
)
_DROP = text("DELETE FROM unserved_types WHERE queue = :queue AND job_type_id = :job_type_id")
_BACKLOGS = text(
    """
    SELECT backlogs.queue, backlogs.job_type_id, job_types.processing_logic_id
    FROM unserved_types AS backlogs JOIN job_types ON job_types.id = backlogs.job_type_id
    """
)
# Each part reads an index of waiting jobs, dispatched or withheld.
_COUNTS = text(
    """
    WITH lists AS MATERIALIZED (
        SELECT refused.queue, refused.job_type_id, job_types.processing_logic_id AS handler, priority
        FROM unserved_types AS refused JOIN job_types ON job_types.id = refused.job_type_id,
            generate_series(0, 2) AS priority
        WHERE coalesce(refused.served_at < now() - :seen, true)
    )
    SELECT queue, priority, handler, sum(waiting.jobs)::bigint AS jobs FROM lists, LATERAL (
        SELECT count(*) AS jobs FROM jobs
        WHERE status = 'PENDING' AND dispatched_at IS NULL AND jobs.queue = lists.queue
            AND jobs.priority = lists.priority AND jobs.job_type_id = lists.job_type_id
        UNION ALL
        SELECT count(*) FROM jobs
        WHERE status = 'PENDING' AND dispatched_at IS NOT NULL AND jobs.queue = lists.queue
            AND jobs.priority = lists.priority AND jobs.job_type_id = lists.job_type_id
    ) AS waiting
    GROUP BY queue, priority, handler HAVING sum(waiting.jobs) > 0 ORDER BY queue, priority, handler
    """
)


class SqlUnserved(UnservedRepository):
    """The table `unserved_types`."""

    def __init__(self, transactions: SqlTransactions) -> None:
        self._transactions = transactions

    @override
    async def note(self, notes: Sequence[Note]) -> None:
        noted: dict[str, Any] = {
            "queues": [one.backlog.queue for one in notes],
            "job_type_ids": [one.backlog.job_type_id for one in notes],
            "refused": [one.refused for one in notes],
            "granted": [one.granted for one in notes],
            "served": [one.served for one in notes],
        }
        if any(noted["refused"]):
            await self._execute(_ADD, noted)
        await self._execute(_NOTE, {**noted, "seen": SEEN})

    @override
    async def due(self, limit: int) -> list[BacklogState]:
        rows = await self._execute(_DUE, {"limit": limit, "seen": SEEN, "calm": CALM})
        return [BacklogState(Backlog(queue, job_type_id), *state) for queue, job_type_id, *state in rows]

    @override
    async def fed(self, backlog: Backlog, wait: timedelta) -> None:
        await self._execute(_FED, {**backlog._asdict(), "wait": wait})

    @override
    async def drop(self, backlog: Backlog) -> None:
        await self._execute(_DROP, backlog._asdict())

    @override
    async def backlogs(self) -> Mapping[Backlog, str]:
        rows = await self._execute(_BACKLOGS, {})
        return {Backlog(queue, job_type_id): handler for queue, job_type_id, handler in rows}

    @override
    async def counts(self) -> list[Count]:
        rows = await self._execute(_COUNTS, {"seen": SEEN})
        return [Count(ListKey(queue, Priority(priority)), handler, jobs) for queue, priority, handler, jobs in rows]

    async def _execute(self, statement: Any, parameters: Mapping[str, Any]) -> Any:
        return await self._transactions.resource.execute(statement, parameters)
