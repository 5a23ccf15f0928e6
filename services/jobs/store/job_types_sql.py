"""Job types in PostgreSQL."""

from collections.abc import Collection, Mapping
from uuid import UUID

from typing_extensions import override

from services.jobs.rules.job_types import JobType, NewJobType
from services.jobs.rules.resources import JOB_TYPES
from services.jobs.store.statements.job_types import RESOLVE
from services.jobs.store.tables import job_types
from services.jobs.usecases.ports import JobTypeRepository
from services.kit.data.repositories.sql import SqlRepository
from services.kit.errors import DataCorrupt


class SqlJobTypeRepository(SqlRepository[JobType, NewJobType], JobTypeRepository):
    """The table `job_types`."""

    table = job_types
    entity = JobType
    resource = JOB_TYPES
    audited = True

    @override
    async def get_by_name(self, name: str) -> JobType | None:
        return await self._one(self._select().where(job_types.c.name == name))

    @override
    async def resolve(
        self, ids: Collection[UUID], names: Collection[str]
    ) -> Mapping[UUID | str, JobType | DataCorrupt]:
        wanted = {"ids": list(ids), "names": list(names)}
        found: dict[UUID | str, JobType | DataCorrupt] = {}
        for values in await self._execute(RESOLVE, wanted):
            row = dict(zip(self._names, values, strict=True))
            found[row["id"]] = found[row["name"]] = self._decoded(values)
        return found
