"""The slow check of all books behind the metrics: what it adds up, how it paces itself, and what a failure leaves."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest

from services.kit.data.errors import ConnectionFailed
from services.kit.data.transactions_memory import MemoryTransactions
from services.wallets import conservation as module
from services.wallets.conservation import Conservation, Held
from services.wallets.verification import START, Findings, Offender, Position, Problem, Trial

NEXT = Position(uuid4(), 7)
HELD = [Held("EUR", 2, 30, 4.0)]


class Pages:
    """Answers two pages, and then fails if it is told to."""

    def __init__(self) -> None:
        self.asked: list[Position] = []
        self.away = False

    async def page(self, after: Position, _: int) -> Findings:
        if self.away:
            raise ConnectionFailed
        self.asked.append(after)
        wrong = Offender(uuid4(), Problem.BALANCE, "no")
        trials = {"EUR": Trial(balance_cents=100)}
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
    async def held(self) -> list[Held]:
        return HELD


async def walked(monkeypatch: pytest.MonkeyPatch, pages: Pages, walks: int = 1) -> tuple[Conservation, list[float]]:
    """Lets some walks pass; answers what they leave and how long the pauses were."""
    seconds = iter(range(10_000))
    monkeypatch.setattr(module, "monotonic", lambda: float(next(seconds)))
    conservation = Conservation(MemoryTransactions(), pages, Holds(), timedelta(seconds=300))  # type: ignore[arg-type] # looks like one
    pauses: list[float] = []
    left = walks

    async def sleep(pause: float) -> None:
        nonlocal left
        pauses.append(pause)
        # The pause between two walks is the long one.
        left -= pause > 100 or pages.away
        if left <= 0:
            raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", sleep)
        with pytest.raises(asyncio.CancelledError):
            await conservation.run()
    return conservation, pauses


async def test_the_pages_of_a_walk_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages()
    conservation, _ = await walked(monkeypatch, pages)
    assert pages.asked == [START, NEXT]
    report = conservation.last
    assert report is not None
    assert (report.sequence_gaps, report.ledger_imbalance_cents, report.pending_imbalance_cents) == (2, 4, 6)
    assert (report.offenders, report.balance_cents, report.held) == (1, {"EUR": 200}, HELD)


async def test_after_each_page_it_rests_for_so_long_that_it_takes_a_fiftieth_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, [first, second, between] = await walked(monkeypatch, Pages())
    assert first == second == pytest.approx(49.0)
    assert 250 <= between <= 330


async def test_a_walk_that_fails_leaves_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages()
    pages.away = True
    conservation, _ = await walked(monkeypatch, pages)
    assert conservation.last is None
