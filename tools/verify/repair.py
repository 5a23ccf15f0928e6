"""Repairs what can safely be repaired: what the settler does next is told to it, and holds without a job are freed."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol
from uuid import UUID

import structlog

from tools.verify.findings import Finding, Rebill, Release, Repair, Repaired, TryNow

log = structlog.get_logger(__name__)

_TRIED_NOW = "the settler takes it now"
_CHARGED_AGAIN = "CHARGE_DUE again: the settler charges it"
_OVERTAKEN = "left alone: it has changed since"


class JobsRepairs(Protocol):
    """Changes rows of jobs, each only if it is still as it was judged; answers whether it was."""

    async def rebill(self, repair: Rebill) -> bool:
        """Sets what a job says of its charge."""
        ...

    async def try_now(self, repair: TryNow) -> bool:
        """Has the settler look at a job."""
        ...


# Releases a hold and answers None, or why it could not be done.
ReleaseHold = Callable[[UUID], Awaitable[str | None]]


class Proposals:
    """Takes down what could be repaired, and repairs nothing."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    async def repair(self, findings: Sequence[Finding]) -> Sequence[Repaired]:
        """Note those that propose something."""
        self.findings += (one for one in findings if one.repair is not None)
        return ()

    def plan(self) -> list[str]:
        """Put into words what would be done, a line each."""
        return [f"{one.subject} {one.id}: {one.description}: {_meant(one.repair)}" for one in self.findings]


def _meant(repair: Repair | None) -> str:
    if isinstance(repair, Release):
        return "released"
    if isinstance(repair, Rebill):
        return _CHARGED_AGAIN if repair.charged_by is None else f"CHARGED by {repair.charged_by}"
    return _TRIED_NOW


class Repairer:
    """Does what findings propose, and logs it.

    Args:
        jobs: Changes the jobs.
        release: Releases holds through the wallets service: nothing else writes to the ledger.
        agreed: What may be done; None for all that is found. What is judged otherwise by now is left alone.
    """

    def __init__(self, jobs: JobsRepairs, release: ReleaseHold, agreed: Collection[Repair] | None = None) -> None:
        self._jobs = jobs
        self._release = release
        self._agreed = agreed

    async def repair(self, findings: Sequence[Finding]) -> Sequence[Repaired]:
        """Goes through the findings; one that can't be repaired keeps no other from it."""
        proposed = [(one, one.repair) for one in findings if one.repair is not None]
        agreed = self._agreed
        return [await self._repair(one, how) for one, how in proposed if agreed is None or how in agreed]

    async def _repair(self, finding: Finding, repair: Repair) -> Repaired:
        if isinstance(repair, Release):
            problem = await self._release(repair.hold_id)
            return self._told(Repaired(finding, problem or "released", problem is None))
        if isinstance(repair, TryNow):
            outcome, done = _TRIED_NOW, await self._jobs.try_now(repair)
        elif repair.charged_by is None:
            outcome, done = _CHARGED_AGAIN, await self._jobs.rebill(repair)
        else:
            outcome, done = f"CHARGED by {repair.charged_by}", await self._jobs.rebill(repair)
        return self._told(Repaired(finding, outcome if done else _OVERTAKEN, done))

    def _told(self, repaired: Repaired) -> Repaired:
        log.warning(
            "repaired" if repaired.done else "not_repaired",
            kind=repaired.finding.kind.value,
            subject=repaired.finding.subject,
            id=str(repaired.finding.id),
            found=repaired.finding.description,
            outcome=repaired.outcome,
        )
        return repaired
