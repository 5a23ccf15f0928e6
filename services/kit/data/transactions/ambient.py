"""Transactions: where they begin and end, and which one a repository works in.

    @transactional(retries=4)                          # services.kit.data.transactions.transactional
    async def rename(self, customer_id: UUID, name: str) -> Customer:
        customer = await self._customers.get(customer_id)
        ...

    async with self.transactions.begin(read_only=True):     # the same, for a part of a use case
        ...

Leaving the block or method normally commits, an exception rolls back. The open transaction is found through a context
variable, so repositories need not be handed one; they refuse to work without. A use case makes no network call inside.

The modes of propagation are Spring's (`org.springframework.transaction.annotation.Propagation`); docs/data-layer.md has
the table of what each does.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

import structlog
from uuid_utils import uuid7

from services.kit.data.errors import (
    CommitUnknown,
    ConnectionFailed,
    DatabaseReadOnly,
    TimedOut,
    TransactionMisused,
    UnexpectedRollback,
)
from services.kit.errors import DatabaseUnavailable
from services.kit.observability import tracing

log = structlog.get_logger(__name__)

C_co = TypeVar("C_co", covariant=True)
C = TypeVar("C")

Hook = Callable[[], None]


class Propagation(Enum):
    """What happens to the transaction that is open already, and if there is none."""

    REQUIRED = "joins the open one, or begins one"
    REQUIRES_NEW = "suspends the open one and begins one on a connection of its own"
    NESTED = "a savepoint in the open one, or begins one"
    SUPPORTS = "joins the open one, or works without"
    NOT_SUPPORTED = "suspends the open one and works without"
    MANDATORY = "joins the open one; without one it is an error"
    NEVER = "works without; with one open it is an error"


class Isolation(Enum):
    """How much a transaction sees of others; by default what the database is set to (READ COMMITTED)."""

    READ_COMMITTED = "READ COMMITTED"
    REPEATABLE_READ = "REPEATABLE READ"
    SERIALIZABLE = "SERIALIZABLE"


_JOINING = frozenset({Propagation.REQUIRED, Propagation.SUPPORTS, Propagation.MANDATORY})
_BEGINNING = frozenset({Propagation.REQUIRED, Propagation.REQUIRES_NEW, Propagation.NESTED})


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What is asked of a transaction.

    Attributes:
        propagation: What happens to an open one.
        isolation: None for the database's default. A transaction that is joined must have it.
        read_only: Whether the database refuses changes.
        timeout_seconds: How long the block may take, in all; None for no limit but those of the statements.
        rollback_for: Exceptions that roll back although `no_rollback_for` names a base of theirs.
        no_rollback_for: Exceptions that commit what was done. All others roll back, cancellation always.
    """

    propagation: Propagation = Propagation.REQUIRED
    isolation: Isolation | None = None
    read_only: bool = False
    timeout_seconds: float | None = None
    rollback_for: tuple[type[Exception], ...] = ()
    no_rollback_for: tuple[type[Exception], ...] = ()

    def rolls_back(self, error: BaseException) -> bool:
        """Whether an exception rolls back: the rule that names its nearest class decides, as in Spring."""
        for kind in type(error).__mro__:
            if kind in self.rollback_for:
                return True
            if kind in self.no_rollback_for:
                return False
        return True


_DEFAULT = Definition()


class Opened(Protocol[C_co]):
    """A transaction of a database, a savepoint, or a connection without either."""

    @property
    def resource(self) -> C_co:
        """What repositories work on."""
        ...

    async def commit(self) -> None:
        """Makes the changes last.

        Raises:
            ConnectionFailed: If it is not known whether they do.
            UnexpectedRollback: If the database has rolled back because of an earlier error.
        """
        ...

    async def rollback(self) -> None:
        """Takes the changes back."""
        ...


@dataclass(eq=False)
class Transaction(Generic[C]):
    """A transaction or savepoint that is open, or a block that works without (each statement commits by itself).

    Attributes:
        id: Appears in all log lines that are written meanwhile, as `transaction_id`, and in the span `transaction`.
        definition: What was asked for.
        atomic: Whether it is a transaction at all.
    """

    id: str
    definition: Definition
    atomic: bool
    _manager: "Transactions[C]"
    _resource: C
    _task: "asyncio.Task[Any] | None"
    _outer: "Transaction[Any] | None"
    _open: bool = True
    _rollback_only: bool = False
    _failed_inside: bool = False
    _after_commit: list[Hook] = field(default_factory=list)
    _after_rollback: list[Hook] = field(default_factory=list)
    _after_end: list[Hook] = field(default_factory=list)

    def roll_back(self) -> None:
        """Has the transaction end without its changes, and without an error."""
        self._rollback_only = True


_current: ContextVar[Transaction[Any] | None] = ContextVar("transaction", default=None)


class Transactions(ABC, Generic[C]):
    """The transactions of one database. Services get one, and so do their repositories."""

    @asynccontextmanager
    async def begin(
        self,
        propagation: Propagation = Propagation.REQUIRED,
        *,
        isolation: Isolation | None = None,
        read_only: bool = False,
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[Transaction[C]]:
        """Yields a transaction that commits when the block is left normally; see `run` for the errors."""
        definition = Definition(
            propagation=propagation, isolation=isolation, read_only=read_only, timeout_seconds=timeout_seconds
        )
        async with self.run(definition) as transaction:
            yield transaction

    @asynccontextmanager
    async def run(self, definition: Definition = _DEFAULT) -> AsyncIterator[Transaction[C]]:
        """Yields the transaction that a definition asks for.

        Raises:
            TransactionMisused: If the mode does not allow what is open, or it belongs to another task.
            UnexpectedRollback: If a joined block failed, its error was swallowed, and now the whole is rolled back.
            CommitUnknown: If the connection was lost in the commit.
            TimedOut: If the block took too long.
        """
        limit = asyncio.timeout(definition.timeout_seconds)
        try:
            async with limit, self._block(definition) as transaction:
                yield transaction
        except TimeoutError as error:
            if limit.expired():
                raise TimedOut from error
            raise

    @property
    def is_open(self) -> bool:
        """Whether this task is in a transaction."""
        transaction = self._found()
        return transaction is not None and transaction.atomic and _mine(transaction)

    @property
    def resource(self) -> C:
        """What repositories work on.

        Raises:
            TransactionMisused: If no block is open in this task.
        """
        return self._present()._resource

    @property
    def transaction_id(self) -> str:
        """The ID of the block that is open, as in its log lines.

        Raises:
            TransactionMisused: If no block is open in this task.
        """
        return self._present().id

    def after_commit(self, hook: Hook) -> None:
        """Has a function called once the changes last; at once if no transaction is open.

        It must not fail, block or await: it leaves a note for somebody else. One that fails is logged and hinders
        nobody. If the outcome of the commit is unknown it is not called.
        """
        self._hook(hook, lambda transaction: transaction._after_commit)

    def after_rollback(self, hook: Hook) -> None:
        """Has a function called once the changes are taken back; never if no transaction is open."""
        transaction = self._found()
        if transaction is not None and transaction.atomic:
            _owned(transaction)._after_rollback.append(hook)

    def after_end(self, hook: Hook) -> None:
        """Has a function called when the transaction has ended in whatever way; at once if none is open."""
        self._hook(hook, lambda transaction: transaction._after_end)

    @abstractmethod
    def _transaction(self, definition: Definition, *, suspended: bool) -> AbstractAsyncContextManager[Opened[C]]:
        """Begins a transaction; `suspended` if this task has another one open meanwhile."""

    @abstractmethod
    def _savepoint(self, resource: C) -> AbstractAsyncContextManager[Opened[C]]:
        """Begins a savepoint in the open transaction."""

    @abstractmethod
    def _without(self, *, suspended: bool) -> AbstractAsyncContextManager[Opened[C]]:
        """Takes what repositories work on, where each statement commits by itself; `suspended` as above."""

    def _found(self) -> Transaction[C] | None:
        transaction = _current.get()
        while transaction is not None and not (transaction._manager is self and transaction._open):
            transaction = transaction._outer
        return transaction

    def _present(self) -> Transaction[C]:
        transaction = self._found()
        if transaction is None:
            raise TransactionMisused("no transaction is open: begin one around the use of repositories")
        return _owned(transaction)

    def _hook(self, hook: Hook, hooks: Callable[[Transaction[C]], list[Hook]]) -> None:
        transaction = self._found()
        if transaction is None or not transaction.atomic:
            _call([hook])
        else:
            hooks(_owned(transaction)).append(hook)

    def _block(self, definition: Definition) -> AbstractAsyncContextManager[Transaction[C]]:
        found = self._found()
        mode = definition.propagation
        inside = found is not None and found.atomic
        if mode is Propagation.MANDATORY and not inside:
            raise TransactionMisused("MANDATORY needs an open transaction and there is none")
        if mode is Propagation.NEVER and inside:
            raise TransactionMisused("NEVER must not be used in a transaction and one is open")
        if found is not None and inside and mode in _JOINING:
            return _joined(_owned(found), definition)
        if found is not None and inside and mode is Propagation.NESTED:
            savepoint = self._savepoint(_owned(found)._resource)
            return self._opened(savepoint, definition, atomic=True, enclosing=found)
        suspended = found is not None and _mine(found)
        if mode in _BEGINNING:
            return self._opened(self._transaction(definition, suspended=suspended), definition, atomic=True)
        if found is not None and not inside and suspended:
            return _joined(found, definition)
        return self._opened(self._without(suspended=suspended), definition, atomic=False)

    @asynccontextmanager
    async def _opened(
        self,
        opening: AbstractAsyncContextManager[Opened[C]],
        definition: Definition,
        *,
        atomic: bool,
        enclosing: Transaction[C] | None = None,
    ) -> AsyncIterator[Transaction[C]]:
        outcome: _Outcome | None = None
        transaction: Transaction[C] | None = None
        try:
            async with opening as opened:
                transaction = Transaction(
                    id=enclosing.id if enclosing else str(uuid7()),
                    definition=definition,
                    atomic=atomic,
                    _manager=self,
                    _resource=opened.resource,
                    _task=asyncio.current_task(),
                    _outer=_current.get(),
                )
                ending = _Ending(transaction, opened)
                try:
                    with _Visible(transaction):
                        yield transaction
                except BaseException as error:
                    await ending.after(error)
                    raise
                else:
                    await ending.normally()
                finally:
                    outcome = ending.outcome
        finally:
            if transaction is not None and outcome is not None:
                _call_hooks(transaction, outcome, enclosing)


class _Outcome(Enum):
    COMMITTED = "committed"
    ROLLED_BACK = "rolled back"
    UNKNOWN = "unknown"


@dataclass
class _Ending:
    """Ends a transaction, and keeps how it ended."""

    transaction: Transaction[Any]
    opened: Opened[Any]
    outcome: _Outcome = _Outcome.ROLLED_BACK

    async def normally(self) -> None:
        """Commits, if nothing speaks against it."""
        if self.transaction._failed_inside and not self.transaction._rollback_only:
            await self.opened.rollback()
            raise UnexpectedRollback
        if self.transaction._rollback_only:
            await self.opened.rollback()
            return
        await self._commit()

    async def after(self, error: BaseException) -> None:
        """Does what the rules say about an exception, which goes on afterwards."""
        keeps = not self.transaction.definition.rolls_back(error)
        if keeps and not self.transaction._rollback_only and not self.transaction._failed_inside:
            await self._commit()
            return
        try:
            await self.opened.rollback()
        except DatabaseUnavailable as lost:
            # A database that can't be told has taken the changes back by itself; the first error says more.
            log.warning("rollback_failed", error=str(lost))
        if self.transaction.definition.read_only and isinstance(error, DatabaseReadOnly):
            raise TransactionMisused("something was changed in a transaction that is read-only") from error

    async def _commit(self) -> None:
        # Whatever interrupts a commit leaves it open whether the database has got it.
        self.outcome = _Outcome.UNKNOWN
        try:
            await self.opened.commit()
        except (ConnectionFailed, TimedOut) as error:
            raise CommitUnknown from error
        except Exception:
            self.outcome = _Outcome.ROLLED_BACK
            raise
        self.outcome = _Outcome.COMMITTED


class _Visible:
    """Makes a transaction the one that this task works in, and its ID a part of all log lines and of a span."""

    def __init__(self, transaction: Transaction[Any]) -> None:
        self._transaction = transaction

    def __enter__(self) -> None:
        self._span = tracing.span("transaction", transaction_id=self._transaction.id)
        self._span.__enter__()
        self._token = _current.set(self._transaction)
        self._logs = structlog.contextvars.bind_contextvars(transaction_id=self._transaction.id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._transaction._open = False
        structlog.contextvars.reset_contextvars(**self._logs)
        _current.reset(self._token)
        self._span.__exit__(kind, error, traceback)


@asynccontextmanager
async def _joined(transaction: Transaction[C], definition: Definition) -> AsyncIterator[Transaction[C]]:
    present = transaction.definition
    if definition.isolation not in (None, present.isolation):
        raise TransactionMisused("the open transaction has another isolation level")
    if transaction.atomic and present.read_only and not definition.read_only:
        raise TransactionMisused("the open transaction is read-only")
    try:
        yield transaction
    except BaseException as error:
        if transaction.atomic and definition.rolls_back(error):
            transaction._failed_inside = True
        raise


def _mine(transaction: Transaction[Any]) -> bool:
    return transaction._task is asyncio.current_task()


def _owned(transaction: Transaction[C]) -> Transaction[C]:
    if not _mine(transaction):
        raise TransactionMisused(
            "the open transaction belongs to the task that started this one, and a connection can't be shared: "
            "do the work in that task, or begin a transaction with REQUIRES_NEW here"
        )
    return transaction


def _call_hooks(transaction: Transaction[Any], outcome: _Outcome, enclosing: Transaction[Any] | None) -> None:
    log.debug("transaction_ended", transaction_id=transaction.id, outcome=outcome.value)
    if enclosing is not None and outcome is _Outcome.COMMITTED:
        # A released savepoint lasts no longer than what is around it.
        enclosing._after_commit += transaction._after_commit
        enclosing._after_rollback += transaction._after_rollback
        enclosing._after_end += transaction._after_end
        return
    if outcome is _Outcome.COMMITTED:
        _call(transaction._after_commit)
    elif outcome is _Outcome.ROLLED_BACK:
        _call(transaction._after_rollback)
    _call(transaction._after_end)


def _call(hooks: list[Hook]) -> None:
    for hook in hooks:
        try:
            hook()
        except Exception:
            log.exception("transaction_hook_failed")
