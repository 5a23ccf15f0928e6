"""The use cases that move or reserve money."""

from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

from innosystem.shared.crash import crash_point
from services.kit.auth.tenants import Tenants
from services.kit.batching.coalescing import Coalescer
from services.kit.batching.locked_lane import LOCK_TIMES, LockTimes
from services.kit.batching.parts import single_result
from services.kit.data.errors import AlreadyExists
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.transactional import transactional
from services.kit.errors import DomainError
from services.wallets.rules import constraints
from services.wallets.rules.errors import WalletNotFound
from services.wallets.rules.ledger import Accepted, Decision, Held, WrittenOff
from services.wallets.rules.requests import Credit, Deduct, PlaceHold, Refund, ReleaseHold, Request, WriteOff
from services.wallets.usecases.ports import Ledger

D = TypeVar("D", Accepted, WrittenOff, Held)


class Bookings:
    """Changes of balances and holds. Repeats take effect once; concurrent requests share a database transaction.

    Args:
        transactions: The database transactions.
        ledger: Applies requests to balances and holds.
        lock_times: How long a request waits for a wallet that another transaction has locked.
    """

    def __init__(self, transactions: Transactions[Any], ledger: Ledger, lock_times: LockTimes = LOCK_TIMES) -> None:
        self.transactions = transactions
        self._ledger = ledger
        self._apply: Coalescer[Request, Accepted | Held] = Coalescer(
            "bookings", self._apply_waiting, unlocked=self._apply_unlocked, key=_lock_key, times=lock_times
        )

    async def credit(self, request: Credit) -> Accepted:
        """Pay money in, once per key.

        Raises:
            WalletNotFound: If the wallet does not exist.
            IdempotencyKeyReused: If the key was used with other parameters.
            BalanceOverflow: If the balance would be too large.
        """
        return single_result(*_of(Accepted, await self._apply([request], patient=True)))

    async def deduct(self, request: Deduct, tenants: Tenants) -> Accepted:
        """Charge a wallet, once per key, and end the hold that reserved the money.

        Raises:
            WalletNotFound: If the wallet does not exist.
            IdempotencyKeyReused: If the key was used with other parameters.
            AlreadyCharged: If another wallet was charged for the job.
            HoldMismatch: If the hold belongs to another wallet or job.
            InsufficientFunds: If the available funds do not cover the charge.
        """
        return single_result(*await self.deduct_many([request], tenants, patient=True))

    async def deduct_many(
        self, requests: Sequence[Deduct], tenants: Tenants, *, patient: bool = False
    ) -> list[Accepted | DomainError]:
        """Charge wallets in order; each request is accepted or refused as `deduct` would.

        Args:
            requests: In order.
            tenants: Whose wallets exist for the caller.
            patient: Whether to wait for locked wallets, which delays the other requests as well.

        Returns:
            A decision for each request, in the same order.
        """
        own = [one for one in requests if tenants.own(one.owner.customer_id)]
        decisions = iter(_of(Accepted, await self._apply(own, patient=patient) if own else []))
        crash_point("wallets.deduct.before_reply")
        return [
            next(decisions)
            if tenants.own(owner.customer_id)
            else WalletNotFound(customer_id=owner.customer_id, currency=owner.currency)
            for owner in (one.owner for one in requests)
        ]

    async def write_off(self, request: WriteOff) -> WrittenOff:
        """Charge a job at our expense, once per job: an adjustment and the deduction, in one database transaction.

        Raises:
            WalletNotFound: If the wallet does not exist.
            IdempotencyKeyReused: If the job was written off with other parameters.
            AlreadyCharged: If the job was charged otherwise, to any wallet.
            HoldMismatch: If the hold belongs to another wallet or job.
            HoldActive: If the hold still reserves the money.
            BalanceOverflow: If the balance would be too large in between.
        """
        return single_result(*_of(WrittenOff, await self._apply([request], patient=True)))

    async def refund(self, request: Refund) -> Accepted:
        """Give a charge back, whole or in part, once per key.

        Raises:
            TransactionNotFound: If the charge does not exist.
            IdempotencyKeyReused: If the key was used with other parameters.
            RefundExceedsCharge: If the rest of the charge is smaller.
            BalanceOverflow: If the balance would be too large.
        """
        return single_result(*_of(Accepted, await self._apply([request], patient=True)))

    async def place_holds(self, requests: Sequence[PlaceHold], *, patient: bool = False) -> list[Held | DomainError]:
        """Reserve money in order; each request is accepted or refused alone.

        `patient` is as for `deduct_many`.

        Returns:
            A decision for each request, in the same order: `WalletNotFound`, `InsufficientFunds`,
            `IdempotencyKeyReused` if the ID was used with other parameters, and `HoldNotActive` if the hold was
            captured or released before.
        """
        decisions = _of(Held, await self._apply(requests, patient=patient))
        crash_point("wallets.place_holds.before_reply")
        return decisions

    async def release_holds(
        self, requests: Sequence[ReleaseHold], *, patient: bool = False
    ) -> list[Held | DomainError]:
        """Free reserved money in order; each request is accepted or refused alone.

        `patient` is as for `deduct_many`.

        Returns:
            A decision for each request, in the same order: `HoldNotActive` if the hold was captured before.
        """
        decisions = _of(Held, await self._apply(requests, patient=patient))
        crash_point("wallets.release_holds.before_reply")
        return decisions

    async def _apply_waiting(self, requests: Sequence[Request]) -> list[Decision]:
        # The wallet of a hold or charge is unknown before the read: it may be the locked one.
        blind = self._apply.knows_locked and any(isinstance(one, _WITHOUT_OWNER) for one in requests)
        return await self._decided(requests, wait=len(requests) == 1 or not blind)

    async def _apply_unlocked(self, requests: Sequence[Request]) -> list[Decision]:
        return await self._decided(requests, wait=False)

    async def _decided(self, requests: Sequence[Request], *, wait: bool) -> list[Decision]:
        try:
            return await self._in_transaction(requests, wait=wait)
        except AlreadyExists as error:
            if error.constraint != constraints.CHARGED_JOB:
                raise
        # Looked up only now: a charge to another wallet is so rare that a statement for each batch is too much.
        return await self._in_transaction(requests, wait=wait, seek_charged=True)

    # A lost connection is not repeated here: the commit may have taken effect, and the caller has its key.
    @transactional(retries=4)
    async def _in_transaction(
        self, requests: Sequence[Request], *, wait: bool, seek_charged: bool = False
    ) -> list[Decision]:
        return await self._ledger.apply(requests, wait=wait, seek_charged=seek_charged)


_WITHOUT_OWNER = (ReleaseHold, Refund)


def _lock_key(request: Request) -> Hashable:
    """Return what the request may find locked, as far as it names it."""
    if isinstance(request, ReleaseHold):
        return request.hold_id
    if isinstance(request, Refund):
        return request.charge
    return request.owner


def _of(kind: type[D], decisions: Sequence[Decision]) -> list[D | DomainError]:
    return [_checked(kind, decision) for decision in decisions]


def _checked(kind: type[D], decision: Decision) -> D | DomainError:
    if not isinstance(decision, (kind, DomainError)):
        raise TypeError(f"the ledger returned {type(decision).__name__} instead of {kind.__name__}")
    return decision
