"""Job types in memory, for tests."""

from collections.abc import Collection, Mapping
from uuid import UUID

from typing_extensions import override

from services.jobs.rules import constraints
from services.jobs.rules.entities import Job
from services.jobs.rules.job_types import JobType, NewJobType
from services.jobs.rules.resources import JOB_TYPES
from services.jobs.usecases.ports import (
    JobTypeRepository,
)
from services.kit.data.errors import StillReferenced
from services.kit.data.repositories.memory import MemoryRepository, Unique
from services.kit.errors import DataCorrupt


class MemoryJobTypeRepository(MemoryRepository[JobType, NewJobType], JobTypeRepository):
    """The job types of a `MemoryStore`."""

    table = "job_types"
    entity = JobType
    resource = JOB_TYPES
    audited = True
    unique = (
        Unique(constraints.JOB_TYPE_ID, lambda job_type: job_type.id),
        Unique(constraints.JOB_TYPE_NAME, lambda job_type: job_type.name),
    )

    @override
    async def get_by_name(self, name: str) -> JobType | None:
        return next((kind for kind in self._rows.values() if kind.name == name), None)

    @override
    async def resolve(
        self, ids: Collection[UUID], names: Collection[str]
    ) -> Mapping[UUID | str, JobType | DataCorrupt]:
        found: dict[UUID | str, JobType | DataCorrupt] = {}
        for kind in self._rows.values():
            if kind.id in ids or kind.name in names:
                found[kind.id] = found[kind.name] = kind
        return found

    @override
    async def delete(self, entity_id: UUID) -> bool:
        jobs: dict[UUID, Job] = self._transactions.resource.tables.get("jobs", {})
        if any(job.job_type_id == entity_id for job in jobs.values()):
            raise StillReferenced(constraints.JOB_TYPE_IN_USE)
        return await super().delete(entity_id)
