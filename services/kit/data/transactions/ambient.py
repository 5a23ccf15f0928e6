"""Ambient transactions: blocks and methods open them, repositories find the open one.

    @transactional(retries=4)                          # services.kit.data.transactions.transactional
    async def rename(self, customer_id: UUID, name: str) -> Customer:
        customer = await self._customers.get(customer_id)
        ...

    async with self.transactions.begin(read_only=True):     # the same, for a part of a use case
        ...

A normal end of the block or method commits, an exception rolls back. Repositories find the open transaction through a
context variable, and refuse to work without one. A use case makes no network call inside.

The modes of propagation are Spring's (`org.springframework.transaction.annotation.Propagation`); docs/data-layer.md has
a table of them.
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
    """What happens with an open transaction, and without one."""

    REQUIRED = "joins the open one, or begins one"
    REQUIRES_NEW = "suspends the open one and begins one on a connection of its own"
    NESTED = "a savepoint in the open one, or begins one"
    SUPPORTS = "joins the open one, or works without"
    NOT_SUPPORTED = "suspends the open one and works without"
    MANDATORY = "joins the open one; without one it is an error"
    NEVER = "works without; with one open it is an error"


class Isolation(Enum):
    """The isolation level of a transaction; by default that of the database (READ COMMITTED)."""

    READ_COMMITTED = "READ COMMITTED"
    REPEATABLE_READ = "REPEATABLE READ"
    SERIALIZABLE = "SERIALIZABLE"


_JOINING = frozenset({Propagation.REQUIRED, Propagation.SUPPORTS, Propagation.MANDATORY})
_BEGINNING = frozenset({Propagation.REQUIRED, Propagation.REQUIRES_NEW, Propagation.NESTED})


@dataclass(frozen=True, kw_only=True)
class Definition:
    """The properties of a transaction.

    Attributes:
        propagation: What happens to an open transaction.
        isolation: None for the database's default. A joined transaction must have the same.
        read_only: Whether the database refuses changes.
        timeout_seconds: How long the block may take; None for no limit beyond those of the statements.
        rollback_for: Exceptions that roll back although `no_rollback_for` has one of their bases.
        no_rollback_for: Exceptions that commit. All others roll back, cancellation always.
    """

    propagation: Propagation = Propagation.REQUIRED
    isolation: Isolation | None = None
    read_only: bool = False
    timeout_seconds: float | None = None
    rollback_for: tuple[type[Exception], ...] = ()
    no_rollback_for: tuple[type[Exception], ...] = ()

    def rolls_back(self, error: BaseException) -> bool:
        """Whether an exception rolls back: the rule for its nearest class decides, as in Spring."""
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
        """The connection or store that repositories work on."""
        ...

    async def commit(self) -> None:
        """Commit the changes.

        Raises:
            ConnectionFailed: If the outcome is unknown.
            UnexpectedRollback: If the database has rolled back because of an earlier error.
        """
        ...

    async def rollback(self) -> None:
        """Roll back the changes."""
        ...


@dataclass(eq=False)
class Transaction(Generic[C]):
    """An open transaction or savepoint, or a block without (each statement commits by itself).

    Attributes:
        id: The ID in all log lines of the block, as `transaction_id`, and in the span `transaction`.
        definition: Its properties.
        atomic: Whether it is a transaction or savepoint.
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
        """Roll back at the end of the block, without raising."""
        self._rollback_only = True


_current: ContextVar[Transaction[Any] | None] = ContextVar("transaction", default=None)


class Transactions(ABC, Generic[C]):
    """The transactions of one database, shared by a service's use cases and repositories."""

    @asynccontextmanager
    async def begin(
        self,
        propagation: Propagation = Propagation.REQUIRED,
        *,
        isolation: Isolation | None = None,
        read_only: bool = False,
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[Transaction[C]]:
        """Yield a transaction that commits at the normal end of the block; see `run` for the errors."""
        definition = Definition(
            propagation=propagation, isolation=isolation, read_only=read_only, timeout_seconds=timeout_seconds
        )
        async with self.run(definition) as transaction:
            yield transaction

    @asynccontextmanager
    async def run(self, definition: Definition = _DEFAULT) -> AsyncIterator[Transaction[C]]:
        """Yield a transaction with the properties of a definition.

        Raises:
            TransactionMisused: If the open transaction does not fit the mode, or belongs to another task.
            UnexpectedRollback: If a joined block failed, its error was swallowed, and the transaction is rolled back.
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
        """The connection or store that repositories work on.

        Raises:
            TransactionMisused: If no block is open in this task.
        """
        return self._present()._resource

    @property
    def transaction_id(self) -> str:
        """The ID of the open block, as in its log lines.

        Raises:
            TransactionMisused: If no block is open in this task.
        """
        return self._present().id

    def after_commit(self, hook: Hook) -> None:
        """Call a function after the commit; immediately if no transaction is open.

        The function must not fail, block or await: it should only notify other work. A failure is logged and affects
        nothing else. If the outcome of the commit is unknown, the function is not called.
        """
        self._hook(hook, lambda transaction: transaction._after_commit)

    def after_rollback(self, hook: Hook) -> None:
        """Call a function after the rollback; never if no transaction is open."""
        transaction = self._found()
        if transaction is not None and transaction.atomic:
            _owned(transaction)._after_rollback.append(hook)

    def after_end(self, hook: Hook) -> None:
        """Call a function when the transaction has ended with any outcome; immediately if none is open."""
        self._hook(hook, lambda transaction: transaction._after_end)

    @abstractmethod
    def _transaction(self, definition: Definition, *, suspended: bool) -> AbstractAsyncContextManager[Opened[C]]:
        """Begin a transaction; `suspended` if this task keeps another one open."""

    @abstractmethod
    def _savepoint(self, resource: C) -> AbstractAsyncContextManager[Opened[C]]:
        """Begin a savepoint in the open transaction."""

    @abstractmethod
    def _without(self, *, suspended: bool) -> AbstractAsyncContextManager[Opened[C]]:
        """Open a connection on which each statement commits by itself; `suspended` as above."""

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
            raise TransactionMisused("MANDATORY needs an open transaction and none is open")
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
    """The end of a transaction, with its outcome."""

    transaction: Transaction[Any]
    opened: Opened[Any]
    outcome: _Outcome = _Outcome.ROLLED_BACK

    async def normally(self) -> None:
        """Commit, unless a rollback was requested or a joined block failed."""
        if self.transaction._failed_inside and not self.transaction._rollback_only:
            await self.opened.rollback()
            raise UnexpectedRollback
        if self.transaction._rollback_only:
            await self.opened.rollback()
            return
        await self._commit()

    async def after(self, error: BaseException) -> None:
        """Commit or roll back after an exception, which is then raised again."""
        keeps = not self.transaction.definition.rolls_back(error)
        if keeps and not self.transaction._rollback_only and not self.transaction._failed_inside:
            await self._commit()
            return
        try:
            await self.opened.rollback()
        except DatabaseUnavailable as lost:
            # An unreachable database has rolled back by itself; the first error says more.
            log.warning("rollback_failed", error=str(lost))
        if self.transaction.definition.read_only and isinstance(error, DatabaseReadOnly):
            raise TransactionMisused("something was changed in a transaction that is read-only") from error

    async def _commit(self) -> None:
        # After an interrupted commit, it is unknown whether the database has received it.
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
    """The scope in which a transaction is current for its task, and its ID is in all log lines and in a span."""

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
            "the open transaction belongs to the task that started this one, and a connection cannot be shared: "
            "do the work in that task, or begin a transaction with REQUIRES_NEW here"
        )
    return transaction


def _call_hooks(transaction: Transaction[Any], outcome: _Outcome, enclosing: Transaction[Any] | None) -> None:
    log.debug("transaction_ended", transaction_id=transaction.id, outcome=outcome.value)
    if enclosing is not None and outcome is _Outcome.COMMITTED:
        # The changes of a released savepoint depend on the enclosing transaction.
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
