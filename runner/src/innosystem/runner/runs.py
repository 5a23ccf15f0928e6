"""Run the handlers of claimed jobs, and stop those whose results are no longer wanted."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from innosystem.jobs.v1 import job_service_pb2
from innosystem.runner.completing import completion_of
from innosystem.runner.executor import Executor
from innosystem.runner.in_hand import JobInHand, JobsInHand
from innosystem.runner.metrics import LOST_LEASES
from innosystem.runner.outcome import Outcome, failed
from innosystem.runner.process_slots import NotStarted
from innosystem.runner.progress_sender import ProgressSender
from innosystem.runner.reporting import ReportSender
from innosystem.runner.returning import return_of
from innosystem.runner.stop_signal import StopReason
from innosystem.shared.crash import crash_point

log = structlog.get_logger()

# Cancelled handlers have this long to end before their jobs are returned.
_LET_GO_SECONDS: Final = 1.0
_STOPPING: Final = "runner stopping"
# A job that this runner cannot run is kept this long before it is returned: a service of an older release does not
# reserve it for other runners, and would offer it again immediately.
_REFUSED_SECONDS: Final = 5.0


class Runs:
    """The runs of a runner: a task for each job whose handler is called.

    Args:
        executor: Calls handlers.
        in_hand: The jobs in the runner's hands.
        completions: The sender that reports results.
        returns: The sender that returns jobs to the queue.
        progress: The sender of what handlers say.
        report_seconds: How long to retry reporting a result while the service is unavailable.
        claimed: Called with each job that was claimed.

    Attributes:
        tasks: The tasks of all runs.
    """

    def __init__(
        self,
        *,
        executor: Executor,
        in_hand: JobsInHand,
        completions: ReportSender,
        returns: ReportSender,
        progress: ProgressSender,
        report_seconds: float,
        claimed: Callable[[JobInHand], None],
    ) -> None:
        self._executor = executor
        self._in_hand = in_hand
        self._completions = completions
        self._returns = returns
        self._progress = progress
        self._report_seconds = report_seconds
        self._claimed = claimed
        self._return_until: float | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    def start(self, job: JobInHand, claimed: job_service_pb2.ClaimedJob) -> None:
        """Run a job that was claimed, or return it once the runner is returning jobs."""
        earlier = self._in_hand.leases.get(job.job_id)
        if earlier is not None:
            # The same job under a new lease: the earlier lease was lost.
            self.lease_ended(earlier, StopReason.LOST)
        job.handler = claimed.processing_logic_id
        self._in_hand.leases.add(job)
        self._claimed(job)
        if self._return_until is not None:
            self._return(job, return_of(job, _STOPPING), self._return_until)
            return
        job.stage = "run"
        refusal = self._executor.refusal(claimed)
        job.run = asyncio.create_task(self._run(job, claimed) if refusal is None else self._refuse(job, refusal))
        self.tasks.add(job.run)
        job.run.add_done_callback(partial(self._ended, job, claimed))

    async def _run(self, job: JobInHand, claimed: job_service_pb2.ClaimedJob) -> None:
        crash_point("runner.running")
        began = time.monotonic()
        try:
            outcome = await self._executor.execute(claimed, job.stop, self._progress.listener(job))
        except NotStarted as exc:
            if job.stop.reason is None:
                job_return = return_of(job, str(exc), wait_seconds=exc.wait_seconds)
                self._return(job, job_return, time.monotonic() + self._report_seconds)
            return
        job.run_seconds = time.monotonic() - began
        if job.stop.reason is None:
            self._report(job, outcome, claimed)

    async def _refuse(self, job: JobInHand, reason: str) -> None:
        """Return a job that this runner cannot run, for other runners."""
        log.warning("job_not_served", job_id=job.job_id, request_id=job.request_id, reason=reason)
        await asyncio.sleep(_REFUSED_SECONDS)
        self._return(job, return_of(job, reason, not_served=True), time.monotonic() + self._report_seconds)

    def _report(self, job: JobInHand, outcome: Outcome, claimed: job_service_pb2.ClaimedJob) -> None:
        job.on_failure = self._executor.failure_hook(claimed)
        job.report_until = time.monotonic() + self._report_seconds
        self._in_hand.finish(job, completion_of(job, outcome))
        self._completions.report(job)

    def _ended(self, job: JobInHand, claimed: job_service_pb2.ClaimedJob, task: "asyncio.Task[None]") -> None:
        # A callback, because a task that is cancelled before its first step runs none of its code.
        self.tasks.discard(task)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if job.stop.reason in (StopReason.CANCELLED, StopReason.LOST):
            self._in_hand.remove(job)
        elif job.stop.reason is None and error is not None:
            # A defect of the runner, or a handler cancelled a task that was not its own. Report a failure: otherwise
            # the job would keep its lease for ever.
            log.error("execution_failed", job_id=job.job_id, request_id=job.request_id, exc_info=error)
            self._report(job, failed(error), claimed)

    def lease_ended(self, job: JobInHand, reason: StopReason) -> None:
        """Stop a job that is no longer the runner's according to the server. Nothing is reported for it.

        A job that is completed or stopped already is left unchanged: the server's information may be older than that,
        or a consequence of it.
        """
        if self._in_hand.leases.get(job.job_id) is not job or job.stop.reason is not None:
            return
        if job.was_sent and reason is StopReason.LOST:
            # The lease may be lost because the server has the result: the response to the completion decides.
            return
        if reason is StopReason.LOST:
            LOST_LEASES.inc()
        log.warning(
            "job_cancelled" if reason is StopReason.CANCELLED else "lease_lost",
            job_id=job.job_id,
            request_id=job.request_id,
            stage=job.stage,
        )
        job.stop.drop(reason)
        if job.run is None or job.run.done():
            self._in_hand.remove(job)
            return
        self._in_hand.disown(job)
        job.run.cancel()

    async def hand_back(self, seconds: float) -> None:
        """Stop all handlers and return their jobs, and the jobs that are claimed from now on.

        Args:
            seconds: How long to try.
        """
        self._return_until = time.monotonic() + seconds
        left = [job for job in self._in_hand.jobs if job.stage == "run" and job.stop.reason is None]
        log.info("handing_back", job_ids=[job.job_id for job in left])
        cancelled = set()
        for job in left:
            job.stop.drop(StopReason.RETURNED)
            if job.run is not None:
                job.run.cancel()
                if not job.stop.in_thread:
                    cancelled.add(job.run)
        if cancelled:
            await asyncio.wait(cancelled, timeout=min(_LET_GO_SECONDS, seconds / 2))
        for job in left:
            self._return(job, return_of(job, _STOPPING), self._return_until)

    def _return(self, job: JobInHand, job_return: job_service_pb2.JobReturn, until: float) -> None:
        job.stop.drop(StopReason.RETURNED)
        job.job_return, job.report_until = job_return, until
        self._returns.report(job)
