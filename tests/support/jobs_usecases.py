"""The use cases of the jobs service on the repositories of a test."""

from datetime import timedelta

from services.jobs.usecases.control import ControlService
from services.jobs.usecases.ports import Changes, Queue
from services.jobs.usecases.run import RunService
from services.jobs.usecases.submission.limits import SubmissionLimits
from tests.support.jobs_work import (
    CustomersForTests,
    JobsWork,
    TypesForTests,
    UnservedForTests,
    WalletsForTests,
    nobody,
)


def run_service(work: JobsWork, queue: Queue, changes: Changes, settle_after: timedelta = timedelta(0)) -> RunService:
    """Return the use cases of runners, without known job types."""
    return RunService(
        work.transactions,
        work.jobs,
        job_types=TypesForTests(),
        queue=queue,
        changes=changes,
        unserved=UnservedForTests(),
        wake_settler=nobody,
        settle_after=settle_after,
    )


def control_service(
    work: JobsWork,
    queue: Queue,
    changes: Changes,
    wallets: WalletsForTests | None = None,
    *,
    limits: SubmissionLimits | None = None,
    customers: CustomersForTests | None = None,
) -> ControlService:
    """Return the use cases that change jobs, with wallets and customers of their own unless given."""
    return ControlService(
        work.transactions,
        work.jobs,
        work.pauses,
        customers=customers or CustomersForTests(),
        reservations=(wallets or WalletsForTests()).reservations(),
        queue=queue,
        changes=changes,
        wake_settler=nobody,
        limits=limits,
    )
