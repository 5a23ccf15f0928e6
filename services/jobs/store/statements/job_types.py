"""The statements of job types."""

from dataclasses import fields

from sqlalchemy import Text, Uuid, or_, select

from services.jobs.rules.job_types import JobType
from services.jobs.store.tables import job_types
from services.kit.data.array_parameters import any_of
from services.kit.data.engine.prepared import Prepared

RESOLVE = Prepared(
    select(*(job_types.c[field.name] for field in fields(JobType))).where(
        or_(job_types.c.id == any_of("ids", Uuid), job_types.c.name == any_of("names", Text))
    )
)
# Find the job types that a new job can refer to without waiting for a lock.
FREE_TYPES = Prepared(
    select(job_types.c.id)
    .where(job_types.c.id == any_of("ids", Uuid))
    .with_for_update(read=True, key_share=True, skip_locked=True)
)
