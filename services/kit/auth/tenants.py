"""Whose things exist for a caller: what use cases get of a principal.

The principal of a call is a context variable of its task. Coalesced work, background loops and batches run in other
tasks, so servicers hand `Tenants` to use cases as a required argument, and nothing inside reads the variable.
"""

import json
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from services.kit.query.field import Field
from services.kit.query.listing import Narrowing
from services.kit.query.specification import ALWAYS, Specification, all_of

V = TypeVar("V")


@dataclass(frozen=True)
class Tenants:
    """The customers and queues whose things exist for a caller. Anything else does not exist, in every respect.

    Attributes:
        customers: The customers; None for all.
        queues: The queues; None for all.
    """

    customers: frozenset[UUID] | None
    queues: frozenset[str] | None

    @property
    def are_all(self) -> bool:
        """Whether everything exists."""
        return self.customers is None and self.queues is None

    def own(self, customer_id: UUID | None) -> bool:
        """Return whether what belongs to a customer exists; None for what belongs to nobody."""
        return self.customers is None or customer_id in self.customers

    def serve(self, queue: str) -> bool:
        """Return whether the jobs of a queue exist."""
        return self.queues is None or queue in self.queues

    def narrowing(self, customer: Field[UUID], queue: Field[str] | None = None) -> Narrowing:
        """Return the narrowing of a list.

        Args:
            customer: The field with the customer of a row.
            queue: The field with the queue of a row, if rows have one.
        """
        if self.are_all:
            return Narrowing()
        conditions = [_one_of(customer, self.customers), ALWAYS if queue is None else _one_of(queue, self.queues)]
        return Narrowing(all_of(*conditions), self.key)

    @property
    def key(self) -> str:
        """A text that differs from that of all other tenants; empty for all."""
        if self.are_all:
            return ""
        return json.dumps([None if one is None else sorted(map(str, one)) for one in (self.customers, self.queues)])


#: The tenants of work that a process does by itself, and of callers that are not bound.
ALL_TENANTS = Tenants(None, None)


def _one_of(field: Field[V], values: frozenset[V] | None) -> Specification:
    if values is None:
        return ALWAYS
    if len(values) == 1:
        # A list of one customer's has an index.
        return field.is_(next(iter(values)))
    return field.is_in(sorted(values, key=str))
