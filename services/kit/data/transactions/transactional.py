"""`@transactional`: a method that runs as one transaction."""

from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import stamina

from services.kit.data.errors import Conflict, LockTimedOut
from services.kit.data.transactions.ambient import Definition, Isolation, Propagation, Transactions

P = ParamSpec("P")
R = TypeVar("R")

_WAIT_MIN_SECONDS = 0.01
_WAIT_MAX_SECONDS = 0.2
_JITTER_SECONDS = 0.02


class Transactional(Protocol):
    """An object whose methods can be transactional."""

    @property
    def transactions(self) -> Transactions[Any]:
        """The transactions of the object's database."""
        ...


S = TypeVar("S", bound=Transactional)
Method = Callable[Concatenate[S, P], Coroutine[Any, Any, R]]


def transactional(
    *,
    propagation: Propagation = Propagation.REQUIRED,
    isolation: Isolation | None = None,
    read_only: bool = False,
    timeout: float | None = None,
    rollback_for: tuple[type[Exception], ...] = (),
    no_rollback_for: tuple[type[Exception], ...] = (),
    retries: int | None = None,
    patient: bool = False,
) -> Callable[[Method[S, P, R]], Method[S, P, R]]:
    """Run a method in a transaction of its object's `transactions`.

    The transaction commits when the method returns, and rolls back when it raises.

    Args:
        propagation: What happens to a transaction that is open already.
        isolation: The isolation level; by default that of the database.
        read_only: Whether the database refuses changes.
        timeout: How many seconds the transaction may take.
        rollback_for: Exceptions that roll back although `no_rollback_for` has one of their bases.
        no_rollback_for: Exceptions that commit.
        retries: How often the whole method is repeated after a `Conflict` (a serialization failure, a deadlock, a
            changed version), which wrote nothing. Only the method that began the transaction is repeated, and never
            after a commit whose outcome is unknown. By default once for a read-only method, else never.
        patient: Whether the method is repeated as well after a lock timeout.
    """
    definition = Definition(
        propagation=propagation,
        isolation=isolation,
        read_only=read_only,
        timeout_seconds=timeout,
        rollback_for=rollback_for,
        no_rollback_for=no_rollback_for,
    )
    passing = (Conflict, LockTimedOut) if patient else (Conflict,)
    retries = int(read_only) if retries is None else retries
    repeating = stamina.AsyncRetryingCaller(
        attempts=retries + 1,
        timeout=None,
        wait_initial=_WAIT_MIN_SECONDS,
        wait_max=_WAIT_MAX_SECONDS,
        wait_jitter=_JITTER_SECONDS,
    )

    def decorate(method: Method[S, P, R]) -> Method[S, P, R]:
        async def once(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            async with self.transactions.run(definition):
                return await method(self, *args, **kwargs)

        async def repeated(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            # The method that began the open transaction repeats.
            if self.transactions.is_open and propagation is not Propagation.REQUIRES_NEW:
                return await once(self, *args, **kwargs)
            return await repeating(passing, once, self, *args, **kwargs)

        chosen: Method[S, P, R] = repeated if retries else once
        update_wrapper(chosen, method)
        return chosen

    return decorate
