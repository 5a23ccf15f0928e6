"""`@transactional`: a use case that is one transaction."""

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
        """Where its transactions begin."""
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
    """Makes a method run in a transaction of its object's `transactions`.

    It commits when the method returns, and rolls back when it raises.

    Args:
        propagation: What happens to a transaction that is open already.
        isolation: How much it sees of others; by default what the database is set to.
        read_only: Whether the database refuses changes.
        timeout: How many seconds it may take in all.
        rollback_for: Exceptions that roll back although `no_rollback_for` names a base of theirs.
        no_rollback_for: Exceptions that commit what was done.
        retries: How often the whole method is repeated after a `Conflict` (a serialization failure, a deadlock, a
            version that changed): nothing was written then. Only the method that began the transaction repeats, and
            never after a commit whose outcome is unknown. By default once if it only reads, else not at all.
        patient: Whether it is repeated as well after a lock that was not to be had in time.
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
            # In a transaction that somebody else began, it is not ours to repeat.
            if self.transactions.is_open and propagation is not Propagation.REQUIRES_NEW:
                return await once(self, *args, **kwargs)
            return await repeating(passing, once, self, *args, **kwargs)

        chosen: Method[S, P, R] = repeated if retries else once
        update_wrapper(chosen, method)
        return chosen

    return decorate
