"""Makes the charges that runners have not made, and releases the holds of jobs that ended without success."""

from datetime import timedelta
from typing import Any

import structlog

from services.jobs.completion import Settlement
from services.jobs.domain import Charge, Release
from services.jobs.errors import HoldNotActive
from services.jobs.metrics import JOBS
from services.jobs.ports import Wallets
from services.jobs.repository import JobRepository
from services.jobs.run_service import RunService
from services.kit.crash import crash_point
from services.kit.data.transactions import Transactions
from services.kit.errors import DomainError

log = structlog.get_logger(__name__)

_BATCH = 500
_SETTLE_LONGEST = timedelta(minutes=10)


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
        """Takes some, charges or releases them, records it."""
        async with self.transactions.begin():
            due = await self._jobs.take_unsettled(_BATCH, self._settle_after, _SETTLE_LONGEST)
        charges = [one for one in due if isinstance(one, Charge)]
        releases = [one for one in due if isinstance(one, Release)]
        outcomes: list[Settlement | DomainError] = []
        if charges:
            crash_point("jobs.settler.before_deduct")
            outcomes += await self._wallets.deduct(charges)
            crash_point("jobs.settler.before_settle")
        if releases:
            crash_point("jobs.settler.before_release")
            outcomes += await self._wallets.release_holds(releases)
            crash_point("jobs.settler.after_release")
        known = [outcome for outcome in outcomes if not isinstance(outcome, DomainError)]
        if known:
            await self._runs.settle(known)
        JOBS.labels("settler", "charged").inc(sum(one.transaction_id is not None for one in known))
        JOBS.labels("settler", "released").inc(sum(one.released for one in known))
        JOBS.labels("settler", "refused").inc(sum(bool(one.declined_reason) for one in known))
        self._report([outcome for outcome in outcomes if isinstance(outcome, DomainError)])
        return len(due) == _BATCH

    @staticmethod
    def _report(failed: list[DomainError]) -> None:
        for error in failed:
            # No try can cure it: a job without success was charged. `innosystem verify` names it as well.
            if isinstance(error, HoldNotActive):
                log.error("hold of a job without success was captured", hold_id=str(error.hold_id))
            else:
                raise error
