"""Runners in PostgreSQL. Rows locked by another transaction are skipped."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Table, case, func, select, text
from typing_extensions import override

from services.jobs.rules.resources import RUNNERS
from services.jobs.rules.runners import RUNNERS_MAX, SEEN, Announcement, Gone, Runner, RunnerState
from services.jobs.store.tables import runners
from services.jobs.usecases.ports import NotNoted, RunnerRepository
from services.kit.data.repositories.sql import SqlRepository

_ACTIVE, _STOPPED = RunnerState.ACTIVE.value, RunnerState.STOPPED.value
_IS_LOST = (runners.c.announced_state != _STOPPED) & (runners.c.last_seen_at <= func.now() - SEEN)
# What can be listed: the rows with their state (rules/runners.py, `state_at`).
_WITH_STATE = select(
    runners, case((_IS_LOST, RunnerState.LOST.value), else_=runners.c.announced_state).label("state")
).subquery("runners")

_COPIED = (
    "host",
    "process_id",
    "version",
    "language",
    "queues",
    "handlers",
    "slots",
    "busy",
    "processes",
    "announced_by",
)

# One statement for all announcements of a moment. The rows that exist are updated unless they are locked or belong to
# another caller (rules/runners.py, `belongs_to`); new ones are added while there is room, by the first of two callers.
# Returns those that were not stored, and whether they belong to another caller.
_NOTE = text(
    """
    WITH noted AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:announcements AS jsonb)) AS noted (
            id uuid, announced_state int, host text, process_id bigint, version text, language text,
            queues text[], handlers text[], slots int, busy int, processes int, uptime interval, age interval,
            announced_by text
        )
    ),
    known AS MATERIALIZED (
        SELECT noted.*, runners.announced_by <> noted.announced_by
            AND '' NOT IN (runners.announced_by, noted.announced_by) AS of_another
        FROM noted JOIN runners USING (id)
    ),
    mine AS MATERIALIZED (
        SELECT known.* FROM known JOIN runners USING (id) WHERE NOT of_another
        ORDER BY id FOR UPDATE OF runners SKIP LOCKED
    ),
    updated AS (
        UPDATE runners SET
            announced_state = greatest(runners.announced_state, mine.announced_state),
            host = mine.host, process_id = mine.process_id, version = mine.version, language = mine.language,
            queues = mine.queues, handlers = mine.handlers,
            slots = mine.slots, busy = mine.busy, processes = mine.processes,
            last_seen_at = greatest(runners.last_seen_at, now() - mine.age),
            announced_by = coalesce(nullif(runners.announced_by, ''), mine.announced_by)
        FROM mine WHERE runners.id = mine.id
        RETURNING runners.id
    ),
    added AS (
        INSERT INTO runners (
            id, announced_state, host, process_id, version, language, queues, handlers, slots, busy, processes,
            started_at, last_seen_at, announced_by
        )
        SELECT id, announced_state, host, process_id, version, language, queues, handlers, slots, busy, processes,
            now() - age - uptime, now() - age, announced_by
        FROM noted WHERE id NOT IN (SELECT id FROM runners)
        ORDER BY id, age DESC LIMIT greatest(0, :most - (SELECT count(*) FROM runners))
        ON CONFLICT DO NOTHING
    )
    SELECT id, announced_by, of_another FROM known WHERE of_another OR id NOT IN (SELECT id FROM updated)
    """
)
_ACTIVE_BY_QUEUE = text(
    """
    SELECT queue, count(*) AS runners FROM runners,
        LATERAL (SELECT DISTINCT unnest(queues) AS queue) AS taken
    WHERE announced_state = :active AND last_seen_at > now() - :seen
    GROUP BY queue
    UNION ALL
    SELECT NULL, count(*) FROM runners
    WHERE announced_state = :active AND last_seen_at > now() - :seen AND cardinality(queues) = 0
    """
)
# Rules/runners.py, `gone_for_good`.
_DELETE_GONE = text(
    """
    DELETE FROM runners WHERE id IN (
        SELECT id FROM runners WHERE id IN (
            SELECT id FROM (
                SELECT id, last_seen_at, announced_state, row_number() OVER (ORDER BY last_seen_at DESC) AS place
                FROM runners WHERE announced_state = :stopped_state OR last_seen_at <= now() - :seen
            ) AS gone
            WHERE place > :count
                OR last_seen_at < now() - CASE WHEN announced_state = :stopped_state THEN :stopped ELSE :lost END
        ) FOR UPDATE SKIP LOCKED
    )
    """
)


class SqlRunners(SqlRepository[Runner, Announcement], RunnerRepository):
    """The table `runners`."""

    # For reading: as a table it has the computed state beside its columns.
    table = cast("Table", _WITH_STATE)
    entity = Runner
    resource = RUNNERS

    @override
    async def note(self, announcements: Sequence[Announcement], most: int = RUNNERS_MAX) -> NotNoted:
        noted = json.dumps([_row(one) for one in announcements])
        rows = (await self._connection.execute(_NOTE, {"announcements": noted, "most": most})).all()
        return NotNoted(
            locked={row.id for row in rows if not row.of_another},
            of_others={(row.id, row.announced_by) for row in rows if row.of_another},
        )

    @override
    async def active(self) -> tuple[Mapping[str, int], int]:
        rows = await self._connection.execute(_ACTIVE_BY_QUEUE, {"active": _ACTIVE, "seen": SEEN})
        by_queue = {row.queue: row.runners for row in rows}
        anywhere: int = by_queue.pop(None)
        return by_queue, anywhere

    @override
    async def delete_gone(self, kept: Gone) -> int:
        parameters = {"stopped_state": _STOPPED, "seen": SEEN, **vars(kept)}
        return (await self._connection.execute(_DELETE_GONE, parameters)).rowcount


def _row(one: Announcement) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in _COPIED},
        "id": str(one.runner_id),
        "announced_state": one.state.value,
        "uptime": f"{one.uptime.total_seconds():f} seconds",
        "age": f"{one.age.total_seconds():f} seconds",
    }
