"""The rules of the ledger: one pure function, which the SQL and the in-memory repositories both apply.

    decisions = decide(books, requests, now)

Whoever calls it has locked the wallets before it read the rest, and writes what `changes` finds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
        transaction: What it wrote.
        adjustment: What it wrote right before that, if it was a write-off.
        wallet: The wallet right after the request.
        replayed: Whether an earlier request with the same key wrote the transaction.
        ended: The hold that it captured or freed, if it did so now.
    """

    transaction: Transaction
    wallet: Wallet
    replayed: bool = False
    ended: Hold | None = None
    adjustment: Transaction | None = None


@dataclass(frozen=True)
class Held:
    """A hold that was placed or released, now or earlier.

    Attributes:
        hold: The hold right after the request.
        wallet: The wallet right after the request; None if the hold was released before anybody placed it.
        replayed: Whether an earlier request did it.
    """

    hold: Hold
    wallet: Wallet | None
    replayed: bool = False


#: What became of a request: it took effect, or it changed nothing for this reason.
Decision = Accepted | Held | DomainError


@dataclass(frozen=True)
class Charge:
    """A transaction that somebody wants back, and what was given back of it before, or written off."""

    transaction: Transaction
    refunded_cents: int = 0


@dataclass(frozen=True)
class Books:
    """What is stored and matters to some requests.

    Attributes:
        wallets: Those the requests name, by owner, hold or charge, as far as they exist.
        written: The transactions under the wallets' IDs and the requests' keys.
        holds: Those the requests name, as far as they exist.
        charges: The transactions that refunds name, by ID or by job.
        corrupt: Those of them that are not understood, by ID. Of a job only those are looked for that are understood.
        charged: By which transactions jobs were charged, whichever wallets they are of, as far as that was looked for.
    """

    wallets: Iterable[Wallet]
    written: Mapping[Key, Transaction | DataCorrupt] = field(default_factory=dict)
    holds: Mapping[UUID, Hold | DataCorrupt] = field(default_factory=dict)
    charges: Iterable[Charge] = ()
    corrupt: Mapping[UUID, DataCorrupt] = field(default_factory=dict)
    charged: Mapping[UUID, UUID] = field(default_factory=dict)


@dataclass(frozen=True)
class Changes:
    """What decisions have to be written: new transactions in order, the last state of each changed wallet and hold."""

    transactions: list[Transaction]
    wallets: list[Wallet]
    holds: list[Hold]


def decide(books: Books, requests: Sequence[Request], now: datetime) -> list[Decision]:
    """Applies requests one after the other; each alone is accepted or refused.

    Args:
        books: What is stored.
        requests: In order.
        now: What is new is stamped with it.

    Returns:
        A decision a request, in the same order.
    """
    desk = _Desk(books, now)
    decisions: list[Decision] = []
    for request in requests:
        try:
            decisions.append(_RULES[type(request)](desk, request))
        except DomainError as error:
            decisions.append(error)
    return decisions


def changes(decisions: Iterable[Decision]) -> Changes:
    """What has to be written so that the decisions last."""
    accepted = [one for one in decisions if not isinstance(one, DomainError)]
    new = [one for one in accepted if not one.replayed or (isinstance(one, Accepted) and one.ended is not None)]
    moves = [one for one in new if isinstance(one, Accepted) and not one.replayed]
    transactions = [line for one in moves for line in (one.adjustment, one.transaction) if line is not None]
    wallets = {one.wallet.id: one.wallet for one in new if one.wallet is not None}
    holds = [one.ended if isinstance(one, Accepted) else one.hold for one in new]
    last = {hold.id: hold for hold in holds if hold is not None}
    return Changes(transactions, list(wallets.values()), list(last.values()))


class _Desk:
    """The books as they are after the requests so far."""

    def __init__(self, books: Books, now: datetime) -> None:
        self.now = now
        self.wallets: dict[Owner, Wallet] = {}
        self._owners: dict[UUID, Owner] = {}
        for wallet in books.wallets:
            self.wallets[wallet.owner] = wallet
            self._owners[wallet.id] = wallet.owner
        self._written = dict(books.written)
        self._holds = dict(books.holds)
        self.charges = {one.transaction.id: one for one in books.charges}
        self.corrupt = books.corrupt
        self._charged = dict(books.charged)

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

    def write(self, transaction: Transaction, changed: Wallet, captured: Hold | None = None) -> Accepted:
        self.wallets[changed.owner] = changed
        self._written[changed.id, transaction.idempotency_key] = transaction
        if captured is not None:
            self._holds[captured.id] = captured
        if transaction.kind is TransactionKind.DEDUCTION:
            self.charges[transaction.id] = Charge(transaction)
            if transaction.job_id is not None:
                self._charged[transaction.job_id] = transaction.id
        return Accepted(transaction, changed, ended=captured)

    def put(self, hold: Hold, changed: Wallet | None) -> Held:
        self._holds[hold.id] = hold
        if changed is not None:
            self.wallets[changed.owner] = changed
        return Held(hold, changed)


def _understood(row: E | DataCorrupt | None) -> E | None:
    """What is stored. A request that needs what is not understood is refused, and no other."""
    if isinstance(row, DataCorrupt):
        raise row
    return row


def _move(desk: _Desk, request: LedgerRequest) -> Accepted:
    wallet = desk.owned(request.owner)
    # Before any other check: a repeated request is answered as the first was, whatever the balance is by now.
    if (first := desk.written(wallet, request.idempotency_key)) is not None:
        return _again(desk, request, wallet, first)
    hold = _capturable(desk.hold(request.hold_id), wallet, request)
    held_cents = 0 if hold is None else hold.amount_cents
    _check_balance(wallet, request.change_cents, held_cents)
    # Last, as the database says it last: nobody looks for other wallets' charges before.
    desk.check_not_charged(request)
    if hold is None:
        changed = wallet.changed_by(request.change_cents, desk.now)
        return desk.write(_transaction(request, changed), changed)
    changed = wallet.capturing(held_cents, request.change_cents, desk.now)
    return desk.write(_transaction(request, changed), changed, hold.resolved(HoldState.CAPTURED, desk.now))


def _again(desk: _Desk, request: LedgerRequest, wallet: Wallet, first: Transaction) -> Accepted:
    differences = request.differences(first)
    if not differences:
        return Accepted(first, wallet, replayed=True)
    hold = desk.hold(request.hold_id) if differences == ("hold_id",) and first.hold_id is None else None
    if hold is None or (hold.wallet_id, hold.job_id) != (wallet.id, request.job_id):
        raise IdempotencyKeyReused(differences)
    # Somebody charged the job without naming its hold. It is the same charge, and what is paid must not stay reserved.
    if hold.state is not HoldState.ACTIVE:
        return Accepted(first, wallet, replayed=True)
    freed = hold.resolved(HoldState.RELEASED, desk.now)
    changed = wallet.reserving(-hold.amount_cents, desk.now)
    desk.put(freed, changed)
    return Accepted(first, changed, replayed=True, ended=freed)


def _capturable(hold: Hold | None, wallet: Wallet, request: LedgerRequest) -> Hold | None:
    # Without an active hold a charge is decided on available funds: the work is done, and the money may be there.
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


def _write_off(desk: _Desk, request: WriteOff) -> Accepted:
    wallet = desk.owned(request.owner)
    adjusting, charging = request.adjustment, request.charge
    adjustment = desk.written(wallet, adjusting.idempotency_key)
    deduction = desk.written(wallet, charging.idempotency_key)
    if adjustment is not None and deduction is not None:
        if differences := charging.differences(deduction):
            raise IdempotencyKeyReused(differences)
        return Accepted(deduction, wallet, replayed=True, adjustment=adjustment)
    if deduction is not None:
        raise AlreadyCharged(request.job_id, deduction.id)
    hold = _capturable(desk.hold(request.hold_id), wallet, charging)
    if hold is not None:
        raise HoldActive(hold.id, hold.amount_cents)
    desk.check_not_charged(charging)
    # Whether the wallet could pay is not asked. That a charge is waived is decided by whoever calls, and must not
    # depend on a credit that comes a moment earlier or later; the money that is there stays the customer's.
    adjusted = _move(desk, adjusting)
    # This can't be refused any more: the key is new, no hold is in the way, and what it takes has just been added.
    charged = _move(desk, charging)
    # The customer has not paid it, so there is nothing to give back.
    desk.charges[charged.transaction.id] = Charge(charged.transaction, request.amount_cents)
    return replace(charged, adjustment=adjusted.transaction)


def _refund(desk: _Desk, request: Refund) -> Accepted:
    charge = _charge(desk, request)
    wallet = desk.wallet(charge.transaction.wallet_id)
    if (first := desk.written(wallet, request.idempotency_key)) is not None:
        if differences := request.differences(first, charge.transaction):
            raise IdempotencyKeyReused(differences)
        return Accepted(first, wallet, replayed=True)
    left_cents = -charge.transaction.amount_cents - charge.refunded_cents
    amount_cents = request.amount_cents or left_cents
    if not 0 < amount_cents <= left_cents:
        raise RefundExceedsCharge(charge.transaction.id, left_cents, request.amount_cents)
    _check_balance(wallet, amount_cents)
    changed = wallet.changed_by(amount_cents, desk.now)
    accepted = desk.write(_refunding(request, charge.transaction, amount_cents, changed), changed)
    desk.charges[charge.transaction.id] = Charge(charge.transaction, charge.refunded_cents + amount_cents)
    return accepted


def _charge(desk: _Desk, request: Refund) -> Charge:
    if request.refunded_id is not None:
        found = desk.charges.get(request.refunded_id)
        if found is not None and found.transaction.kind is not TransactionKind.DEDUCTION:
            raise InvalidField.of("transaction_id", f"is a {found.transaction.kind}; only deductions can be refunded")
    else:
        of_job = [one for one in desk.charges.values() if _charges_job(one, request.refunded_job_id)]
        if len(of_job) > 1:
            raise InvalidField.of("job_id", f"was charged to {len(of_job)} wallets; name the transaction instead")
        found = next(iter(of_job), None)
    if found is None:
        if request.refunded_id is not None and request.refunded_id in desk.corrupt:
            raise desk.corrupt[request.refunded_id]
        raise TransactionNotFound(request.refunded_id, request.refunded_job_id)
    return found


def _charges_job(charge: Charge, job_id: UUID | None) -> bool:
    return charge.transaction.kind is TransactionKind.DEDUCTION and charge.transaction.job_id == job_id


def _place(desk: _Desk, request: PlaceHold) -> Held:
    if (known := desk.hold(request.hold_id)) is not None:
        return _placed_before(desk, request, known)
    wallet = desk.owned(request.owner)
    _check_balance(wallet, -request.amount_cents)
    hold = Hold(
        id=request.hold_id,
        wallet_id=wallet.id,
        customer_id=wallet.customer_id,
        currency=wallet.currency,
        job_id=request.job_id,
        amount_cents=request.amount_cents,
        state=HoldState.ACTIVE,
        created_at=desk.now,
    )
    return desk.put(hold, wallet.reserving(request.amount_cents, desk.now))


def _placed_before(desk: _Desk, request: PlaceHold, known: Hold) -> Held:
    if known.wallet_id is not None and (differences := request.differences(known)):
        raise IdempotencyKeyReused(differences)
    # Whoever gets a hold for an answer counts on the money. Of one that ended there is none.
    if known.state is not HoldState.ACTIVE:
        raise HoldNotActive(known.id, known.state)
    return Held(known, desk.owned(request.owner), replayed=True)


def _release(desk: _Desk, request: ReleaseHold) -> Held:
    known = desk.hold(request.hold_id)
    if known is None:
        return desk.put(_never_placed(request.hold_id, desk.now), None)
    wallet = None if known.wallet_id is None else desk.wallet(known.wallet_id)
    if known.state is HoldState.CAPTURED:
        raise HoldNotActive(known.id, known.state)
    if known.state is HoldState.RELEASED or wallet is None:
        return Held(known, wallet, replayed=True)
    return desk.put(known.resolved(HoldState.RELEASED, desk.now), wallet.reserving(-known.amount_cents, desk.now))


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


_RULES: Mapping[type[Any], Callable[[_Desk, Any], Accepted | Held]] = {
    Credit: _move,
    Deduct: _move,
    WriteOff: _write_off,
    Refund: _refund,
    PlaceHold: _place,
    ReleaseHold: _release,
}
