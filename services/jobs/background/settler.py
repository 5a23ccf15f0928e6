"""Makes the charges that runners have not made, and releases the holds of jobs that ended without success."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog

from innosystem.shared.crash import crash_point
from services.jobs.metrics import JOBS
from services.jobs.rules.completion import Charged, Declined, Released, Settlement
from services.jobs.rules.entities import Charge, Due, Release
from services.jobs.rules.errors import HoldNotActive
from services.jobs.usecases.ports import JobRepository, Wallets
from services.jobs.usecases.run import RunService
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
    """Makes the charges that runners have not made, and releases the holds of jobs that ended without success.

    Args:
        transactions: Where they begin.
        jobs: The stored jobs.
        runs: Records what became of charges.
        wallets: Asks the wallets service.
        settle_after: The wait after the first try that failed; it doubles.
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
        """Take some, charge or release them, record what is known; return whether there may be more.

        What was taken is put off already, each for longer than the time before: whatever fails does not come back at
        once, and not together with what comes next.
        """
        async with self.transactions.begin():
            due = await self._jobs.take_unsettled(_BATCH, self._settle_after, _SETTLE_LONGEST)
        # At once, because each is to happen also when the other fails.
        asked = await asyncio.gather(
            self._charge([one for one in due if isinstance(one, Charge)]),
            self._release([one for one in due if isinstance(one, Release)]),
            return_exceptions=True,
        )
        outcomes = [pair for pairs in asked if not isinstance(pairs, BaseException) for pair in pairs]
        await self._record([outcome for _, outcome in outcomes if isinstance(outcome, Settlement)])
        self._report([(one, outcome) for one, outcome in outcomes if isinstance(outcome, DomainError)], len(due))
        for failure in asked:
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
            log.error("settlement not recorded", job_id=str(settlement.job_id), problem=str(error), exc_info=error)

    async def _settle(self, known: Sequence[Settlement]) -> None:
        recorded: list[Settlement] = []
        for settlement, outcome in zip(known, await self._runs.settle(known), strict=True):
            if isinstance(outcome, DomainError):
                log.error("settlement not recorded", job_id=str(settlement.job_id), problem=str(outcome))
            else:
                recorded.append(settlement)
        counted = Counter(map(type, recorded))
        for kind, label in _OUTCOMES.items():
            JOBS.labels("settler", label).inc(counted[kind])

    @staticmethod
    def _report(failed: Sequence[tuple[Due, DomainError]], asked: int) -> None:
        put_off = []
        for one, error in failed:
            # No try can cure it: a job without success was charged. `innosystem verify` names it as well.
            if isinstance(error, HoldNotActive):
                log.error("hold of a job without success was captured", hold_id=str(error.hold_id))
            else:
                put_off.append((one.job_id, error))
        JOBS.labels("settler", "put_off").inc(len(put_off))
        # A wallet that is locked says nothing about the others.
        if len(put_off) == asked and put_off and not isinstance(put_off[0][1], RowLocked):
            raise put_off[0][1]
        if put_off:
            job_ids = [str(job_id) for job_id, _ in put_off[:_NAMED_MAX]]
            log.warning("settlements put off", jobs=len(put_off), job_ids=job_ids, problem=str(put_off[0][1]))
