"""The rows that a batch of requests needs before it can be decided, collected so that few statements read them all."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from services.kit.errors import DataCorrupt
from services.wallets.rules.entities import Hold, Owner
from services.wallets.rules.ledger import Key, Refundable
from services.wallets.rules.requests import (
    Deduct,
    JobCharge,
    LedgerRequest,
    PlaceHold,
    Refund,
    ReleaseHold,
    Request,
    WriteOff,
)


@dataclass
class RowsToRead:
    """The rows that the requests of a batch name.

    Attributes:
        owners: The owners of wallets.
        placed: Holds to place or capture; the request names the wallet as well.
        released: Holds to release; the request does not name the wallet.
        refunded_ids: Transactions to refund.
        refunded_job_ids: Jobs whose charges are to refund.
    """

    requests: Sequence[Request]
    owners: set[Owner] = field(default_factory=set)
    placed: set[UUID] = field(default_factory=set)
    released: set[UUID] = field(default_factory=set)
    refunded_ids: set[UUID] = field(default_factory=set)
    refunded_job_ids: set[UUID] = field(default_factory=set)

    @classmethod
    def of(cls, requests: Sequence[Request]) -> Self:
        """Collect the rows that requests name."""
        rows = cls(requests)
        for request in requests:
            rows._add(request)
        return rows

    def _add(self, request: Request) -> None:
        if isinstance(request, LedgerRequest | WriteOff):
            self.owners.add(request.owner)
            if request.hold_id is not None:
                self.placed.add(request.hold_id)
        elif isinstance(request, PlaceHold):
            self.owners.add(request.owner)
            self.placed.add(request.hold_id)
        elif isinstance(request, ReleaseHold):
            self.released.add(request.hold_id)
        elif isinstance(request.charge, JobCharge):
            self.refunded_job_ids.add(request.charge.job_id)
        else:
            self.refunded_ids.add(request.charge)

    @property
    def has_refunds(self) -> bool:
        """Whether the requests include refunds."""
        return bool(self.refunded_ids or self.refunded_job_ids)

    @property
    def charged_job_ids(self) -> set[UUID]:
        """The jobs to charge."""
        charging = (one for one in self.requests if isinstance(one, Deduct | WriteOff))
        return {one.job_id for one in charging if one.job_id is not None}

    @property
    def only_by_owner(self) -> bool:
        """Whether the requests name all wallets by their owners."""
        return not (self.released or self.has_refunds)

    @property
    def refundable_parameters(self) -> dict[str, list[UUID]]:
        """The parameters of the statements that look up the charges to refund."""
        return {"transaction_ids": list(self.refunded_ids), "job_ids": list(self.refunded_job_ids)}

    def keys(self, ids: dict[Owner, UUID], refundables: Sequence[Refundable]) -> set[Key]:
        """Return the keys of the requests.

        Args:
            ids: The IDs of the wallets that exist.
            refundables: The charges that refunds name.
        """
        return set(self._keys(ids, refundables))

    def _keys(self, ids: dict[Owner, UUID], refundables: Sequence[Refundable]) -> Iterator[Key]:
        for request in self.requests:
            if isinstance(request, LedgerRequest):
                if (wallet_id := ids.get(request.owner)) is not None:
                    yield wallet_id, request.idempotency_key
            elif isinstance(request, WriteOff):
                if (wallet_id := ids.get(request.owner)) is not None:
                    yield wallet_id, request.adjustment.idempotency_key
                    yield wallet_id, request.charge.idempotency_key
            elif isinstance(request, Refund):
                for refundable in refundables:
                    yield refundable.transaction.wallet_id, request.idempotency_key


@dataclass(frozen=True)
class WalletLocks:
    """The wallets of a batch that are locked, by its own transaction or by others.

    Attributes:
        taken: The owners of wallets that other transactions have locked.
        locked: The wallets that this transaction has locked.
        holds: The stored holds that the requests name.
        refundables: The stored charges that the requests name.
    """

    taken: Collection[Owner]
    locked: Collection[UUID]
    holds: Mapping[UUID, Hold | DataCorrupt]
    refundables: Sequence[Refundable]

    def block(self, request: Request) -> bool:
        """Return whether a request needs a wallet that another transaction has locked."""
        if isinstance(request, ReleaseHold):
            hold = self.holds.get(request.hold_id)
            return isinstance(hold, Hold) and hold.wallet_id is not None and hold.wallet_id not in self.locked
        if isinstance(request, Refund):
            charges = (one.transaction for one in self.refundables)
            return any(one.wallet_id not in self.locked for one in charges if request.names(one))
        return request.owner in self.taken
