"""Job types: create, read, change, pause and delete them."""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any
from uuid import UUID

from services.jobs.rules import constraints
from services.jobs.rules.endpoints.external_api import check_external_api
from services.jobs.rules.endpoints.webhook import check_webhook
from services.jobs.rules.errors import JobTypeInUse, JobTypeNameTaken, JobTypeNotFound
from services.jobs.rules.job_types import JobType, NewJobType
from services.jobs.rules.schemas.schema import InvalidSchema
from services.jobs.usecases.ports import JobTypeCache, JobTypeRepository, Queue, SchemaChecks
from services.kit.currencies import check_currency
from services.kit.data.errors import AlreadyExists, StillReferenced
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.transactional import transactional
from services.kit.errors import EtagMismatch, InvalidField
from services.kit.idempotency import check_same, digest
from services.kit.query.page import ListQuery, Page

# A schema may have 64 KiB: so many job types are read at a time, until they fill a response.
_PART = 50
_PAGE_CHARACTERS_MAX = 4_000_000
# How often a change is repeated after a concurrent change.
_RETRIES = 4
# What a digest has where `max_attempts` was not set.
_UNSET_MAX_ATTEMPTS = 1


class JobTypeService:
    """The use cases of job types. Each is one transaction.

    Args:
        transactions: The transactions of the jobs database.
        job_types: The stored job types.
        cache: The job types that submissions have in a cache.
        queue: Notified when jobs may be dispatched again.
        checks: Checks schemas.
        callbacks_possible: Returns whether there are keys for callback tokens.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        job_types: JobTypeRepository,
        cache: JobTypeCache,
        queue: Queue,
        *,
        checks: SchemaChecks,
        callbacks_possible: Callable[[], bool],
    ) -> None:
        self.transactions = transactions
        self._job_types = job_types
        self._cache = cache
        self._queue = queue
        self._checks = checks
        self._callbacks_possible = callbacks_possible

    async def create(self, new: NewJobType) -> tuple[JobType, bool]:
        """Store a job type.

        Returns:
            The job type, and whether an earlier call with the same ID stored it.

        Raises:
            InvalidField: If fields do not fit together, ISO 4217 lacks the currency, or the schema is unusable.
            JobTypeNameTaken: If another job type has the name.
            IdempotencyKeyReused: If the ID was used with other parameters.
        """
        requested = parameters(new)
        self._check(new)
        # A repeated call succeeds like the first, even if this release would refuse its schema.
        if new.input_schema is not None and not await self._is_stored(new.id):
            await self._check_schema(new.input_schema)
        try:
            async with self.transactions.begin():
                if (known := await self._job_types.get(new.id)) is None:
                    check_currency(new.currency, "job_type.currency")
                    return await self._job_types.create(new.to_store(digest(requested))), False
        except AlreadyExists as error:
            # A concurrent call with the same ID may have won in another process: then the error may name either
            # constraint.
            async with self.transactions.begin(read_only=True):
                known = await self._job_types.get(new.id)
            if known is None:
                raise _name_taken(error, new.name) from error
        check_same(requested, known.request_digest)
        return known, True

    @transactional(read_only=True)
    async def get(self, wanted: UUID | str) -> JobType:
        """Return a job type by its ID or name.

        Raises:
            JobTypeNotFound: If the job type does not exist.
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
        """Return a page of job types; a shorter page where they are large."""
        found: list[JobType] = []
        while True:
            part = await self._job_types.list_page(replace(query, page_size=min(_PART, query.page_size - len(found))))
            found += part.items
            size = sum(len(one.input_schema or "") + len(one.external_api or "") for one in found)
            if part.next_cursor is None or len(found) >= query.page_size or size > _PAGE_CHARACTERS_MAX:
                return Page(tuple(found), part.next_cursor)
            query = replace(query, cursor=part.next_cursor)

    async def update(self, job_type_id: UUID, changes: Mapping[str, Any], etag: str) -> JobType:
        """Change some fields. A new price applies only to jobs submitted later.

        Args:
            job_type_id: The job type.
            changes: New values by the names of the fields.
            etag: Checked if not empty.

        Raises:
            JobTypeNotFound: If the job type does not exist.
            JobTypeNameTaken: If another job type has the name.
            InvalidField: If fields do not fit together, or the schema is unusable.
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
        self._check(changed)
        if changed == job_type:
            return job_type
        self._cache.changing(job_type, changed)
        return await self._job_types.update(changed)

    @transactional(retries=_RETRIES, patient=True)
    async def set_paused(self, job_type_id: UUID, *, paused: bool) -> JobType:
        """Pause or resume a job type.

        Raises:
            JobTypeNotFound: If the job type does not exist.
        """
        job_type = await self._existing(job_type_id, "")
        if job_type.paused == paused:
            return job_type
        self._cache.changing(job_type)
        self.transactions.after_commit(self._queue.wake)
        return await self._job_types.update(replace(job_type, paused=paused))

    async def delete(self, job_type_id: UUID, etag: str) -> None:
        """Delete a job type that no job uses.

        Raises:
            JobTypeNotFound: If the job type does not exist.
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

    def _check(self, job_type: NewJobType) -> None:
        check_definition(job_type)
        if job_type.webhook is not None and not self._callbacks_possible():
            problem = (
                "can't be WEBHOOK without keys for callback tokens: give the jobs service INNOSYSTEM_CHARGE_KEYS_FILE"
            )
            raise InvalidField.of("job_type.processor_type", problem)

    async def _is_stored(self, job_type_id: UUID) -> bool:
        async with self.transactions.begin(read_only=True):
            return await self._job_types.get(job_type_id) is not None

    async def _check_schema(self, schema: str) -> None:
        """Check a schema, outside of a transaction because it may take a second."""
        try:
            await self._checks.check_schema(schema)
        except InvalidSchema as error:
            raise InvalidField.of("job_type.input_schema_json", str(error)) from None

    async def _existing(self, job_type_id: UUID, etag: str) -> JobType:
        # Locked before it is read, so that concurrent changes follow one another.
        job_type = await self._job_types.get_locked(job_type_id)
        if job_type is None:
            raise JobTypeNotFound(str(job_type_id))
        if etag and etag != job_type.etag:
            raise EtagMismatch
        return job_type


def check_definition(job_type: NewJobType) -> None:
    """Check that the fields of a job type fit together.

    Raises:
        InvalidField: If they do not.
    """
    check_webhook(job_type)
    metering = job_type.metering
    if metering is not None and metering.standard_cost_cents > metering.max_cost_cents:
        raise InvalidField.of("job_type.standard_cost_cents", "must not be above metering.max_cost_cents")
    check_external_api(job_type)
    if job_type.retry_max_backoff < job_type.retry_initial_backoff:
        raise InvalidField.of("job_type.retry_policy.max_backoff", "must not be shorter than initial_backoff")


_METERING = ("metering_unit", "unit_price_micro_cents", "max_cost_cents")
_IN_NO_DIGEST = frozenset({"id", "request_digest", "processor_type_named"})
# The paths of parameters whose name in the contract differs.
_PATHS = {
    "retry_initial_backoff": "retry_policy.initial_backoff",
    "retry_max_backoff": "retry_policy.max_backoff",
    "retry_multiplier": "retry_policy.multiplier",
    "input_schema": "input_schema_json",
}


def parameters(new: NewJobType) -> dict[str, object]:
    """Return the values that a repeated call must have in common with the first, by their paths in the contract."""
    # Until release 0.1.0 unset `max_attempts` meant 1, and its digests are those of 1: a create of then and its repeat
    # of today, or of the replica beside this one, must be the same.
    given = replace(new, max_attempts=new.max_attempts or _UNSET_MAX_ATTEMPTS)
    values: dict[str, object] = {
        f"job_type.{_PATHS.get(field.name, field.name)}": getattr(given, field.name)
        for field in fields(NewJobType)
        if field.name not in (*_IN_NO_DIGEST, *_METERING) and not field.name.startswith("webhook_")
    }
    # As one parameter, which earlier releases lack.
    if (metering := new.metering) is not None:
        values["job_type.metering"] = (metering.unit, metering.unit_price_micro_cents, metering.max_cost_cents)
    if new.external_api is None:
        # Digests of before there were endpoints lack it.
        del values["job_type.external_api"]
    if new.webhook is not None:
        values["job_type.webhook"] = new.webhook
    return values if new.processor_type_named else {**values, "job_type.processor_type": None}


def _name_taken(error: AlreadyExists, name: str) -> Exception:
    return JobTypeNameTaken(name).within("job_type") if error.constraint == constraints.JOB_TYPE_NAME else error
