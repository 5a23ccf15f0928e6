"""Settles jobs: makes the charges that runners have not made, and releases the holds of unsuccessful jobs."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog

from innosystem.shared.crash import crash_point
from services.jobs.metrics import JOBS
from services.jobs.rules.entities import Charge, Due, Release
from services.jobs.rules.errors import HoldNotActive
from services.jobs.rules.transitions.completion import Charged, Declined, Released, Settlement
from services.jobs.usecases.ports import JobRepository, Wallets
from services.jobs.usecases.run import RunService
from services.kit.auth.tenants import ALL_TENANTS
from services.kit.batching.dividing import divided
from services.kit.data.transactions.ambient import Transactions
from services.kit.errors import DomainError, RowLocked

log = structlog.get_logger(__name__)

_BATCH = 500
_SETTLE_LONGEST = timedelta(minutes=10)
# What the metrics call what became of a job's money.
_OUTCOMES: dict[type[Settlement], str] = {Charged: "charged", Released: "released", Declined: "refused"}
# How many jobs a log line names.
_NAMED_MAX = 10


class Settler:
    """The settlement of jobs that their runners have not settled.

    Args:
        transactions: The transactions of the jobs database.
        jobs: The stored jobs.
        runs: Records the outcomes of charges.
        wallets: The wallets service.
        settle_after: The wait after the first failed try; it doubles each time.
    """

    def __init__(
        self,
        transactions: Transactions[Any],
        jobs: JobRepository,
        runs: RunService,
        wallets: Wallets,
        *,
        settle_after: timedelta,
    ) -> None:
        self.transactions = transactions
        self._jobs = jobs
        self._runs = runs
        self._wallets = wallets
        self._settle_after = settle_after

    async def round(self) -> bool:
        """Take a batch, charge or release it, record the outcomes; return whether more may be left.

        Taking a job postpones it, each time for longer: a job that fails does not return immediately, and not together
        with the next batch.
        """
        async with self.transactions.begin():
            due = await self._jobs.take_unsettled(_BATCH, self._settle_after, _SETTLE_LONGEST)
        # Concurrently, because neither may depend on the other.
        results = await asyncio.gather(
            self._charge([one for one in due if isinstance(one, Charge)]),
            self._release([one for one in due if isinstance(one, Release)]),
            return_exceptions=True,
        )
        outcomes = [pair for pairs in results if not isinstance(pairs, BaseException) for pair in pairs]
        await self._record([outcome for _, outcome in outcomes if isinstance(outcome, Settlement)])
        self._report([(one, outcome) for one, outcome in outcomes if isinstance(outcome, DomainError)], len(due))
        for failure in results:
            if isinstance(failure, BaseException):
                raise failure
        return len(due) == _BATCH

    async def _charge(self, charges: Sequence[Charge]) -> list[tuple[Due, Settlement | DomainError]]:
        if not charges:
            return []
        crash_point("jobs.settler.before_deduct")
        outcomes = await self._wallets.deduct(charges)
        crash_point("jobs.settler.before_settle")
        return list(zip(charges, outcomes, strict=True))

    async def _release(self, releases: Sequence[Release]) -> list[tuple[Due, Settlement | DomainError]]:
        if not releases:
            return []
        crash_point("jobs.settler.before_release")
        outcomes = await self._wallets.release_holds(releases)
        crash_point("jobs.settler.after_release")
        return list(zip(releases, outcomes, strict=True))

    async def _record(self, known: Sequence[Settlement]) -> None:
        for settlement, error in await divided(known, self._settle):
            log.error("settlement_not_recorded", job_id=str(settlement.job_id), error=str(error), exc_info=error)

    async def _settle(self, known: Sequence[Settlement]) -> None:
        recorded: list[Settlement] = []
        for settlement, outcome in zip(known, await self._runs.settle(known, ALL_TENANTS), strict=True):
            if isinstance(outcome, DomainError):
                log.error("settlement_not_recorded", job_id=str(settlement.job_id), error=str(outcome))
            else:
                recorded.append(settlement)
        counted = Counter(map(type, recorded))
        for kind, label in _OUTCOMES.items():
            JOBS.labels("settler", label).inc(counted[kind])

    @staticmethod
    def _report(failed: Sequence[tuple[Due, DomainError]], taken: int) -> None:
        postponed = []
        for one, error in failed:
            # A job without success was charged, and no retry changes that. `innosystem verify` reports it as well.
            if isinstance(error, HoldNotActive):
                log.error("hold_of_unsuccessful_job_captured", hold_id=str(error.hold_id))
            else:
                postponed.append((one.job_id, error))
        JOBS.labels("settler", "put_off").inc(len(postponed))
        # A locked wallet says nothing about the others.
        if len(postponed) == taken and postponed and not isinstance(postponed[0][1], RowLocked):
            raise postponed[0][1]
        if postponed:
            job_ids = [str(job_id) for job_id, _ in postponed[:_NAMED_MAX]]
            log.warning("settlements_postponed", jobs=len(postponed), job_ids=job_ids, error=str(postponed[0][1]))
