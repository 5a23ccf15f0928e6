"""Submission: reserve the price of jobs, store them, and give their IDs to the queue."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from innosystem.shared.crash import crash_point
from services.jobs.metrics import count_submitted
from services.jobs.rules.entities import (
    BillingStatus,
    Job,
    JobStatus,
    ListKey,
    NewJob,
    Waiting,
)
from services.jobs.rules.errors import CustomerNotFound
from services.jobs.rules.holds import Reservation, Reserved
from services.jobs.rules.job_types import JobType
from services.jobs.rules.submission import Submission
from services.jobs.usecases.ports import Customers, JobRepository, JobTypes, Queue, SchemaChecks
from services.jobs.usecases.submission.admission import Admissions, Unchecked, with_large_inputs_checked
from services.jobs.usecases.submission.known_jobs import KnownJobs, Submitted, repeated
from services.jobs.usecases.submission.limits import SubmissionLimits
from services.jobs.usecases.submission.quotes import Quoted, Quotes
from services.jobs.usecases.submission.reservations import Reservations
from services.kit.auth.principal import ANYONE, Principal
from services.kit.auth.tenants import Tenants
from services.kit.batching.brief_wait import BriefWait
from services.kit.batching.coalescing import Coalescer
from services.kit.batching.locked_lane import LOCK_TIMES, LockTimes
from services.kit.batching.time_slice import TimeSlice
from services.kit.data.errors import Conflict, StillReferenced
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import ConcurrentUpdate, DataCorrupt, DomainError, IdempotencyKeyReused, RowLocked
from services.kit.fast_dataclasses import changed

# How often a submission repeats its slow steps: a schema may change while an input is checked with it.
_TRIES_MAX = 4
# Within this time the wallets service has found out which wallets are locked, and has served the others.
_LOCKED_SECONDS = 0.75


class SubmitService:
    """The use case of submission.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        job_types: The job types that submissions name.
        customers: The customers service.
        reservations: Reserves the price of jobs.
        queue: Dispatches the stored jobs.
        now: The time of the database, which all stored times are compared with.
        checks: Checks inputs with the schemas of their types.
        lock_times: How long submissions wait for locked rows.
        limits: The limits of submissions; None for none.
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
        checks: SchemaChecks,
        lock_times: LockTimes = LOCK_TIMES,
        limits: SubmissionLimits | None = None,
    ) -> None:
        self._limits = limits
        self.transactions = transactions
        self._jobs = jobs
        self._known = KnownJobs(transactions, jobs)
        self._job_types = job_types
        self._customers = customers
        self._reservations = reservations
        self._queue = queue
        self._now = now
        self._checks = checks
        self._submissions: Coalescer[_Prepared, Submitted | _Admitted | _Unprepared | Unchecked] = Coalescer(
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
        self._quotes = Quotes(
            self._known,
            job_types=job_types,
            customers=customers,
            reservations=reservations,
            now=now,
            checks=checks,
            limits=limits,
        )
        self._customers_wait = BriefWait()
        self._wallets_wait = BriefWait(_LOCKED_SECONDS)

    async def submit_or_quote(
        self, submissions: Sequence[Submission], tenants: Tenants, *, patient: bool = False, caller: Principal = ANYONE
    ) -> list[Quoted]:
        """Submit jobs, and quote those that are only to be validated.

        Args:
            submissions: The jobs.
            tenants: Whose customers and jobs exist for the caller.
            patient: Whether to wait for locked wallets.
            caller: The one whose limits count.

        Returns:
            The results, aligned with the submissions.

        Raises:
            As `submit`.
        """
        only_asked = [one for one in submissions if one.validate_only]
        if not only_asked:
            return [*await self.submit(submissions, tenants, patient=patient, caller=caller)]
        quotes = iter(await self._quotes.quote(only_asked, tenants, caller))
        meant = [one for one in submissions if not one.validate_only]
        submitted = iter(await self.submit(meant, tenants, patient=patient, caller=caller) if meant else ())
        return [next(quotes) if one.validate_only else next(submitted) for one in submissions]

    async def submit(
        self,
        submissions: Sequence[Submission],
        tenants: Tenants,
        *,
        patient: bool = False,
        caller: Principal = ANYONE,
    ) -> list[Submitted | DomainError]:
        """Reserve the price of jobs, store them and dispatch them; each submission succeeds or fails alone.

        Concurrent calls share their transactions.

        A hold remains when its job could not be stored, because a concurrent call may be about to store the job under
        the same ID. A repeated submission finds the hold; otherwise the hold auditor releases it.

        Args:
            submissions: The jobs.
            tenants: Whose customers and jobs exist for the caller.
            patient: Whether to wait for locked wallets, which delays the other submissions of the call.
            caller: The one whose limits count.

        Returns:
            The results, aligned with the submissions.

        Raises:
            ConcurrentUpdate: If a job type was deleted concurrently; nothing was stored.
            DatabaseUnavailable: If the jobs could not be stored. Submitting them again under the same IDs is safe.
            Overloaded: If too many submissions wait to be stored.
            RateLimited: If a limit of the caller is used up, or of all customers.
        """
        if tenants.are_all:
            return await self._submitted(submissions, caller, patient=patient)
        own = [one for one in submissions if tenants.own(one.customer_id)]
        results = iter(await self._submitted(own, caller, patient=patient) if own else ())
        return await self._known.without_others(
            [
                (one, next(results) if tenants.own(one.customer_id) else CustomerNotFound(one.customer_id))
                for one in submissions
            ],
            tenants,
        )

    async def _submitted(
        self, submissions: Sequence[Submission], caller: Principal, *, patient: bool
    ) -> list[Submitted | DomainError]:
        refused = {} if self._limits is None else await self._limits.refused(submissions, caller)
        if not refused:
            return await self._accepted(submissions, patient=patient)
        accepted = [one for one in submissions if one.customer_id not in refused]
        if not accepted:
            # The whole call has to wait.
            raise next(iter(refused.values()))
        results = iter(await self._accepted(accepted, patient=patient))
        return [refused.get(one.customer_id) or next(results) for one in submissions]

    async def _accepted(self, submissions: Sequence[Submission], *, patient: bool) -> list[Submitted | DomainError]:
        ready = await with_large_inputs_checked(submissions)
        prepared = await self._prepared(ready) if self._customers_wait.is_over else [_Prepared(one) for one in ready]
        results = await self._submissions(prepared, patient=patient)
        for _ in range(_TRIES_MAX):
            unready = {at: one for at, one in enumerate(results) if isinstance(one, _Unprepared | Unchecked)}
            if not unready:
                break
            prepared_by = dict(zip(unready, await self._made_ready([*unready.values()]), strict=True))
            again = [one for one in prepared_by.values() if isinstance(one, _Prepared)]
            repeated = iter(await self._submissions(again, patient=patient))
            for at, one in prepared_by.items():
                results[at] = next(repeated) if isinstance(one, _Prepared) else one
        return [_final(one) for one in await self._with_money(results, patient=patient)]

    async def _made_ready(self, unready: "Sequence[_Unprepared | Unchecked]") -> "list[_Prepared | DomainError]":
        """Do the slow steps of some submissions, outside of a batch."""
        prepared = iter(await self._prepared([one.submission for one in unready if isinstance(one, _Unprepared)]))
        return [next(prepared) if isinstance(one, _Unprepared) else await self._checked(one) for one in unready]

    async def _prepared(self, submissions: Sequence[Submission]) -> "list[_Prepared]":
        with self._customers_wait.by_itself():
            active = await self._customers.active({one.customer_id for one in submissions})
        return [_Prepared(one, active) for one in submissions]

    async def _checked(self, one: Unchecked) -> "_Prepared | DomainError":
        try:
            return _Prepared(replace(one.submission, verdict=await self._checks.check(one.schema, one.text)))
        except DomainError as error:
            return error

    async def _with_money(self, results: "Sequence[_Result]", *, patient: bool) -> "list[_Result]":
        """Reserve and store the jobs that their batch has left because of a slow wallet."""
        held = [one for one in results if isinstance(one, _Admitted)]
        if not held:
            return list(results)
        with self._wallets_wait.by_itself():
            stored = iter(await self._paid(held, patient=patient))
        return [next(stored) if isinstance(one, _Admitted) else one for one in results]

    async def _submit(self, prepared: "Sequence[_Prepared]", *, wait: bool = True) -> "list[_Result]":
        """Store the jobs that need no slow step; refuse the others, or leave the slow step to their callers."""
        until = self._store_until()
        submissions = [one.submission for one in prepared]
        known, types, active = await asyncio.gather(
            self._known.of(submissions),
            self._job_types.resolve({one.job_type for one in submissions}),
            self._active(prepared),
        )
        outcomes = await self._judged(prepared, known, types, active)
        admitted = _first_of_each([one for one in outcomes if isinstance(one, _Admitted)])
        jobs = {key: one.job for key, one in admitted.items()}
        paid = {key: one for key, one in admitted.items() if one.job.billing_status is BillingStatus.HELD}
        held = (await self._wallets_wait.result_of(lambda: self._held(paid)) if paid else None) or {}
        # Jobs of a locked wallet wait in a batch of their own.
        left = {key for key in paid if isinstance(held.get(key, RowLocked()), RowLocked)}
        to_store = {key: held.get(key, job) for key, job in jobs.items() if key not in left}
        ready = [one for one in outcomes if isinstance(one, _Admitted) and one.job.id not in left]
        stored = iter(await self._store(ready, to_store, until, wait=wait))
        return [next(stored) if isinstance(one, _Admitted) and one.job.id not in left else one for one in outcomes]

    async def _active(self, prepared: "Sequence[_Prepared]") -> Mapping[UUID, bool | DomainError] | None:
        """Return which customers are active; None if the customers service is slow."""
        unknown = {one.submission.customer_id for one in prepared if one.active is None}
        return await self._customers_wait.result_of(lambda: self._customers.active(unknown)) if unknown else {}

    async def _judged(
        self,
        prepared: "Sequence[_Prepared]",
        known: Mapping[UUID, Job | DataCorrupt],
        types: Mapping[UUID | str, JobType | DomainError],
        active: Mapping[UUID, bool | DomainError] | None,
    ) -> "list[_Result]":
        kinds = {kind.id: kind for kind in types.values() if isinstance(kind, JobType)}
        admissions = Admissions(types, self._now(), self._checks)
        outcomes: list[_Result] = []
        time_slice = TimeSlice()
        for submission, read_before in prepared:
            customers = active if read_before is None else read_before
            if (job := known.get(submission.job_id)) is not None:
                outcomes.append(repeated(submission, job))
            elif customers is None:
                outcomes.append(_Unprepared(submission))
            else:
                outcome = admissions.judge(submission, customers.get(submission.customer_id))
                if isinstance(outcome, NewJob):
                    outcomes.append(_Admitted(submission, outcome, kinds[outcome.job_type_id]))
                else:
                    outcomes.append(outcome)
            await time_slice.rest()
        return outcomes

    async def _reserve_and_store(
        self, admitted: "Sequence[_Admitted]", *, wait: bool = True
    ) -> list[Submitted | DomainError]:
        until = self._store_until()
        return await self._store(admitted, await self._held(_first_of_each(admitted)), until, wait=wait)

    def _store_until(self) -> float:
        return monotonic() + self._reservations.times.store_within.total_seconds()

    async def _held(self, admitted: "Mapping[UUID, _Admitted]") -> dict[UUID, NewJob | DomainError]:
        """Reserve the prices of jobs."""
        reserved = await self._reservations.reserve([_reservation(one) for one in admitted.values()])
        crash_point("jobs.submit.before_insert")
        return {key: _held(one.job, reserved.get(key)) for key, one in admitted.items()}

    async def _store(
        self,
        admitted: "Sequence[_Admitted]",
        outcomes: Mapping[UUID, NewJob | DomainError],
        until: float,
        *,
        wait: bool,
    ) -> list[Submitted | DomainError]:
        """Store the jobs that no error rules out, and return the result of each."""
        if not admitted:
            return []
        new = [job for job in outcomes.values() if isinstance(job, NewJob)]
        withheld = self._queue.withheld(new, {one.kind.id: one.kind for one in admitted})
        try:
            async with self.transactions.begin(timeout_seconds=until - monotonic()):
                created = await self._jobs.create_many(new, withheld, wait=wait) if new else {}
                # A concurrent call may have stored a missing job a moment ago, with the money that this call lacks.
                missing = outcomes.keys() - created.keys()
                found = await self._jobs.get_many(missing) if missing else {}
                self.transactions.after_commit(lambda: self._dispatch(list(created.values())))
        except StillReferenced as error:
            # A job type was deleted since it was read: a repeated call fails with that reason.
            self._job_types.forget({one.submission.job_type for one in admitted})
            raise Conflict from error
        count_submitted(created.values(), {one.kind.id: one.kind.name for one in admitted})
        crash_point("jobs.submit.before_push")
        return _results(admitted, outcomes, created, found, waited=wait)

    def _dispatch(self, created: Sequence[Job]) -> None:
        waiting = [Waiting(job.id, job.queue, job.priority, job.queued_at) for job in created if job.dispatched_at]
        later = {ListKey(job.queue, job.priority) for job in created if not job.dispatched_at}
        if waiting:
            self._queue.put(waiting)
        if later:
            self._queue.wake(*later)
        waits = [job.run_at - job.created_at for job in created if job.status is JobStatus.SCHEDULED and job.run_at]
        if waits:
            self._queue.expect(max(min(waits), timedelta(0)))


class _Prepared(NamedTuple):
    """A submission, with the active customers if they were read before."""

    submission: Submission
    active: Mapping[UUID, bool | DomainError] | None = None


@dataclass(frozen=True)
class _Unprepared:
    """A submission whose customer must be read outside of a batch, because the customers service is slow."""

    submission: Submission


@dataclass(frozen=True)
class _Admitted:
    """A submission that is to be stored, with its job."""

    submission: Submission
    job: NewJob
    kind: JobType


# The result of a submission in a batch. All but the final ones leave a step to the caller.
_Result = Submitted | _Admitted | _Unprepared | Unchecked | DomainError


def _final(result: _Result) -> Submitted | DomainError:
    # A submission that is still not final met a changed job type in each try.
    return result if isinstance(result, Submitted | DomainError) else ConcurrentUpdate()


def _first_of_each(admitted: Sequence[_Admitted]) -> dict[UUID, _Admitted]:
    """Return the submissions by job ID: of those with the same ID the first."""
    first: dict[UUID, _Admitted] = {}
    for one in admitted:
        first.setdefault(one.job.id, one)
    return first


def _results(
    admitted: Sequence[_Admitted],
    outcomes: Mapping[UUID, NewJob | DomainError],
    created: Mapping[UUID, Job],
    found: Mapping[UUID, Job | DataCorrupt],
    *,
    waited: bool,
) -> list[Submitted | DomainError]:
    """Return the result of each submission: stored by this call, by a concurrent call that won, or an error."""
    stored = dict(found)
    results: list[Submitted | DomainError] = []
    for one in admitted:
        job_id = one.job.id
        outcome = outcomes[job_id]
        if (job := stored.get(job_id)) is not None:
            results.append(repeated(one.submission, job))
        elif isinstance(outcome, DomainError):
            results.append(outcome)
        elif job_id in created:
            # The first submission with this ID is the one that was stored.
            stored[job_id] = created[job_id]
            results.append(Submitted(created[job_id], replayed=False))
        else:
            # Left out although no row was locked: a receipt shows that the job of this ID was charged, and deleted
            # since. The hold auditor releases the new hold.
            results.append(IdempotencyKeyReused(("job_id",)) if waited else RowLocked())
    return results


def _reservation(admitted: _Admitted) -> Reservation:
    job = admitted.job
    return Reservation(
        job_id=job.id,
        customer_id=job.customer_id,
        currency=job.currency,
        amount_cents=job.estimated_cost_cents,
        # The unit price is not in the hold, so that of another maximum may be of another unit price as well.
        amount_cents_min=0 if job.metering is None else job.estimated_cost_cents,
        amount_cents_max=admitted.submission.max_cost_cents if job.metering is None else job.estimated_cost_cents,
        is_maximum=job.metering is not None,
    )


def _held(job: NewJob, outcome: Reserved | DomainError | None) -> NewJob | DomainError:
    if outcome is None or isinstance(outcome, DomainError):
        return outcome or job
    # The price may have changed since the hold was placed: the amount of the hold counts.
    return changed(
        job,
        hold_id=outcome.hold_id,
        hold_generation=outcome.generation,
        estimated_cost_cents=outcome.amount_cents,
    )
