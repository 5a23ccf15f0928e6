"""The rules of the ledger: one pure function, which the SQL and the in-memory ledger both apply.

    decisions = decide(rows, requests, now)

The caller locks the wallets before it reads the other rows, and writes the result of `changes`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from services.kit.errors import DataCorrupt, DomainError, IdempotencyKeyReused, InvalidField
from services.wallets.rules.entities import (
    BALANCE_CENTS_MAX,
    CounterAccount,
    Hold,
    HoldState,
    Owner,
    Transaction,
    TransactionKind,
    Wallet,
)
from services.wallets.rules.errors import (
    AlreadyCharged,
    BalanceOverflow,
    HoldActive,
    HoldMismatch,
    HoldNotActive,
    InsufficientFunds,
    RefundExceedsCharge,
    TransactionNotFound,
    WalletNotFound,
)
from services.wallets.rules.requests import (
    Credit,
    Deduct,
    JobCharge,
    LedgerRequest,
    PlaceHold,
    Refund,
    ReleaseHold,
    Request,
    WriteOff,
)

E = TypeVar("E", Hold, Transaction)

#: A wallet's ID and an idempotency key.
Key = tuple[UUID, str]


@dataclass(frozen=True)
class Accepted:
    """A movement of money that took effect, now or earlier.

    Attributes:
        transaction: The transaction that the request wrote.
        wallet: The wallet right after the request.
        replayed: Whether an earlier request with the same key wrote the transaction.
        ended: The hold that the request captured or freed now, or found unknown: it can't be placed any more.
    """

    transaction: Transaction
    wallet: Wallet
    replayed: bool = False
    ended: Hold | None = None

    @property
    def lines(self) -> tuple[Transaction, ...]:
        """The transactions that the request wrote, in order."""
        return (self.transaction,)


@dataclass(frozen=True)
class WrittenOff(Accepted):
    """A charge at our expense that took effect, now or earlier.

    Attributes:
        adjustment: The transaction right before the charge.
    """

    adjustment: Transaction = field(kw_only=True)

    @property
    def lines(self) -> tuple[Transaction, ...]:
        """The adjustment and the charge."""
        return (self.adjustment, self.transaction)


@dataclass(frozen=True)
class Held:
    """A hold that was placed or released, now or earlier.

    Attributes:
        hold: The hold right after the request.
        wallet: The wallet right after the request; None if the hold was released before it was placed.
        replayed: Whether an earlier request did it.
    """

    hold: Hold
    wallet: Wallet | None
    replayed: bool = False


#: The outcome of a request: it took effect, or it changed nothing for this reason.
Decision = Accepted | Held | DomainError


@dataclass(frozen=True)
class Refundable:
    """A transaction that a request may refund, and the amount that was refunded before, or written off."""

    transaction: Transaction
    refunded_cents: int = 0


@dataclass(frozen=True)
class LedgerRows:
    """The stored rows that some requests need.

    Attributes:
        wallets: The existing wallets that the requests name, by owner, hold or charge.
        written: The transactions under the wallets' IDs and the requests' keys.
        holds: The existing holds that the requests name.
        refundables: The transactions that refunds name, by ID or by job.
        corrupt: The unreadable ones among them, by ID. The charges of a job include only readable ones.
        charged: The transactions that charged jobs, of any wallet, by job; empty unless the caller looked them up.
    """

    wallets: Iterable[Wallet]
    written: Mapping[Key, Transaction | DataCorrupt] = field(default_factory=dict)
    holds: Mapping[UUID, Hold | DataCorrupt] = field(default_factory=dict)
    refundables: Iterable[Refundable] = ()
    corrupt: Mapping[UUID, DataCorrupt] = field(default_factory=dict)
    charged: Mapping[UUID, UUID] = field(default_factory=dict)


@dataclass(frozen=True)
class Changes:
    """The writes that decisions need: new transactions in order, the last state of each changed wallet and hold."""

    transactions: list[Transaction]
    wallets: list[Wallet]
    holds: list[Hold]


def decide(rows: LedgerRows, requests: Sequence[Request], now: datetime) -> list[Decision]:
    """Apply requests one after the other, and accept or refuse each alone.

    Args:
        rows: The stored rows that the requests need.
        requests: In order.
        now: The time of new transactions and holds.

    Returns:
        A decision for each request, in the same order.
    """
    state = _State(rows, now)
    decisions: list[Decision] = []
    for request in requests:
        try:
            decisions.append(_RULES[type(request)](state, request))
        except DomainError as error:
            decisions.append(error)
    return decisions


def changes(decisions: Iterable[Decision]) -> Changes:
    """Return the writes that make the decisions last."""
    accepted = [one for one in decisions if not isinstance(one, DomainError)]
    new = [one for one in accepted if not one.replayed or (isinstance(one, Accepted) and one.ended is not None)]
    moves = [one for one in new if isinstance(one, Accepted) and not one.replayed]
    transactions = [line for one in moves for line in one.lines]
    wallets = {one.wallet.id: one.wallet for one in new if one.wallet is not None}
    holds = [one.ended if isinstance(one, Accepted) else one.hold for one in new]
    last = {hold.id: hold for hold in holds if hold is not None}
    return Changes(transactions, list(wallets.values()), list(last.values()))


class _State:
    """The rows after the requests so far."""

    def __init__(self, rows: LedgerRows, now: datetime) -> None:
        self.now = now
        self.wallets: dict[Owner, Wallet] = {}
        self._owners: dict[UUID, Owner] = {}
        for wallet in rows.wallets:
            self.wallets[wallet.owner] = wallet
            self._owners[wallet.id] = wallet.owner
        self._written = dict(rows.written)
        self._holds = dict(rows.holds)
        self.refundables = {one.transaction.id: one for one in rows.refundables}
        self.corrupt = rows.corrupt
        self._charged = dict(rows.charged)

    def wallet(self, wallet_id: UUID) -> Wallet:
        return self.wallets[self._owners[wallet_id]]

    def owned(self, owner: Owner) -> Wallet:
        wallet = self.wallets.get(owner)
        if wallet is None:
            raise WalletNotFound(customer_id=owner.customer_id, currency=owner.currency)
        return wallet

    def written(self, wallet: Wallet, key: str) -> Transaction | None:
        return _understood(self._written.get((wallet.id, key)))

    def hold(self, hold_id: UUID | None) -> Hold | None:
        return None if hold_id is None else _understood(self._holds.get(hold_id))

    def check_not_charged(self, request: LedgerRequest) -> None:
        if request.kind is not TransactionKind.DEDUCTION or request.job_id is None:
            return
        if (transaction_id := self._charged.get(request.job_id)) is not None:
            raise AlreadyCharged(request.job_id, transaction_id)

    def write(self, transaction: Transaction, changed: Wallet, ended: Hold | None = None) -> Accepted:
        self.wallets[changed.owner] = changed
        self._written[changed.id, transaction.idempotency_key] = transaction
        if ended is not None:
            self._holds[ended.id] = ended
        if transaction.kind is TransactionKind.DEDUCTION:
            self.refundables[transaction.id] = Refundable(transaction)
            if transaction.job_id is not None:
                self._charged[transaction.job_id] = transaction.id
        return Accepted(transaction, changed, ended=ended)

    def put(self, hold: Hold, changed: Wallet | None) -> Held:
        self._holds[hold.id] = hold
        if changed is not None:
            self.wallets[changed.owner] = changed
        return Held(hold, changed)


def _understood(row: E | DataCorrupt | None) -> E | None:
    """Return a stored row. An unreadable one is an error of the request that needs it, and of no other."""
    if isinstance(row, DataCorrupt):
        raise row
    return row


def _move(state: _State, request: LedgerRequest) -> Accepted:
    wallet = state.owned(request.owner)
    # Before any other check: a repeated request returns the result of the first, regardless of the present balance.
    if (first := state.written(wallet, request.idempotency_key)) is not None:
        return _again(state, request, wallet, first)
    named = state.hold(request.hold_id)
    hold = _capturable(named, wallet, request)
    held_cents = 0 if hold is None else hold.amount_cents
    _check_balance(wallet, request.change_cents, held_cents)
    # Last, because the database reports it last: the charges of other wallets are not looked up before.
    state.check_not_charged(request)
    if hold is None:
        changed = wallet.changed_by(request.change_cents, state.now)
        # Placed later, the hold would reserve money for a charge that has been made.
        spent = _never_placed(request.hold_id, state.now) if request.hold_id is not None and named is None else None
        return state.write(_transaction(request, changed), changed, spent)
    changed = wallet.capturing(held_cents, request.change_cents, state.now)
    return state.write(_transaction(request, changed), changed, hold.resolved(HoldState.CAPTURED, state.now))


def _again(state: _State, request: LedgerRequest, wallet: Wallet, first: Transaction) -> Accepted:
    differences = request.differences(first)
    # Another caller charged the job without naming its hold. It is the same charge: paid money must not stay reserved.
    unnamed = differences == ("hold_id",) and first.hold_id is None
    hold = state.hold(request.hold_id) if unnamed or not differences else None
    is_own = hold is not None and (hold.wallet_id, hold.job_id) == (wallet.id, request.job_id)
    if differences and not is_own:
        raise IdempotencyKeyReused(differences)
    # Active in spite of a charge that names it: it was placed when its ID was unknown again.
    if hold is None or not is_own or hold.state is not HoldState.ACTIVE:
        return Accepted(first, wallet, replayed=True)
    freed = hold.resolved(HoldState.RELEASED, state.now)
    changed = wallet.reserving(-hold.amount_cents, state.now)
    state.put(freed, changed)
    return Accepted(first, changed, replayed=True, ended=freed)


def _capturable(hold: Hold | None, wallet: Wallet, request: LedgerRequest) -> Hold | None:
    # Without an active hold, available funds decide: the work is done, and the wallet may have the money.
    if hold is None or hold.wallet_id is None:
        return None
    same = {
        "customer_id": hold.customer_id == wallet.customer_id,
        "currency": hold.currency == wallet.currency,
        "job_id": hold.job_id == request.job_id,
    }
    if differences := tuple(name for name, is_same in same.items() if not is_same):
        raise HoldMismatch(hold.id, differences)
    return hold if hold.state is HoldState.ACTIVE else None


def _write_off(state: _State, request: WriteOff) -> WrittenOff:
    wallet = state.owned(request.owner)
    adjusting, charging = request.adjustment, request.charge
    adjustment = state.written(wallet, adjusting.idempotency_key)
    deduction = state.written(wallet, charging.idempotency_key)
    if adjustment is not None and deduction is not None:
        if differences := charging.differences(deduction):
            raise IdempotencyKeyReused(differences)
        return WrittenOff(deduction, wallet, replayed=True, adjustment=adjustment)
    if deduction is not None:
        raise AlreadyCharged(request.job_id, deduction.id)
    hold = _capturable(state.hold(request.hold_id), wallet, charging)
    if hold is not None:
        raise HoldActive(hold.id, hold.amount_cents)
    state.check_not_charged(charging)
    # The wallet's funds do not matter. The caller decides to waive a charge, and a credit a moment before or after must
    # not change that; the money in the wallet stays the customer's.
    adjusted = _move(state, adjusting)
    # No longer refusable: the key is new, no hold interferes, and the adjustment has just added the amount.
    charged = _move(state, charging)
    # The customer has not paid, so nothing can be refunded.
    state.refundables[charged.transaction.id] = Refundable(charged.transaction, request.amount_cents)
    return WrittenOff(charged.transaction, charged.wallet, ended=charged.ended, adjustment=adjusted.transaction)


def _refund(state: _State, request: Refund) -> Accepted:
    refundable = _refundable(state, request)
    charge = refundable.transaction
    wallet = state.wallet(charge.wallet_id)
    if (first := state.written(wallet, request.idempotency_key)) is not None:
        if differences := request.differences(first, charge):
            raise IdempotencyKeyReused(differences)
        return Accepted(first, wallet, replayed=True)
    left_cents = -charge.amount_cents - refundable.refunded_cents
    amount_cents = request.amount_cents or left_cents
    if not 0 < amount_cents <= left_cents:
        raise RefundExceedsCharge(charge.id, left_cents, request.amount_cents, wallet.currency)
    _check_balance(wallet, amount_cents)
    changed = wallet.changed_by(amount_cents, state.now)
    accepted = state.write(_refunding(request, charge, amount_cents, changed), changed)
    state.refundables[charge.id] = Refundable(charge, refundable.refunded_cents + amount_cents)
    return accepted


def _refundable(state: _State, request: Refund) -> Refundable:
    if isinstance(request.charge, JobCharge):
        return _charge_of_job(state, request.charge.job_id)
    found = state.refundables.get(request.charge)
    if found is None:
        raise state.corrupt.get(request.charge) or TransactionNotFound(transaction_id=request.charge)
    if found.transaction.kind is not TransactionKind.DEDUCTION:
        raise InvalidField.of("transaction_id", f"is a {found.transaction.kind}; only deductions can be refunded")
    return found


def _charge_of_job(state: _State, job_id: UUID) -> Refundable:
    charges = (one for one in state.refundables.values() if one.transaction.kind is TransactionKind.DEDUCTION)
    found = [one for one in charges if one.transaction.job_id == job_id]
    if not found:
        raise TransactionNotFound(job_id=job_id)
    if len(found) > 1:
        raise InvalidField.of("job_id", f"was charged to {len(found)} wallets; name the transaction instead")
    return found[0]


def _place(state: _State, request: PlaceHold) -> Held:
    if (known := state.hold(request.hold_id)) is not None:
        return _placed_before(state, request, known)
    wallet = state.owned(request.owner)
    _check_balance(wallet, -request.amount_cents)
    hold = Hold(
        id=request.hold_id,
        wallet_id=wallet.id,
        customer_id=wallet.customer_id,
        currency=wallet.currency,
        job_id=request.job_id,
        amount_cents=request.amount_cents,
        state=HoldState.ACTIVE,
        created_at=state.now,
    )
    return state.put(hold, wallet.reserving(request.amount_cents, state.now))


def _placed_before(state: _State, request: PlaceHold, known: Hold) -> Held:
    if known.wallet_id is not None and (differences := request.differences(known)):
        raise IdempotencyKeyReused(differences)
    # A caller that receives a hold relies on the money, and an ended hold reserves none.
    if known.state is not HoldState.ACTIVE:
        raise HoldNotActive(known.id, known.state)
    return Held(known, state.owned(request.owner), replayed=True)


def _release(state: _State, request: ReleaseHold) -> Held:
    known = state.hold(request.hold_id)
    if known is None:
        return state.put(_never_placed(request.hold_id, state.now), None)
    wallet = None if known.wallet_id is None else state.wallet(known.wallet_id)
    if known.state is HoldState.CAPTURED:
        raise HoldNotActive(known.id, known.state)
    if known.state is HoldState.RELEASED or wallet is None:
        return Held(known, wallet, replayed=True)
    return state.put(known.resolved(HoldState.RELEASED, state.now), wallet.reserving(-known.amount_cents, state.now))


def _never_placed(hold_id: UUID, now: datetime) -> Hold:
    return Hold(
        id=hold_id,
        wallet_id=None,
        customer_id=None,
        currency=None,
        job_id=None,
        amount_cents=0,
        state=HoldState.RELEASED,
        created_at=now,
        resolved_at=now,
    )


def _check_balance(wallet: Wallet, change_cents: int, held_cents: int = 0) -> None:
    available_cents = wallet.available_cents + held_cents
    if change_cents < 0 and -change_cents > available_cents:
        raise InsufficientFunds(available_cents, -change_cents, wallet.currency, wallet.id)
    if wallet.current_balance_cents + change_cents > BALANCE_CENTS_MAX:
        raise BalanceOverflow(wallet.current_balance_cents, change_cents, BALANCE_CENTS_MAX, wallet.id)


def _transaction(request: LedgerRequest, changed: Wallet) -> Transaction:
    return Transaction(
        id=request.transaction_id,
        wallet_id=changed.id,
        sequence=changed.last_sequence,
        kind=request.kind,
        counter_account=request.counter_account,
        amount_cents=request.change_cents,
        balance_after_cents=changed.current_balance_cents,
        idempotency_key=request.idempotency_key,
        job_id=request.job_id,
        hold_id=request.hold_id,
        description=request.description,
        created_at=changed.updated_at,
        vouched_by=request.vouched_by,
    )


def _refunding(request: Refund, charge: Transaction, amount_cents: int, changed: Wallet) -> Transaction:
    return Transaction(
        id=request.transaction_id,
        wallet_id=changed.id,
        sequence=changed.last_sequence,
        kind=TransactionKind.REFUND,
        counter_account=CounterAccount.REVENUE,
        amount_cents=amount_cents,
        balance_after_cents=changed.current_balance_cents,
        idempotency_key=request.idempotency_key,
        job_id=charge.job_id,
        refunds_transaction_id=charge.id,
        description=request.description,
        created_at=changed.updated_at,
        requested_amount_cents=None if request.amount_cents else 0,
    )


_RULES: Mapping[type[Any], Callable[[_State, Any], Accepted | Held]] = {
    Credit: _move,
    Deduct: _move,
    WriteOff: _write_off,
    Refund: _refund,
    PlaceHold: _place,
    ReleaseHold: _release,
}
