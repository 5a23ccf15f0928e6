"""What a batch of requests has to know before it can be decided, collected so that it can be read at once."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

from services.kit.errors import DataCorrupt
from services.wallets.rules.entities import Hold, Owner
from services.wallets.rules.ledger import Charge, Key
from services.wallets.rules.requests import Deduct, LedgerRequest, PlaceHold, Refund, ReleaseHold, Request, WriteOff


@dataclass
class Wanted:
    """The rows that the requests of a batch name.

    Attributes:
        owners: Of wallets.
        placed: Holds that are to be placed or captured; the wallet is named beside them.
        released: Holds that are to be released, whose wallets nobody names.
        refunded_ids: Transactions that are to be refunded.
        refunded_job_ids: Jobs whose charges are to be refunded.
    """

    requests: Sequence[Request]
    owners: set[Owner] = field(default_factory=set)
    placed: set[UUID] = field(default_factory=set)
    released: set[UUID] = field(default_factory=set)
    refunded_ids: set[UUID] = field(default_factory=set)
    refunded_job_ids: set[UUID] = field(default_factory=set)

    @classmethod
    def by(cls, requests: Sequence[Request]) -> Self:
        """Collects what requests name."""
        wanted = cls(requests)
        for request in requests:
            wanted._add(request)
        return wanted

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
        elif request.refunded_id is not None:
            self.refunded_ids.add(request.refunded_id)
        elif request.refunded_job_id is not None:
            self.refunded_job_ids.add(request.refunded_job_id)

    @property
    def names_charges(self) -> bool:
        """Whether there are refunds."""
        return bool(self.refunded_ids or self.refunded_job_ids)

    @property
    def charged_job_ids(self) -> set[UUID]:
        """The jobs that are to be charged."""
        charging = (one for one in self.requests if isinstance(one, Deduct | WriteOff))
        return {one.job_id for one in charging if one.job_id is not None}

    @property
    def only_by_owner(self) -> bool:
        """Whether all wallets are named by their owners."""
        return not (self.released or self.names_charges)

    @property
    def charges(self) -> dict[str, list[UUID]]:
        """The parameters of statements that look for charges."""
        return {"transaction_ids": list(self.refunded_ids), "job_ids": list(self.refunded_job_ids)}

    def keys(self, ids: dict[Owner, UUID], charges: Sequence[Charge]) -> set[Key]:
        """The keys of the requests.

        Args:
            ids: Of the wallets, as far as they exist.
            charges: What refunds name.
        """
        return set(self._keys(ids, charges))

    def _keys(self, ids: dict[Owner, UUID], charges: Sequence[Charge]) -> Iterator[Key]:
        for request in self.requests:
            if isinstance(request, LedgerRequest):
                if (wallet_id := ids.get(request.owner)) is not None:
                    yield wallet_id, request.idempotency_key
            elif isinstance(request, WriteOff):
                if (wallet_id := ids.get(request.owner)) is not None:
                    yield wallet_id, request.adjustment.idempotency_key
                    yield wallet_id, request.charge.idempotency_key
            elif isinstance(request, Refund):
                for charge in charges:
                    yield charge.transaction.wallet_id, request.idempotency_key


@dataclass(frozen=True)
class Named:
    """Which wallets requests name, where not all of them could be locked.

    Attributes:
        taken: The owners of wallets that others have locked.
        locked: The wallets that are locked for us.
        holds: What is stored of the holds that the requests name.
        charges: What is stored of the charges that they name.
    """

    taken: Collection[Owner]
    locked: Collection[UUID]
    holds: Mapping[UUID, Hold | DataCorrupt]
    charges: Sequence[Charge]

    def is_locked(self, request: Request) -> bool:
        """Whether a request needs a wallet that others have locked."""
        if isinstance(request, ReleaseHold):
            hold = self.holds.get(request.hold_id)
            return isinstance(hold, Hold) and hold.wallet_id is not None and hold.wallet_id not in self.locked
        if isinstance(request, Refund):
            charged = (one.transaction for one in self.charges)
            return any(
                one.wallet_id not in self.locked
                for one in charged
                if one.id == request.refunded_id or (request.refunded_job_id and one.job_id == request.refunded_job_id)
            )
        return request.owner in self.taken
