"""Quotes: all checks of a submission, of which nothing is left. No job is stored, no money reserved."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.jobs.rules.entities import NewJob
from services.jobs.rules.errors import CustomerNotFound
from services.jobs.rules.prices.quote import Funds, Quote, quoted
from services.jobs.rules.submission import Submission
from services.jobs.usecases.ports import Customers, JobTypes, SchemaChecks
from services.jobs.usecases.submission.admission import Admissions, Unchecked, with_large_inputs_checked
from services.jobs.usecases.submission.known_jobs import KnownJobs, Submitted, repeated
from services.jobs.usecases.submission.limits import SubmissionLimits
from services.jobs.usecases.submission.reservations import Reservations
from services.kit.auth.principal import Principal
from services.kit.auth.tenants import Tenants
from services.kit.errors import ConcurrentUpdate, DomainError, IdempotencyKeyReused

#: The result of a quote: a job that has the ID is what a real call would return.
Quoted = Quote | Submitted | DomainError


class Quotes:
    """The use case of clients that ask what a submission would do. Each is judged as if it were the only one.

    Args:
        known: The jobs that have the IDs of submissions.
        job_types: The job types that submissions name.
        customers: The customers service.
        reservations: Knows what wallets hold.
        now: The time of the database.
        checks: Checks inputs with the schemas of their types.
        limits: The limits of submissions, of which nothing is used up; None for none.
    """

    def __init__(
        self,
        known: KnownJobs,
        *,
        job_types: JobTypes,
        customers: Customers,
        reservations: Reservations,
        now: Callable[[], datetime],
        checks: SchemaChecks,
        limits: SubmissionLimits | None,
    ) -> None:
        self._known = known
        self._job_types = job_types
        self._customers = customers
        self._reservations = reservations
        self._now = now
        self._checks = checks
        self._limits = limits

    async def quote(self, submissions: Sequence[Submission], tenants: Tenants, caller: Principal) -> list[Quoted]:
        """Return what each submission would cost, or the error that it would fail with.

        Args:
            submissions: The jobs.
            tenants: Whose customers and jobs exist for the caller.
            caller: The one whose limits count.

        Raises:
            RateLimited: If a limit of the caller is used up, or of all customers.
        """
        own = [one for one in submissions if tenants.own(one.customer_id)]
        results = iter(await self._within_limits(own, caller) if own else ())
        told: list[tuple[Submission, Quoted]] = [
            (one, next(results) if tenants.own(one.customer_id) else CustomerNotFound(one.customer_id))
            for one in submissions
        ]
        return await self._known.without_others(told, tenants)

    async def _within_limits(self, submissions: Sequence[Submission], caller: Principal) -> list[Quoted]:
        refused = {} if self._limits is None else await self._limits.refused(submissions, caller, only_look=True)
        accepted = [one for one in submissions if one.customer_id not in refused]
        if not accepted:
            raise next(iter(refused.values()))
        results = iter(await self._quoted(accepted))
        return [refused[one.customer_id] if one.customer_id in refused else next(results) for one in submissions]

    async def _quoted(self, submissions: Sequence[Submission]) -> list[Quoted]:
        ready = await with_large_inputs_checked(submissions)
        known, spent, types, active = await asyncio.gather(
            self._known.of(ready),
            self._known.charged_and_deleted(ready),
            self._job_types.resolve({one.job_type for one in ready}),
            self._customers.active({one.customer_id for one in ready}),
        )
        admissions = Admissions(types, self._now(), self._checks)
        results: list[Quoted | NewJob] = []
        for one in ready:
            if (job := known.get(one.job_id)) is not None:
                results.append(repeated(one, job))
            else:
                judged = await self._judged(admissions, one, active.get(one.customer_id))
                is_spent = one.job_id in spent and isinstance(judged, NewJob)
                results.append(IdempotencyKeyReused(("job_id",)) if is_spent else judged)
        funds = await self._reservations.funds([one for one in results if isinstance(one, NewJob)])
        return [_priced(one, funds) if isinstance(one, NewJob) else one for one in results]

    async def _judged(
        self, admissions: Admissions, one: Submission, active: bool | DomainError | None
    ) -> NewJob | DomainError:
        judged = admissions.judge(one, active)
        if not isinstance(judged, Unchecked):
            return judged
        try:
            verdict = await self._checks.check(judged.schema, judged.text)
        except DomainError as error:
            return error
        again = admissions.judge(replace(judged.submission, verdict=verdict), active)
        return ConcurrentUpdate() if isinstance(again, Unchecked) else again


def _priced(job: NewJob, funds: Mapping[tuple[UUID, str], Funds | DomainError]) -> Quote | DomainError:
    found = funds.get((job.customer_id, job.currency)) if job.estimated_cost_cents else None
    if isinstance(found, DomainError):
        return found
    try:
        return quoted(job, found)
    except DomainError as error:
        return error
