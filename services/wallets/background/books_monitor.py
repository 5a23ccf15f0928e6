"""Checks the books of all wallets again and again, slowly, so that Prometheus can tell when money does not add up.

Every replica walks for itself. One that walked for all would have to hold a connection and a lock for minutes, and the
others would serve old figures, or none when it dies; a walk costs so little that it may be done more than once.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Protocol

import structlog

from services.kit.background import Loop
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.transactional import transactional
from services.wallets.usecases.verify_ledger import START, Findings, Position, Verification

log = structlog.get_logger(__name__)

# Small pages: each is one transaction, and between two of them nothing is done for long.
_LINES_PER_PAGE = 10_000
# Of the time of one core, in this process and the database together: they take turns.
_SHARE = 0.02


@dataclass(frozen=True)
class Held:
    """The active holds of a currency."""

    currency: str
    count: int
    cents: int
    oldest_seconds: float


class HeldReader(Protocol):
    """Reads what is reserved."""

    async def held(self) -> list[Held]:
        """Answers a sum for each currency in which there is an active hold."""
        ...


@dataclass
class Report:
    """What a walk found.

    Attributes:
        at: When it ended.
        seconds: How long it took, pauses included.
        balance_cents: The sum of all balances, by currency.
    """

    at: datetime
    seconds: float = 0.0
    sequence_gaps: int = 0
    ledger_imbalance_cents: int = 0
    pending_imbalance_cents: int = 0
    offenders: int = 0
    balance_cents: dict[str, int] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)

    def add(self, page: Findings) -> None:
        """Counts a page in."""
        self.sequence_gaps += page.sequence_gaps
        self.ledger_imbalance_cents += page.ledger_imbalance_cents
        self.pending_imbalance_cents += page.pending_imbalance_cents
        self.offenders += len(page.offenders)
        for currency, trial in page.trials.items():
            self.balance_cents[currency] = self.balance_cents.get(currency, 0) + trial.balance_cents


class Conservation:
    """Walks through the books and keeps what it found last.

    Args:
        transactions: Where they begin.
        verification: The check of a page.
        holds: Reads what is reserved.
        every: The pause between two walks.
    """

    def __init__(
        self, transactions: Transactions[Any], verification: Verification, holds: HeldReader, every: timedelta
    ) -> None:
        self.transactions = transactions
        self._verification = verification
        self._holds = holds
        self._every = every
        self.last: Report | None = None

    async def run(self) -> None:
        """Walk until the task is cancelled."""
        await Loop("check of the books", self._check, every=self._every).run()

    async def _check(self) -> None:
        try:
            self.last = await self._walk()
        except Exception:
            # Old figures would look like new ones.
            self.last = None
            raise
        if self.last.offenders:
            log.error("the books do not add up", offenders=self.last.offenders)

    async def _walk(self) -> Report:
        began = monotonic()
        report = Report(datetime.now(UTC), held=await self._held())
        position: Position | None = START
        while position is not None:
            page_began = monotonic()
            page = await self._verification.page(position, _LINES_PER_PAGE)
            report.add(page)
            position = page.position
            await asyncio.sleep((monotonic() - page_began) * (1 / _SHARE - 1))
        report.at, report.seconds = datetime.now(UTC), monotonic() - began
        return report

    @transactional(read_only=True)
    async def _held(self) -> list[Held]:
        return await self._holds.held()
