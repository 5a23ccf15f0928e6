"""The check of the wallets' books, page by page while others write: the rows of a page, and what is wrong with them.

A page reads the state of some wallets in one statement, which sees one moment, and then their transactions up to the
last one of those states. Transactions never change once they are written, so they can be read later, and over many
pages: each page resumes the chain where the previous page left it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from services.kit.currencies import money
from services.wallets.rules.entities import BALANCE_CENTS_MAX

WALLETS_PER_PAGE = 1000


class Problem(StrEnum):
    """The problems that a wallet's books can have."""

    SEQUENCE_GAP = "SEQUENCE_GAP"
    BROKEN_CHAIN = "BROKEN_CHAIN"
    BALANCE = "BALANCE"
    PENDING = "PENDING"


@dataclass(frozen=True)
class Position:
    """The progress of a check: up to a transaction of a wallet, or past the wallet."""

    wallet_id: UUID
    sequence: int

    FINISHED = BALANCE_CENTS_MAX

    @property
    def finished(self) -> bool:
        """Whether the check is past the wallet."""
        return self.sequence == Position.FINISHED


START = Position(UUID(int=0), 0)


@dataclass(frozen=True, kw_only=True)
class WalletState:
    """A wallet at one moment, with its active holds and its last transaction.

    Attributes:
        held_cents: The sum of its active holds.
        active_holds: The number of its active holds.
        top_sequence: The sequence of its last transaction; 0 without transactions.
        top_balance_cents: The balance after its last transaction.
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
class ChainPart:
    """The sums over consecutive transactions of a wallet.

    Attributes:
        last_sequence: The sequence of the last transaction.
        rows: The number of rows read, including the one that ended the previous page.
        transactions: The number of new transactions among them.
        gaps: How often the sequence does not increase by one.
        first_gap: The first sequence after such a gap.
        breaks: How often a balance does not follow from the previous one.
        first_break: The first sequence of such a balance.
        broken_cents: The sum of the differences, without signs.
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
    """A wallet whose books do not balance."""

    wallet_id: UUID
    problem: Problem
    description: str


@dataclass
class TrialBalance:
    """The sums of a currency."""

    balance_cents: int = 0
    pending_cents: int = 0
    funding_cents: int = 0
    revenue_cents: int = 0
    adjustment_cents: int = 0


@dataclass
class Findings:
    """The result of a page. The figures of pages add up.

    Attributes:
        position: Where the next page begins; None after the last.
    """

    wallets: int = 0
    transactions: int = 0
    active_holds: int = 0
    sequence_gaps: int = 0
    ledger_imbalance_cents: int = 0
    pending_imbalance_cents: int = 0
    trials: dict[str, TrialBalance] = field(default_factory=dict)
    offenders: list[Offender] = field(default_factory=list)
    position: Position | None = None

    def blame(self, wallet_id: UUID, problem: Problem, description: str) -> None:
        """Record an offender."""
        self.offenders.append(Offender(wallet_id, problem, description))


@dataclass(frozen=True)
class ActiveHolds:
    """The active holds of a currency."""

    currency: str
    count: int
    cents: int
    oldest_seconds: float


@dataclass
class BooksSummary:
    """The result of a walk through the books of all wallets.

    Attributes:
        at: When the walk ended.
        seconds: The duration of the walk, including its pauses.
        offenders: The number of offenders.
        balance_cents: The sum of all balances, by currency.
    """

    at: datetime
    seconds: float = 0.0
    sequence_gaps: int = 0
    ledger_imbalance_cents: int = 0
    pending_imbalance_cents: int = 0
    offenders: int = 0
    balance_cents: dict[str, int] = field(default_factory=dict)
    active_holds: list[ActiveHolds] = field(default_factory=list)

    def add(self, page: Findings) -> None:
        """Add a page."""
        self.sequence_gaps += page.sequence_gaps
        self.ledger_imbalance_cents += page.ledger_imbalance_cents
        self.pending_imbalance_cents += page.pending_imbalance_cents
        self.offenders += len(page.offenders)
        for currency, trial in page.trials.items():
            self.balance_cents[currency] = self.balance_cents.get(currency, 0) + trial.balance_cents


def examine(states: Sequence[WalletState], chain: Iterable[ChainPart], *, cut: bool) -> Findings:
    """Return the problems and the sums of a page.

    Args:
        states: The wallets of the page.
        chain: Their transactions that were read.
        cut: Whether more transactions may follow.
    """
    found = Findings()
    part_of = {one.wallet_id: one for one in chain}
    position = _end(states, part_of, cut=cut)
    for state in states:
        trial = found.trials.setdefault(state.currency, TrialBalance())
        if (part := part_of.get(state.wallet_id)) is not None:
            _examine_chain(found, trial, part, state.currency)
        if position is None or (state.wallet_id, Position.FINISHED) <= (position.wallet_id, position.sequence):
            _examine_state(found, trial, state)
    # Wallets after the end of the page leave an empty sum behind.
    found.trials = {currency: trial for currency, trial in found.trials.items() if trial != TrialBalance()}
    found.position = position
    return found


def _end(states: Sequence[WalletState], parts: dict[UUID, ChainPart], *, cut: bool) -> Position | None:
    if cut:
        last = max(parts.values(), key=lambda one: one.wallet_id)
        known = next(state.last_sequence for state in states if state.wallet_id == last.wallet_id)
        through = last.last_sequence >= known
        return Position(last.wallet_id, Position.FINISHED if through else last.last_sequence)
    if len(states) == WALLETS_PER_PAGE:
        return Position(states[-1].wallet_id, Position.FINISHED)
    return None


def _examine_chain(found: Findings, trial: TrialBalance, part: ChainPart, currency: str) -> None:
    found.transactions += part.transactions
    trial.funding_cents += part.funding_cents
    trial.revenue_cents += part.revenue_cents
    trial.adjustment_cents += part.adjustment_cents
    if part.gaps:
        found.sequence_gaps += part.gaps
        description = f"{part.gaps} gaps in the sequence, the first before {part.first_gap}"
        found.blame(part.wallet_id, Problem.SEQUENCE_GAP, description)
    if part.breaks:
        found.ledger_imbalance_cents += part.broken_cents
        description = (
            f"{part.breaks} balances do not follow from the one before, "
            f"by {money(part.broken_cents, currency)} in all, the first at {part.first_break}"
        )
        found.blame(part.wallet_id, Problem.BROKEN_CHAIN, description)


def _examine_state(found: Findings, trial: TrialBalance, state: WalletState) -> None:
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
