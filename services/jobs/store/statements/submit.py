"""The statements that store new jobs."""

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Insert,
    Integer,
    LargeBinary,
    Text,
    Uuid,
    case,
    cast,
    exists,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from services.jobs.rules.entities import NewJob, is_dispatched
from services.jobs.store.tables import jobs, receipts
from services.kit.data.array_parameters import unnest
from services.kit.data.engine.prepared import Prepared

# Columns that are passed as text and become `jsonb` in the statement.
_JSON_TEXT = frozenset({"input_data"})

_INSERTED: dict[str, Any] = {
    "id": Uuid,
    "customer_id": Uuid,
    "job_type_id": Uuid,
    "status": Text,
    "billing_status": Text,
    "priority": Integer,
    "queue": Text,
    "input_data": Text,
    "input_bytes": Integer,
    "estimated_cost_cents": BigInteger,
    "currency": Text,
    "max_attempts": Integer,
    "labels": JSONB,
    "run_at": DateTime(timezone=True),
    "expires_at": DateTime(timezone=True),
    "request_id": Text,
    "request_digest": LargeBinary,
    "hold_id": Uuid,
    "hold_generation": Integer,
    "metering_unit": Text,
    "unit_price_micro_cents": BigInteger,
    "standard_cost_cents": BigInteger,
}


def _insert() -> Insert:
    rows = unnest("new", {**_INSERTED, "is_dispatched": Boolean})
    values = [cast(rows.c[name], JSONB) if name in _JSON_TEXT else rows.c[name] for name in _INSERTED]
    dispatched_at = case((rows.c.is_dispatched, func.now()))
    # A job that was charged and deleted would be run again, and its second charge would replay the first.
    is_new = ~exists().where(receipts.c.job_id == rows.c.id)
    return (
        insert(jobs)
        .from_select([*_INSERTED, "dispatched_at"], select(*values, dispatched_at).where(is_new))
        .on_conflict_do_nothing(index_elements=[jobs.c.id])
        .returning(jobs.c.id, jobs.c.created_at, jobs.c.queued_at, jobs.c.dispatched_at)
    )


# Insert jobs, without those whose ID exists or has a receipt; return the columns that the database has set.
INSERT = Prepared(_insert())


def insert_parameters(new: Sequence[NewJob], withheld: Collection[UUID]) -> dict[str, list[Any]]:
    """Return the parameters of `INSERT`."""
    ordered = sorted(new, key=attrgetter("id.int"))
    return {
        **{name: list(map(attrgetter(name), ordered)) for name in _INSERTED},
        "is_dispatched": [is_dispatched(job, withheld) for job in ordered],
    }
