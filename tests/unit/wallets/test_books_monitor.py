"""The slow check of all books behind the metrics: what it adds up, how it paces itself, and what a failure leaves."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from services.kit.background import end
from services.kit.data.errors import ConnectionFailed, SchemaBehind
from services.kit.data.transactions.memory import MemoryTransactions
from services.wallets.background import books_monitor as module
from services.wallets.background.books_monitor import BooksMonitor
from services.wallets.rules.books import START, ActiveHolds, Findings, Offender, Position, Problem, TrialBalance
from tests.support.until import until

NEXT = Position(uuid4(), 7)
HELD = [ActiveHolds("EUR", 2, 30, 4.0)]


class Pages:
    """Returns two pages, and then fails if it is asked to."""

    def __init__(self) -> None:
        self.asked: list[Position] = []
        self.error: Exception | None = None

    async def page(self, after: Position, _: int) -> Findings:
        if self.error is not None:
            raise self.error
        self.asked.append(after)
        wrong = Offender(uuid4(), Problem.BALANCE, "no")
        trials = {"EUR": TrialBalance(balance_cents=100)}
        last = after == NEXT
        return Findings(
            sequence_gaps=1,
            ledger_imbalance_cents=2,
            pending_imbalance_cents=3,
            trials=trials,
            offenders=[wrong] if last else [],
            position=None if last else NEXT,
        )


class Holds:
    async def active_holds(self) -> list[ActiveHolds]:
        return HELD


async def walked(monkeypatch: pytest.MonkeyPatch, pages: Pages) -> tuple[BooksMonitor, list[float]]:
    """Lets a walk pass; returns what it leaves and how long the pauses were."""
    seconds = iter(range(10_000))
    monkeypatch.setattr(module, "monotonic", lambda: float(next(seconds)))
    monitor = BooksMonitor(MemoryTransactions(), pages, Holds(), timedelta(seconds=300))  # type: ignore[arg-type] # looks like one
    pauses: list[float] = []

    async def sleep(pause: float) -> None:
        pauses.append(pause)

    with monkeypatch.context() as patched:
        patched.setattr("services.wallets.background.books_monitor.asyncio.sleep", sleep)
        await monitor._check()
    return monitor, pauses


async def test_the_pages_of_a_walk_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages()
    monitor, _ = await walked(monkeypatch, pages)
    assert pages.asked == [START, NEXT]
    summary = monitor.last
    assert summary is not None
    assert (summary.sequence_gaps, summary.ledger_imbalance_cents, summary.pending_imbalance_cents) == (2, 4, 6)
    assert (summary.offenders, summary.balance_cents, summary.active_holds) == (1, {"EUR": 200}, HELD)


async def test_after_each_page_it_rests_for_so_long_that_it_takes_a_fiftieth_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, [first, second] = await walked(monkeypatch, Pages())
    assert first == second == pytest.approx(49.0)


@pytest.mark.parametrize("error", [ConnectionFailed(), SchemaBehind(), KeyError("currency")])
async def test_a_walk_that_fails_with_whatever_leaves_no_figures_and_is_followed_by_others(error: Exception) -> None:
    pages = Pages()
    monitor = BooksMonitor(MemoryTransactions(), pages, Holds(), timedelta(0))  # type: ignore[arg-type] # looks like one
    running = asyncio.create_task(monitor.run())
    async with asyncio.timeout(10):
        await until(lambda: monitor.last is not None)
        pages.error = error
        await until(lambda: monitor.last is None)
        pages.error = None
        await until(lambda: monitor.last is not None)
    await end([running])
