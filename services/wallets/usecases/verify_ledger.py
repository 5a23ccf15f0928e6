"""Whether the books add up, checked page by page while others write.

A page reads the state of some wallets in one statement, which sees one moment, and then their transactions up to the
ones that those states know. Transactions never change once they are written, so it does not matter that they are read
later, or over many pages: each page takes the chain up where the page before left it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from services.kit.currencies import money
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.transactional import transactional
from services.wallets.rules.entities import BALANCE_CENTS_MAX

WALLETS_PER_PAGE = 1000


class Problem(StrEnum):
    """What is wrong with a wallet's books."""

    SEQUENCE_GAP = "SEQUENCE_GAP"
    BROKEN_CHAIN = "BROKEN_CHAIN"
    BALANCE = "BALANCE"
    PENDING = "PENDING"


@dataclass(frozen=True)
class Position:
    """How far a check is: up to a transaction of a wallet, or through with the wallet."""

    wallet_id: UUID
    sequence: int

    FINISHED = BALANCE_CENTS_MAX

    @property
    def finished(self) -> bool:
        """Whether nothing is left of the wallet."""
        return self.sequence == Position.FINISHED


START = Position(UUID(int=0), 0)


@dataclass(frozen=True, kw_only=True)
class WalletState:
    """A wallet at one moment, with what belongs to it.

    Attributes:
        held_cents: The sum of its active holds.
        active_holds: How many there are.
        top_sequence: The sequence of its last transaction; 0 if there is none.
        top_balance_cents: The balance after that.
    """

    wallet_id: UUID
    currency: str
    current_balance_cents: int
    pending_charges_cents: int
    last_sequence: int
    held_cents: int
    active_holds: int
    top_sequence: int
    top_balance_cents: int


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What some transactions of a wallet, one after the other, come to.

    Attributes:
        last_sequence: Of the last one.
        rows: How many were read, with the one that the page before ended on.
        transactions: How many of them are new.
        gaps: How often the sequence does not go on by one, and the first number after such a gap.
        breaks: How often a balance does not follow from the one before, and the first number where.
        broken_cents: By how much in all, without signs.
    """

    wallet_id: UUID
    last_sequence: int
    rows: int
    transactions: int
    gaps: int
    first_gap: int | None
    breaks: int
    first_break: int | None
    broken_cents: int
    funding_cents: int
    revenue_cents: int
    adjustment_cents: int


@dataclass(frozen=True)
class Offender:
    """A wallet whose books do not add up."""

    wallet_id: UUID
    problem: Problem
    description: str


@dataclass
class Trial:
    """The sums of a currency."""

    balance_cents: int = 0
    pending_cents: int = 0
    funding_cents: int = 0
    revenue_cents: int = 0
    adjustment_cents: int = 0


@dataclass
class Findings:
    """What a page found. Figures of pages add up.

    Attributes:
        position: Where the next page goes on; None after the last.
    """

    wallets: int = 0
    transactions: int = 0
    active_holds: int = 0
    sequence_gaps: int = 0
    ledger_imbalance_cents: int = 0
    pending_imbalance_cents: int = 0
    trials: dict[str, Trial] = field(default_factory=dict)
    offenders: list[Offender] = field(default_factory=list)
    position: Position | None = None

    def blame(self, wallet_id: UUID, problem: Problem, description: str) -> None:
        """Takes an offender down."""
        self.offenders.append(Offender(wallet_id, problem, description))


class BooksReader(Protocol):
    """Reads what is to be checked."""

    async def states(self, after: Position, limit: int) -> list[WalletState]:
        """Answers wallets from a position on in the order of their IDs, all as they were at one moment."""
        ...

    async def lines(self, after: Position, states: Sequence[WalletState], limit: int) -> list[Lines]:
        """Answers what the transactions of these wallets come to, in the order of the wallets.

        Args:
            after: Where to begin; that transaction itself is read as well, for the balance after it.
            states: The wallets. Transactions that are newer than they are left out.
            limit: How many transactions to read at most.
        """
        ...


class Verification:
    """The check of the wallets' books. Each page is one transaction.

    Args:
        transactions: Where they begin.
        books: What is read.
    """

    def __init__(self, transactions: Transactions[Any], books: BooksReader) -> None:
        self.transactions = transactions
        self._books = books

    @transactional(read_only=True)
    async def page(self, after: Position, limit: int) -> Findings:
        """Checks a page.

        Args:
            after: Where the page before ended; `START` for the first.
            limit: How many transactions to look at, at most.
        """
        states = await self._books.states(after, WALLETS_PER_PAGE)
        # One more, for the transaction that the page before ended on.
        lines = await self._books.lines(after, states, limit + 1) if states else []
        cut = sum(one.rows for one in lines) > limit
        return examine(states, lines, cut=cut)


def examine(states: Sequence[WalletState], lines: Iterable[Lines], *, cut: bool) -> Findings:
    """Finds what does not add up.

    Args:
        states: The wallets of the page.
        lines: Their transactions, as far as they were read.
        cut: Whether there may be more of them.
    """
    found = Findings()
    of_wallet = {one.wallet_id: one for one in lines}
    position = _end(states, of_wallet, cut=cut)
    for state in states:
        trial = found.trials.setdefault(state.currency, Trial())
        if (read := of_wallet.get(state.wallet_id)) is not None:
            _examine_lines(found, trial, read, state.currency)
        if position is None or (state.wallet_id, Position.FINISHED) <= (position.wallet_id, position.sequence):
            _examine_state(found, trial, state)
    # Wallets that the page did not get to leave an empty sum behind.
    found.trials = {currency: trial for currency, trial in found.trials.items() if trial != Trial()}
    found.position = position
    return found


def _end(states: Sequence[WalletState], lines: dict[UUID, Lines], *, cut: bool) -> Position | None:
    if cut:
        last = max(lines.values(), key=lambda one: one.wallet_id)
        known = next(state.last_sequence for state in states if state.wallet_id == last.wallet_id)
        through = last.last_sequence >= known
        return Position(last.wallet_id, Position.FINISHED if through else last.last_sequence)
    if len(states) == WALLETS_PER_PAGE:
        return Position(states[-1].wallet_id, Position.FINISHED)
    return None


def _examine_lines(found: Findings, trial: Trial, read: Lines, currency: str) -> None:
    found.transactions += read.transactions
    trial.funding_cents += read.funding_cents
    trial.revenue_cents += read.revenue_cents
    trial.adjustment_cents += read.adjustment_cents
    if read.gaps:
        found.sequence_gaps += read.gaps
        description = f"{read.gaps} gaps in the sequence, the first before {read.first_gap}"
        found.blame(read.wallet_id, Problem.SEQUENCE_GAP, description)
    if read.breaks:
        found.ledger_imbalance_cents += read.broken_cents
        description = (
            f"{read.breaks} balances do not follow from the one before, "
            f"by {money(read.broken_cents, currency)} in all, the first at {read.first_break}"
        )
        found.blame(read.wallet_id, Problem.BROKEN_CHAIN, description)


def _examine_state(found: Findings, trial: Trial, state: WalletState) -> None:
    found.wallets += 1
    found.active_holds += state.active_holds
    trial.balance_cents += state.current_balance_cents
    trial.pending_cents += state.held_cents
    if state.top_sequence != state.last_sequence:
        found.sequence_gaps += 1
        description = f"the last transaction is {state.top_sequence} and the wallet's is {state.last_sequence}"
        found.blame(state.wallet_id, Problem.SEQUENCE_GAP, description)
    if difference := abs(state.current_balance_cents - state.top_balance_cents):
        found.ledger_imbalance_cents += difference
        balance, by_lines = (
            money(cents, state.currency) for cents in (state.current_balance_cents, state.top_balance_cents)
        )
        description = f"the balance is {balance}, and {by_lines} by the transactions"
        found.blame(state.wallet_id, Problem.BALANCE, description)
    if difference := abs(state.pending_charges_cents - state.held_cents):
        found.pending_imbalance_cents += difference
        pending, held = (money(cents, state.currency) for cents in (state.pending_charges_cents, state.held_cents))
        description = f"{pending} is pending, and active holds come to {held}"
        found.blame(state.wallet_id, Problem.PENDING, description)
