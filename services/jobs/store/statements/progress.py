"""The statements for what handlers say during their runs."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Double, Integer, Text, Uuid, case, cast, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB, insert

from services.jobs.rules.transitions.progress import Report
from services.jobs.store.tables import job_progress, jobs
from services.kit.data.array_parameters import any_of, unnest
from services.kit.data.engine.prepared import Prepared

# The jobs with their progress: that of the present run, or else of the last one.
WITH_PROGRESS = jobs.outerjoin(
    job_progress,
    (job_progress.c.job_id == jobs.c.id)
    & job_progress.c.reported_at.is_not(None)
    & jobs.c.started_at.is_not(None)
    & or_(jobs.c.lease_id.is_(None), jobs.c.lease_id == job_progress.c.lease_id),
)
PROGRESS = case(
    (
        job_progress.c.reported_at.is_not(None),
        func.jsonb_build_array(
            job_progress.c.percent, job_progress.c.message, job_progress.c.reported_at, job_progress.c.sequence
        ),
    )
).label("progress")

_PROGRESS = ("percent", "message", "reported_at")

REVISIONS = Prepared(
    select(jobs.c.id, jobs.c.version, func.coalesce(job_progress.c.sequence, 0))
    .select_from(WITH_PROGRESS)
    .where(jobs.c.id == any_of("ids", Uuid))
)
# The sizes of checkpoints, and the checkpoints: those of a claim are read once it is known that they fit.
CHECKPOINT_SIZES = Prepared(
    select(job_progress.c.job_id, job_progress.c.checkpoint_bytes).where(
        job_progress.c.job_id == any_of("ids", Uuid), job_progress.c.checkpoint.is_not(None)
    )
)
CHECKPOINTS = Prepared(
    select(job_progress.c.job_id, job_progress.c.checkpoint).where(job_progress.c.job_id == any_of("ids", Uuid))
)


def _store() -> Prepared:
    said = unnest(
        "said",
        {
            "job_id": Uuid,
            "lease_id": Uuid,
            "sequence": BigInteger,
            "percent": Double,
            "message": Text,
            "checkpoint": Text,
            "checkpoint_bytes": Integer,
        },
    )
    row = {
        "job_id": said.c.job_id,
        "lease_id": said.c.lease_id,
        "sequence": said.c.sequence,
        "percent": said.c.percent,
        "message": said.c.message,
        "reported_at": case((said.c.percent.is_not(None), func.now())),
        "checkpoint": cast(said.c.checkpoint, JSONB),
        "checkpoint_bytes": said.c.checkpoint_bytes,
    }
    statement = insert(job_progress).from_select(list(row), select(*row.values()))
    new, old = statement.excluded, job_progress.c
    says, leaves, same_run = new.percent.is_not(None), new.checkpoint.is_not(None), old.lease_id == new.lease_id
    # A run that only leaves a checkpoint has no progress, whatever an earlier run has said.
    progress = {name: case((says | ~same_run, new[name]), else_=old[name]) for name in _PROGRESS}
    return Prepared(
        statement.on_conflict_do_update(
            index_elements=[old.job_id],
            set_={
                "lease_id": new.lease_id,
                "sequence": new.sequence,
                **progress,
                "checkpoint": case((leaves, new.checkpoint), else_=old.checkpoint),
                "checkpoint_bytes": case((leaves, new.checkpoint_bytes), else_=old.checkpoint_bytes),
            },
            where=~same_run | (old.sequence < new.sequence),
        )
    )


#: Store reports, each of another job that is locked; `parameters` returns what it is executed with.
STORE = _store()


def parameters(reports: Sequence[Report]) -> dict[str, list[Any]]:
    """Return the parameters of `STORE`."""
    return {
        "job_id": [one.job_id for one in reports],
        "lease_id": [one.lease_id for one in reports],
        "sequence": [one.sequence for one in reports],
        "percent": [one.percent for one in reports],
        "message": [one.message for one in reports],
        "checkpoint": [one.checkpoint and one.checkpoint.text for one in reports],
        "checkpoint_bytes": [one.checkpoint.size if one.checkpoint else 0 for one in reports],
    }
