"""The use cases that move or reserve money."""

from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

from innosystem.shared.crash import crash_point
from services.kit.batching.coalescing import Coalescer
from services.kit.batching.locked_lane import LOCK_TIMES, LockTimes
from services.kit.batching.parts import single_result
from services.kit.data.errors import AlreadyExists
from services.kit.data.transactions.ambient import Transactions
from services.kit.data.transactions.transactional import transactional
from services.kit.errors import DomainError
from services.wallets.rules.ledger import Accepted, Decision, Held
from services.wallets.rules.requests import Credit, Deduct, PlaceHold, Refund, ReleaseHold, Request, WriteOff
from services.wallets.usecases.ports import CHARGED_JOB_CONSTRAINT, Ledger

D = TypeVar("D", Accepted, Held)


class Bookings:
    """What changes balances and holds. Each takes effect once whoever repeats it; concurrent ones share a transaction.

    Args:
        transactions: Where they begin.
        ledger: What changes balances and holds.
        lock_times: How long a request waits whose wallet somebody else has locked.
    """

    def __init__(self, transactions: Transactions[Any], ledger: Ledger, lock_times: LockTimes = LOCK_TIMES) -> None:
        self.transactions = transactions
        self._ledger = ledger
        self._apply: Coalescer[Request, Accepted | Held] = Coalescer(
            "bookings", self._apply_at_once, unlocked=self._apply_unlocked, key=_locks, times=lock_times
        )

    async def credit(self, request: Credit) -> Accepted:
        """Pays money in, once a key.

        Raises:
            WalletNotFound: If there is none.
            IdempotencyKeyReused: If the key was used with other parameters.
            BalanceOverflow: If the balance would be too large.
        """
        return single_result(*_of(Accepted, await self._apply([request], patient=True)))

    async def deduct(self, request: Deduct) -> Accepted:
        """Charges a wallet, once a key, and ends the hold that reserved the money.

        Raises:
            WalletNotFound: If there is none.
            IdempotencyKeyReused: If the key was used with other parameters.
            AlreadyCharged: If another wallet was charged for the job.
            HoldMismatch: If the hold is one of another wallet or job.
            InsufficientFunds: If less is available.
        """
        return single_result(*await self.deduct_many([request], patient=True))

    async def deduct_many(self, requests: Sequence[Deduct], *, patient: bool = False) -> list[Accepted | DomainError]:
        """Charges wallets in order; each request is accepted or refused as `deduct` would do it.

        Args:
            requests: In order.
            patient: Whether wallets are waited for that are locked: the other requests have to wait as well.

        Returns:
            A decision a request, in the same order.
        """
        decisions = _of(Accepted, await self._apply(requests, patient=patient))
        crash_point("wallets.deduct.before_reply")
        return decisions

    async def write_off(self, request: WriteOff) -> Accepted:
        """Charges a job at our expense, once a job: an adjustment and the deduction, in one unit.

        Raises:
            WalletNotFound: If there is none.
            IdempotencyKeyReused: If the job was written off with other parameters.
            AlreadyCharged: If the job was charged otherwise, be it to another wallet.
            HoldMismatch: If the hold is one of another wallet or job.
            HoldActive: If the hold still reserves the money.
            BalanceOverflow: If the balance would be too large in between.
        """
        return single_result(*_of(Accepted, await self._apply([request], patient=True)))

    async def refund(self, request: Refund) -> Accepted:
        """Gives a charge back, whole or in part, once a key.

        Raises:
            TransactionNotFound: If there is no such charge.
            IdempotencyKeyReused: If the key was used with other parameters.
            RefundExceedsCharge: If less is left of the charge.
            BalanceOverflow: If the balance would be too large.
        """
        return single_result(*_of(Accepted, await self._apply([request], patient=True)))

    async def place_holds(self, requests: Sequence[PlaceHold], *, patient: bool = False) -> list[Held | DomainError]:
        """Reserves money in order; each request is accepted or refused alone.

        `patient` is as for `deduct_many`.

        Returns:
            A decision a request, in the same order: `WalletNotFound`, `InsufficientFunds`, `IdempotencyKeyReused` if
            the ID was used with other parameters, and `HoldNotActive` if it was captured or released before.
        """
        decisions = _of(Held, await self._apply(requests, patient=patient))
        crash_point("wallets.place_holds.before_reply")
        return decisions

    async def release_holds(
        self, requests: Sequence[ReleaseHold], *, patient: bool = False
    ) -> list[Held | DomainError]:
        """Frees what is reserved, in order; each request is accepted or refused alone.

        `patient` is as for `deduct_many`.

        Returns:
            A decision a request, in the same order: `HoldNotActive` if it was captured before.
        """
        decisions = _of(Held, await self._apply(requests, patient=patient))
        crash_point("wallets.release_holds.before_reply")
        return decisions

    async def _apply_at_once(self, requests: Sequence[Request]) -> list[Decision]:
        # Whose wallet a hold is on is not known before: it may be the one that is locked.
        blind = self._apply.knows_locked and any(isinstance(one, _UNOWNED) for one in requests)
        return await self._decided(requests, wait=len(requests) == 1 or not blind)

    async def _apply_unlocked(self, requests: Sequence[Request]) -> list[Decision]:
        return await self._decided(requests, wait=False)

    async def _decided(self, requests: Sequence[Request], *, wait: bool) -> list[Decision]:
        try:
            return await self._in_transaction(requests, wait=wait)
        except AlreadyExists as error:
            if error.constraint != CHARGED_JOB_CONSTRAINT:
                raise
        # To read who has charged the jobs of a batch is not worth a statement each time: hardly ever has another wallet
        # been charged for one of them.
        return await self._in_transaction(requests, wait=wait, seek_charged=True)

    # A lost connection is not repeated here: the commit may have taken effect, and the caller knows its key.
    @transactional(retries=4)
    async def _in_transaction(
        self, requests: Sequence[Request], *, wait: bool, seek_charged: bool = False
    ) -> list[Decision]:
        return await self._ledger.apply(requests, wait=wait, seek_charged=seek_charged)


_UNOWNED = (ReleaseHold, Refund)


def _locks(request: Request) -> Hashable:
    """What a request may find locked, as far as it says so itself."""
    if isinstance(request, ReleaseHold):
        return request.hold_id
    if isinstance(request, Refund):
        return request.refunded_id or request.refunded_job_id
    return request.owner


def _of(kind: type[D], decisions: Sequence[Decision]) -> list[D | DomainError]:
    return [_checked(kind, decision) for decision in decisions]


def _checked(kind: type[D], decision: Decision) -> D | DomainError:
    if not isinstance(decision, (kind, DomainError)):
        raise TypeError(f"the ledger answered {type(decision).__name__} where {kind.__name__} was asked for")
    return decision
