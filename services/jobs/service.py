"""What clients can do with jobs: submit them, look at them, list them, see the queues."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from services.jobs.admission import Admissions, Unchecked, with_large_inputs_checked
from services.jobs.domain import FIXED_BYTES_MAX, BillingStatus, Job, JobStatus, ListKey, NewJob, QueueStats, Waiting
from services.jobs.errors import JobNotFound
from services.jobs.filters import check_order
from services.jobs.holds import Reservation, Reservations, Reserved
from services.jobs.job_types import JobType
from services.jobs.ports import Customers, JobTypes, Queue
from services.jobs.repository import JobRepository
from services.jobs.schema_checks import SchemaChecks
from services.jobs.submission import Submission
from services.kit.coalescing import Coalescer
from services.kit.crash import crash_point
from services.kit.data.errors import Conflict, StillReferenced
from services.kit.data.transactional import transactional
from services.kit.data.transactions import Isolation, Transactions
from services.kit.errors import ConcurrentUpdate, DataCorrupt, DomainError, IdempotencyKeyReused, RowLocked
from services.kit.idempotency import check_same
from services.kit.locked_lane import LOCK_TIMES, LockTimes
from services.kit.query.page import ListQuery, Page
from services.kit.records import changed
from services.kit.time_slice import TimeSlice

PAGE_BYTES_MAX = 4_000_000
# How often an input is checked with a schema that has changed when that is done.
_CHECKS_MAX = 3


@dataclass(frozen=True)
class Submitted:
    """The answer to a submission; replayed if an earlier one with the same ID stored the job."""

    job: Job
    replayed: bool


class JobsService:
    """The use cases of clients.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        job_types: The job types that submissions name.
        customers: Asks the customers service.
        reservations: Reserves the price of jobs.
        queue: Takes the IDs of stored jobs.
        now: The time of the database, by which all stored times are judged.
        checks: Checks inputs with the schemas of their types.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        *,
        job_types: JobTypes,
        customers: Customers,
        reservations: Reservations,
        queue: Queue,
        now: Callable[[], datetime],
        checks: SchemaChecks | None = None,
        lock_times: LockTimes = LOCK_TIMES,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._job_types = job_types
        self._customers = customers
        self._reservations = reservations
        self._queue = queue
        self._now = now
        self._checks = checks or SchemaChecks()
        self._submissions: Coalescer[_Asked, Submitted | _Admitted | Unchecked] = Coalescer(
            "submissions",
            self._submit,
            unlocked=partial(self._submit, wait=False),
            key=attrgetter("submission.job_id"),
            size=lambda one: len(one.submission.input_json),
            times=lock_times,
        )
        self._paid: Coalescer[_Admitted, Submitted] = Coalescer(
            "paid submissions",
            self._reserve_and_store,
            unlocked=partial(self._reserve_and_store, wait=False),
            key=lambda one: one.submission.customer_id,
            size=lambda one: len(one.submission.input_json),
            times=lock_times,
        )

    async def submit(
        self, submissions: Sequence[Submission], *, patient: bool = False
    ) -> list[Submitted | DomainError]:
        """Reserves the price of jobs, stores them and hands them to the queue; each alone succeeds or fails.

        Concurrent calls share their transactions.

        A hold stays when its job could not be stored: somebody else may be about to store it under the same ID. Who
        submits the job again finds it, and otherwise the hold auditor releases it.

        Args:
            submissions: The jobs.
            patient: Whether to wait for wallets that are locked: the other submissions have to wait as well.

        Returns:
            The results, aligned with the submissions.

        Raises:
            ConcurrentUpdate: If a job type was deleted at the same moment; nothing was stored.
            DatabaseUnavailable: If the jobs could not be stored. Submitting them again under the same IDs is safe.
            Overloaded: If too much is waiting to be stored.
        """
        # Before the batch: whoever has to ask the customers service waits for it alone.
        active = await self._customers.active({one.customer_id for one in submissions})

        def asked(some: Sequence[Submission]) -> list[_Asked]:
            return [_Asked(one, active.get(one.customer_id)) for one in some]

        results = await self._submissions(asked(await with_large_inputs_checked(submissions)), patient=patient)
        for _ in range(_CHECKS_MAX):
            unchecked = {at: result for at, result in enumerate(results) if isinstance(result, Unchecked)}
            if not unchecked:
                break
            # Outside of the batch: nobody else waits for what takes long.
            checked = {at: await self._checked(one) for at, one in unchecked.items()}
            good = [one for one in checked.values() if isinstance(one, Submission)]
            again = iter(await self._submissions(asked(good), patient=patient))
            for at, one in checked.items():
                results[at] = next(again) if isinstance(one, Submission) else one
        held = [one for one in results if isinstance(one, _Admitted)]
        # Apart from the others: who needs no money does not wait for the wallets service.
        stored = iter(await self._paid(held, patient=patient))
        return [_answer(next(stored) if isinstance(one, _Admitted) else one) for one in results]

    async def _checked(self, one: Unchecked) -> Submission | DomainError:
        try:
            return replace(one.submission, verdict=await self._checks.check(one.schema, one.text))
        except DomainError as error:
            return error

    async def _submit(
        self, asked: "Sequence[_Asked]", *, wait: bool = True
    ) -> "list[Submitted | _Admitted | Unchecked | DomainError]":
        """Answers what is stored or refused, and stores what needs no money; what is admitted needs some."""
        submissions = [one.submission for one in asked]
        active = {one.submission.customer_id: one.active for one in asked if one.active is not None}
        known, types = await asyncio.gather(
            self._stored_before(submissions), self._job_types.resolve({one.job_type for one in submissions})
        )
        kinds = {kind.id: kind for kind in types.values() if isinstance(kind, JobType)}
        admissions = Admissions(types, active, self._now(), self._checks)
        outcomes: list[Submitted | _Admitted | Unchecked | DomainError] = []
        time_slice = TimeSlice()
        for one in submissions:
            if (job := known.get(one.job_id)) is not None:
                outcomes.append(_repeated(one, job))
            else:
                outcome = admissions.judge(one)
                if isinstance(outcome, NewJob):
                    outcomes.append(_Admitted(one, outcome, kinds[outcome.job_type_id]))
                else:
                    outcomes.append(outcome)
            await time_slice.rest()
        free = [one for one in outcomes if isinstance(one, _Admitted) and not one.needs_hold]
        wanted = _first_of_each(free)
        until = monotonic() + self._reservations.times.store_within.total_seconds()
        stored = iter(await self._store(free, wanted, until, wait=wait))
        return [next(stored) if isinstance(one, _Admitted) and not one.needs_hold else one for one in outcomes]

    async def _reserve_and_store(
        self, admitted: "Sequence[_Admitted]", *, wait: bool = True
    ) -> list[Submitted | DomainError]:
        wanted = _first_of_each(admitted)
        until = monotonic() + self._reservations.times.store_within.total_seconds()
        reserved = await self._reservations.reserve([_reservation(job) for job in wanted.values()])
        crash_point("jobs.submit.before_insert")
        held = {key: _held(job, reserved.get(key)) for key, job in wanted.items()}
        return await self._store(admitted, held, until, wait=wait)

    async def _stored_before(self, submissions: Sequence[Submission]) -> Mapping[UUID, Job | DataCorrupt]:
        async with self.transactions.begin():
            # Nearly always there are none: their IDs alone are looked for first.
            found = await self._jobs.versions({one.job_id for one in submissions})
            return await self._jobs.get_many(found.keys()) if found else {}

    async def _store(
        self,
        admitted: "Sequence[_Admitted]",
        outcomes: Mapping[UUID, NewJob | DomainError],
        until: float,
        *,
        wait: bool,
    ) -> list[Submitted | DomainError]:
        """Stores those that nothing speaks against, and answers what became of each."""
        if not admitted:
            return []
        new = [job for job in outcomes.values() if isinstance(job, NewJob)]
        withheld = self._queue.withheld(new, {one.kind.id: one.kind for one in admitted})
        try:
            async with self.transactions.begin(timeout_seconds=until - monotonic()):
                created = await self._jobs.create_many(new, withheld, wait=wait) if new else {}
                # Those left out may have been stored by another call a moment ago: with the money that now is missing.
                missing = outcomes.keys() - created.keys()
                found = await self._jobs.get_many(missing) if missing else {}
                self.transactions.after_commit(lambda: self._hand_over(list(created.values())))
        except StillReferenced as error:
            # A job type was deleted since it was read: who repeats the call is told so.
            self._job_types.forget({one.submission.job_type for one in admitted})
            raise Conflict from error
        crash_point("jobs.submit.before_push")
        return _results(admitted, outcomes, created, found, waited=wait)

    def _hand_over(self, created: Sequence[Job]) -> None:
        waiting = [Waiting(job.id, job.queue, job.priority, job.queued_at) for job in created if job.dispatched_at]
        later = {ListKey(job.queue, job.priority) for job in created if not job.dispatched_at}
        if waiting:
            self._queue.put(waiting)
        if later:
            self._queue.wake(*later)
        waits = [job.run_at - job.created_at for job in created if job.status is JobStatus.SCHEDULED and job.run_at]
        if waits:
            self._queue.expect(max(min(waits), timedelta(0)))

    @transactional(read_only=True)
    async def get(self, job_id: UUID, *, full: bool) -> Job:
        """Answers a job, with its payloads if it is to be full.

        Raises:
            JobNotFound: If there is none.
        """
        job = await self._jobs.get(job_id) if full else (await self._jobs.get_many([job_id])).get(job_id)
        if job is None:
            raise JobNotFound(job_id)
        if isinstance(job, DataCorrupt):
            raise job
        return job

    @transactional(read_only=True, isolation=Isolation.REPEATABLE_READ)
    async def list_page(self, query: ListQuery, *, full: bool) -> Page[Job]:
        """Return a page of jobs, with their payloads if it is to be full; shorter where it would not fit a message.

        Raises:
            InvalidOrderBy: If all jobs there ever were would have to be sorted for it.
        """
        check_order(query)
        page = await self._jobs.list_page(query)
        items = _fitting(page.items, full=full)
        if full:
            payloads = await self._jobs.payloads([job.id for job in items])
            items = [replace(job, **vars(payloads[job.id])) for job in items]
        if len(items) == len(page.items):
            return Page(tuple(items), page.next_cursor)
        return Page.cut([*items, page.items[len(items)]], replace(query, page_size=len(items)))

    @transactional(read_only=True)
    async def stats(self, queues: Collection[str]) -> list[QueueStats]:
        """Counts what waits and runs, per queue and priority; of all queues if none is named."""
        return await self._jobs.stats(queues)


class _Asked(NamedTuple):
    """A submission, and whether its customer is active; None if there is no such customer."""

    submission: Submission
    active: bool | DomainError | None


@dataclass(frozen=True)
class _Admitted:
    """A submission that is to be stored, and the job that it becomes."""

    submission: Submission
    job: NewJob
    kind: JobType

    @property
    def needs_hold(self) -> bool:
        return self.job.billing_status is BillingStatus.HELD


def _answer(result: "Submitted | _Admitted | Unchecked | DomainError") -> Submitted | DomainError:
    # Else the schema changed each time while an input was checked with it.
    return result if isinstance(result, Submitted | DomainError) else ConcurrentUpdate()


def _first_of_each(admitted: Sequence[_Admitted]) -> dict[UUID, NewJob]:
    """Of those that have the same ID the first is the one to store."""
    wanted: dict[UUID, NewJob] = {}
    for one in admitted:
        wanted.setdefault(one.job.id, one.job)
    return wanted


def _results(
    admitted: Sequence[_Admitted],
    outcomes: Mapping[UUID, NewJob | DomainError],
    created: Mapping[UUID, Job],
    found: Mapping[UUID, Job | DataCorrupt],
    *,
    waited: bool,
) -> list[Submitted | DomainError]:
    """What became of each: stored by this call, by another one that was faster, or neither."""
    answered = dict(found)
    results: list[Submitted | DomainError] = []
    for one in admitted:
        job_id = one.job.id
        outcome = outcomes[job_id]
        if (job := answered.get(job_id)) is not None:
            results.append(_repeated(one.submission, job))
        elif isinstance(outcome, DomainError):
            results.append(outcome)
        elif job_id in created:
            # The first of those that have this ID: it is the one that was stored.
            answered[job_id] = created[job_id]
            results.append(Submitted(created[job_id], replayed=False))
        else:
            # Left out although nothing was locked: there is a receipt, so the job of this ID was charged, and deleted
            # since. Its new hold finds no job.
            results.append(IdempotencyKeyReused(("job_id",)) if waited else RowLocked())
    return results


def _repeated(submission: Submission, job: Job | DataCorrupt) -> Submitted | DomainError:
    if isinstance(job, DataCorrupt):
        return job
    try:
        check_same(submission.parameters, job.request_digest)
    except DomainError as error:
        return error
    return Submitted(job, replayed=True)


def _reservation(job: NewJob) -> Reservation:
    return Reservation(
        job_id=job.id, customer_id=job.customer_id, currency=job.currency, amount_cents=job.estimated_cost_cents
    )


def _held(job: NewJob, outcome: Reserved | DomainError | None) -> NewJob | DomainError:
    if outcome is None or isinstance(outcome, DomainError):
        return outcome or job
    # The price may have changed since the hold was placed: what was reserved first counts.
    return changed(
        job,
        hold_id=outcome.hold_id,
        hold_generation=outcome.generation,
        estimated_cost_cents=outcome.amount_cents,
    )


def _fitting(jobs: Sequence[Job], *, full: bool) -> Sequence[Job]:
    size = 0
    for count, job in enumerate(jobs):
        size += FIXED_BYTES_MAX + job.notes_bytes
        if full:
            size += job.input_bytes + job.output_bytes
        if size > PAGE_BYTES_MAX and count:
            return jobs[:count]
    return jobs
