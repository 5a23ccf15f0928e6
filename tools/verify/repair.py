"""Safe repairs: jobs are returned to the settler, and holds without a job are released."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol
from uuid import UUID

import structlog

from tools.verify.findings import Finding, Rebill, Release, Repair, RepairOutcome, TryNow

log = structlog.get_logger(__name__)

_TRIED_NOW = "the settler takes it now"
_CHARGED_AGAIN = "CHARGE_DUE again: the settler charges it"
_OVERTAKEN = "left alone: it has changed since"


class JobsRepairs(Protocol):
    """Repairs of jobs. Each takes effect, and returns True, only if the job has not changed since it was judged."""

    async def rebill(self, repair: Rebill) -> bool:
        """Set the charge of a job."""
        ...

    async def try_now(self, repair: TryNow) -> bool:
        """Make a job due for the settler."""
        ...


# Releases a hold, or raises HoldNotReleased.
ReleaseHold = Callable[[UUID], Awaitable[None]]


class HoldNotReleased(Exception):
    """A hold could not be released; the message says why."""


class Proposals:
    """A collection of possible repairs, without their effect."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    async def repair(self, findings: Sequence[Finding]) -> Sequence[RepairOutcome]:
        """Collect the findings that have a repair."""
        self.findings += (one for one in findings if one.repair is not None)
        return ()

    def plan(self) -> list[str]:
        """Describe the repairs, a line each."""
        return [f"{one.subject} {one.id}: {one.description}: {_described(one.repair)}" for one in self.findings]

    def summary(self) -> str:
        """Describe the repairs in one line; empty if there are none."""
        counts = Counter(f"{one.subject}: {_described(one.repair)}" for one in self.findings)
        return "; ".join(f"{count:,} x {what}" for what, count in counts.items())


def _described(repair: Repair | None) -> str:
    if isinstance(repair, Release):
        return "released"
    if isinstance(repair, Rebill):
        return _CHARGED_AGAIN if repair.charged_by is None else f"CHARGED by {repair.charged_by}"
    return _TRIED_NOW


class Repairer:
    """The repair of findings, with a log line each.

    Args:
        jobs: The repairs of jobs.
        release: Releases holds through the wallets service, which alone writes to the ledger.
        agreed: The repairs that may be made; None for all.
    """

    def __init__(self, jobs: JobsRepairs, release: ReleaseHold, agreed: Collection[Repair] | None = None) -> None:
        self._jobs = jobs
        self._release = release
        self._agreed = agreed

    async def repair(self, findings: Sequence[Finding]) -> Sequence[RepairOutcome]:
        """Make the repairs; a failed one does not keep the others from being made."""
        proposed = [(one, one.repair) for one in findings if one.repair is not None]
        agreed = self._agreed
        return [await self._repair(one, how) for one, how in proposed if agreed is None or how in agreed]

    async def _repair(self, finding: Finding, repair: Repair) -> RepairOutcome:
        if isinstance(repair, Release):
            try:
                await self._release(repair.hold_id)
            except HoldNotReleased as error:
                return self._logged(RepairOutcome(finding, str(error), done=False))
            return self._logged(RepairOutcome(finding, "released", done=True))
        if isinstance(repair, TryNow):
            outcome, done = _TRIED_NOW, await self._jobs.try_now(repair)
        elif repair.charged_by is None:
            outcome, done = _CHARGED_AGAIN, await self._jobs.rebill(repair)
        else:
            outcome, done = f"CHARGED by {repair.charged_by}", await self._jobs.rebill(repair)
        return self._logged(RepairOutcome(finding, outcome if done else _OVERTAKEN, done))

    def _logged(self, repaired: RepairOutcome) -> RepairOutcome:
        log.warning(
            "repaired" if repaired.done else "not_repaired",
            kind=repaired.finding.kind.value,
            subject=repaired.finding.subject,
            id=str(repaired.finding.id),
            found=repaired.finding.description,
            outcome=repaired.outcome,
        )
        return repaired
