"""The interface between the toolkit and a kind of database."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, cast

from sqlalchemy import ColumnElement, Connection, Engine, Select, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.base import Executable

from services.kit.data.engine.prepared import Prepared
from services.kit.data.errors import DataError
from services.kit.settings import DatabaseSettings

Condition = ColumnElement[bool]


@dataclass(frozen=True)
class ServerCondition:
    """The condition of a server, as it reports it.

    Attributes:
        now: The server's time.
        read_only: Whether the server refuses changes.
        statement_timeout_seconds: How long a statement may run; None if unknown.
    """

    now: datetime
    read_only: bool = False
    statement_timeout_seconds: float | None = None


class Dialect(ABC):
    """One kind of database.

    Attributes:
        name: SQLAlchemy's name for it.
        drivername: The driver, as in a URL.
        collation: The collation that compares text by code point, as Python does.
        returns_updated: Whether UPDATE supports RETURNING.
        commits_by_driver: Whether commits go directly to the driver, which takes less time than through SQLAlchemy.
    """

    name: ClassVar[str]
    drivername: ClassVar[str]
    collation: ClassVar[str]
    returns_updated: ClassVar[bool] = True
    commits_by_driver: ClassVar[bool] = False

    @abstractmethod
    def connect_args(self, settings: DatabaseSettings, application_name: str) -> dict[str, Any]:
        """Return the driver's arguments for a connection with the limits of the settings."""

    def prepare(self, engine: Engine) -> None:  # noqa: B027 - most need nothing
        """Add what the driver leaves out when it connects and begins transactions."""

    @abstractmethod
    def transaction_options(self, isolation: str | None, *, read_only: bool) -> dict[str, Any]:
        """Return the execution options of a connection that begins such a transaction."""

    async def condition(self, connection: AsyncConnection) -> ServerCondition:
        """Query the condition of the server, as a sign of life."""
        await connection.execute(text("SELECT 1"))
        return ServerCondition(datetime.now(UTC))

    @abstractmethod
    def is_aborted(self, connection: Connection) -> bool:
        """Whether a failed statement has left nothing to commit."""

    @abstractmethod
    def translate(self, failure: ExceptionContext) -> DataError | None:
        """Return the error of the data layer for an error of the driver; None for an unforeseen one, which stays."""

    @abstractmethod
    def any_of(self, column: ColumnElement[Any], name: str) -> Condition:
        """Return the condition that a column equals one of the values of a list, the parameter of this name."""

    def prepared(self, statement: Select[Any]) -> Executable | Prepared:
        """Return the cheapest form of a statement that is executed often."""
        return statement

    def by_code_point(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a text column that is sorted and compared by code point, independent of its own collation."""
        return cast("ColumnElement[Any]", column.collate(self.collation))

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Return a text column that equals only identical text, independent of its own collation."""
        return self.by_code_point(column)

    @abstractmethod
    def entry(self, column: ColumnElement[Any], key: str) -> ColumnElement[Any]:
        """Return the text under a key of a map; null without such a key."""

    def has_entry(self, column: ColumnElement[Any], key: str, value: str) -> Condition:
        """Return the condition that a map has this text under a key."""
        return self.entry(column, key) == value

    def has_key(self, column: ColumnElement[Any], key: str) -> Condition:
        """Return the condition that a map has a key."""
        return self.entry(column, key).is_not(None)

    @abstractmethod
    def has_entries(self, column: ColumnElement[Any]) -> Condition:
        """Return the condition that a map is neither null nor empty."""
