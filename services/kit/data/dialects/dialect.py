"""What the toolkit asks of a database."""

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
    """What a server says about itself.

    Attributes:
        now: Its time.
        read_only: Whether it takes no changes.
        statement_timeout_seconds: How long a statement may run; None where that can't be told.
    """

    now: datetime
    read_only: bool = False
    statement_timeout_seconds: float | None = None


class Dialect(ABC):
    """One kind of database.

    Attributes:
        name: What SQLAlchemy calls it.
        drivername: The driver in use, as in a URL.
        collation: The one that compares text by code point, as Python does.
        returns_updated: Whether UPDATE has a RETURNING.
        commits_by_driver: Whether the driver is told to commit, and not SQLAlchemy, which takes longer for the same.
    """

    name: ClassVar[str]
    drivername: ClassVar[str]
    collation: ClassVar[str]
    returns_updated: ClassVar[bool] = True
    commits_by_driver: ClassVar[bool] = False

    @abstractmethod
    def connect_args(self, settings: DatabaseSettings, application_name: str) -> dict[str, Any]:
        """What the driver needs to open a connection with the limits that the settings ask for."""

    def prepare(self, engine: Engine) -> None:  # noqa: B027 - most need nothing
        """Has an engine do what its driver leaves out when it connects and begins."""

    @abstractmethod
    def transaction_options(self, isolation: str | None, *, read_only: bool) -> dict[str, Any]:
        """The execution options of a connection that begins such a transaction."""

    async def condition(self, connection: AsyncConnection) -> ServerCondition:
        """Asks the server for a sign of life, and how it is."""
        await connection.execute(text("SELECT 1"))
        return ServerCondition(datetime.now(UTC))

    @abstractmethod
    def is_aborted(self, connection: Connection) -> bool:
        """Whether a failed statement has left nothing to commit."""

    @abstractmethod
    def translate(self, failure: ExceptionContext) -> DataError | None:
        """Our error for one of the driver's; None for what is not foreseen, which stays as it is."""

    @abstractmethod
    def any_of(self, column: ColumnElement[Any], name: str) -> Condition:
        """The condition that a column has one of the values of a list, which is the parameter of this name."""

    def prepared(self, statement: Select[Any]) -> Executable | Prepared:
        """A statement that is executed often, in the form that costs least."""
        return statement

    def by_code_point(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """A column of text, ordered and compared by code point whatever its own collation."""
        return cast("ColumnElement[Any]", column.collate(self.collation))

    def exact(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """A column of text that is equal to nothing but itself, whatever its own collation."""
        return self.by_code_point(column)

    @abstractmethod
    def entry(self, column: ColumnElement[Any], key: str) -> ColumnElement[Any]:
        """The text under a key of a map; null where there is none."""

    def has_entry(self, column: ColumnElement[Any], key: str, value: str) -> Condition:
        """The condition that a map has this text under a key."""
        return self.entry(column, key) == value

    def has_key(self, column: ColumnElement[Any], key: str) -> Condition:
        """The condition that a map has a key."""
        return self.entry(column, key).is_not(None)

    @abstractmethod
    def has_entries(self, column: ColumnElement[Any]) -> Condition:
        """The condition that a map is neither null nor empty."""
