"""What can be done with job types."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any
from uuid import UUID

from services.jobs.rules.errors import JobTypeInUse, JobTypeNameTaken, JobTypeNotFound
from services.jobs.rules.job_types import RUNNABLE, JobType, NewJobType
from services.jobs.rules.schemas.schema import InvalidSchema
from services.jobs.usecases.ports import JOB_TYPE_NAME_CONSTRAINT, JobTypeCache, JobTypeRepository, Queue, SchemaChecks
from services.kit.currencies import check_currency
from services.kit.data.errors import AlreadyExists, StillReferenced
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.transactional import transactional
from services.kit.errors import EtagMismatch, InvalidField
from services.kit.idempotency import check_same, digest
from services.kit.query.page import ListQuery, Page

# A schema may have 64 KiB: so many are read at a time, until there are enough for an answer.
_PART = 50
_PAGE_CHARACTERS_MAX = 4_000_000
# How often a change is made anew that another one got in the way of.
_RETRIES = 4


class JobTypeService:
    """The use cases of job types. Each is one transaction.

    Args:
        transactions: Where they begin.
        job_types: The stored job types.
        cache: The job types that submissions have in a cache.
        queue: Is told when jobs may be handed over again.
        checks: Checks schemas.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        job_types: JobTypeRepository,
        cache: JobTypeCache,
        queue: Queue,
        checks: SchemaChecks,
    ) -> None:
        self.transactions = transactions
        self._job_types = job_types
        self._cache = cache
        self._queue = queue
        self._checks = checks

    async def create(self, new: NewJobType) -> tuple[JobType, bool]:
        """Stores a job type.

        Returns:
            The job type, and whether an earlier call with the same ID stored it.

        Raises:
            InvalidField: If no runner runs such jobs, ISO 4217 has no such currency, or the schema can't be used.
            JobTypeNameTaken: If another job type has the name.
            IdempotencyKeyReused: If the ID was used with other parameters.
        """
        asked = parameters(new)
        _check(new)
        # A repeated call is answered as the first was, also if this release would not take its schema any more.
        if new.input_schema is not None and not await self._is_stored(new.id):
            await self._check_schema(new.input_schema)
        try:
            async with self.transactions.begin():
                if (known := await self._job_types.get(new.id)) is None:
                    check_currency(new.currency, "job_type.currency")
                    return await self._job_types.create(replace(new, request_digest=digest(asked))), False
        except AlreadyExists as error:
            # The same call may have been faster in another process: then both constraints may be the one named.
            async with self.transactions.begin(read_only=True):
                known = await self._job_types.get(new.id)
            if known is None:
                raise _name_taken(error, new.name) from error
        check_same(asked, known.request_digest)
        return known, True

    @transactional(read_only=True)
    async def get(self, wanted: UUID | str) -> JobType:
        """Answers a job type by its ID or name.

        Raises:
            JobTypeNotFound: If there is none.
        """
        if isinstance(wanted, UUID):
            job_type = await self._job_types.get(wanted)
        else:
            job_type = await self._job_types.get_by_name(wanted)
        if job_type is None:
            raise JobTypeNotFound(str(wanted))
        return job_type

    @transactional(read_only=True)
    async def list_page(self, query: ListQuery) -> Page[JobType]:
        """Answers a page of job types; shorter than asked for where they are large."""
        found: list[JobType] = []
        while True:
            part = await self._job_types.list_page(replace(query, page_size=min(_PART, query.page_size - len(found))))
            found += part.items
            size = sum(len(one.input_schema or "") for one in found)
            if part.next_cursor is None or len(found) >= query.page_size or size > _PAGE_CHARACTERS_MAX:
                return Page(tuple(found), part.next_cursor)
            query = replace(query, cursor=part.next_cursor)

    async def update(self, job_type_id: UUID, changes: Mapping[str, Any], etag: str) -> JobType:
        """Changes some fields. A new price touches only jobs submitted later.

        Args:
            job_type_id: Which.
            changes: New values by the names of the fields.
            etag: Checked if not empty.

        Raises:
            JobTypeNotFound: If there is none.
            JobTypeNameTaken: If another job type has the name.
            InvalidField: If no runner runs such jobs, or the schema can't be used.
            EtagMismatch: If the etag is not the present one.
        """
        if schema := changes.get("input_schema"):
            await self._check_schema(schema)
        try:
            return await self._change(job_type_id, changes, etag)
        except AlreadyExists as error:
            raise _name_taken(error, changes["name"]) from error

    @transactional(retries=_RETRIES, patient=True)
    async def _change(self, job_type_id: UUID, changes: Mapping[str, Any], etag: str) -> JobType:
        job_type = await self._existing(job_type_id, etag)
        changed = replace(job_type, **changes)
        _check(changed)
        if changed == job_type:
            return job_type
        self._cache.changing(job_type, changed)
        return await self._job_types.update(changed)

    @transactional(retries=_RETRIES, patient=True)
    async def set_paused(self, job_type_id: UUID, *, paused: bool) -> JobType:
        """Pauses or resumes a job type.

        Raises:
            JobTypeNotFound: If there is none.
        """
        job_type = await self._existing(job_type_id, "")
        if job_type.paused == paused:
            return job_type
        self._cache.changing(job_type)
        self.transactions.after_commit(self._queue.wake)
        return await self._job_types.update(replace(job_type, paused=paused))

    async def delete(self, job_type_id: UUID, etag: str) -> None:
        """Removes a job type that no job uses.

        Raises:
            JobTypeNotFound: If there is none.
            JobTypeInUse: If a job uses it.
            EtagMismatch: If the etag is not empty and not the present one.
        """
        try:
            await self._delete(job_type_id, etag)
        except StillReferenced as error:
            raise JobTypeInUse(job_type_id) from error

    @transactional(retries=_RETRIES, patient=True)
    async def _delete(self, job_type_id: UUID, etag: str) -> None:
        self._cache.changing(await self._existing(job_type_id, etag))
        await self._job_types.delete(job_type_id)

    async def _is_stored(self, job_type_id: UUID) -> bool:
        async with self.transactions.begin(read_only=True):
            return await self._job_types.get(job_type_id) is not None

    async def _check_schema(self, schema: str) -> None:
        """Not in a transaction: it may take a second."""
        try:
            await self._checks.check_schema(schema)
        except InvalidSchema as error:
            raise InvalidField.of("job_type.input_schema_json", str(error)) from None

    async def _existing(self, job_type_id: UUID, etag: str) -> JobType:
        # Locked before it is read: of those who change it at the same moment each waits for the one before.
        job_type = await self._job_types.get_locked(job_type_id)
        if job_type is None:
            raise JobTypeNotFound(str(job_type_id))
        if etag and etag != job_type.etag:
            raise EtagMismatch
        return job_type


def _check(job_type: NewJobType) -> None:
    if job_type.processor_type not in RUNNABLE:
        runnable = ", ".join(sorted(RUNNABLE))
        raise InvalidField.of("job_type.processor_type", f"must be one that runners of this release run: {runnable}")
    if job_type.retry_max_backoff < job_type.retry_initial_backoff:
        raise InvalidField.of("job_type.retry_policy.max_backoff", "must not be shorter than initial_backoff")


# Where the contract has a parameter, if that is not under its own name in `job_type`.
_PATHS = {
    "retry_initial_backoff": "retry_policy.initial_backoff",
    "retry_max_backoff": "retry_policy.max_backoff",
    "retry_multiplier": "retry_policy.multiplier",
    "input_schema": "input_schema_json",
}


def parameters(new: NewJobType) -> dict[str, object]:
    """Name what must be the same when the call is repeated by its path in the contract."""
    return {
        f"job_type.{_PATHS.get(field.name, field.name)}": getattr(new, field.name)
        for field in fields(NewJobType)
        if field.name not in ("id", "request_digest")
    }


def _name_taken(error: AlreadyExists, name: str) -> Exception:
    return JobTypeNameTaken(name).within("job_type") if error.constraint == JOB_TYPE_NAME_CONSTRAINT else error
