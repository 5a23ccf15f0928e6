"""Two tables with a column of every kind, on every dialect: makers, and the instruments that they make."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)
from uuid_utils.compat import uuid7

from services.kit.data.audit.sql import SqlAuditLog
from services.kit.data.dialects import types
from services.kit.data.engine.database import Database
from services.kit.data.repositories.sql import SqlRepository
from services.kit.data.tables import (
    audit_log,
    bytes_column,
    created_at,
    json_text,
    make_metadata,
    time_column,
    updated_at,
)
from services.kit.data.transactions.sql import SqlTransactions
from services.kit.query.fields import StringField, UuidField
from services.kit.query.resource import Resource
from tests.unit.kit.query.example import PARCELS, Parcel


class Kind(StrEnum):
    """What is played."""

    STRINGS = "strings"
    WIND = "wind"


@dataclass(frozen=True, kw_only=True)
class NewMaker:
    """A maker of instruments."""

    id: UUID = field(default_factory=uuid7)
    name: str


@dataclass(frozen=True, kw_only=True)
class Maker(NewMaker):
    """One that is stored."""

    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class NewInstrument:
    """An instrument about to be stored."""

    id: UUID = field(default_factory=uuid7)
    maker_id: UUID
    name: str
    kind: Kind = Kind.WIND
    price: int | None = None
    tuned_at: datetime | None = None
    seal: bytes | None = None
    notes: str | None = None


@dataclass(frozen=True, kw_only=True)
class Instrument(NewInstrument):
    """One that is stored."""

    version: int
    created_at: datetime
    updated_at: datetime


metadata = make_metadata()
makers = Table(
    "makers",
    metadata,
    Column("id", types.UUID, primary_key=True),
    Column("name", types.sorted_text(100), nullable=False, unique=True),
    Column("version", Integer, nullable=False, server_default="1"),
    created_at(),
    updated_at(),
)
instruments = Table(
    "instruments",
    metadata,
    Column("id", types.UUID, primary_key=True),
    Column("maker_id", types.UUID, ForeignKey("makers.id"), nullable=False),
    Column("name", types.sorted_text(100), nullable=False),
    Column("kind", types.sorted_text(20), nullable=False),
    Column("price", BigInteger),
    time_column("tuned_at", nullable=True),
    bytes_column("seal", nullable=True),
    Column("notes", types.sorted_text()),
    Column("version", Integer, nullable=False, server_default="1"),
    created_at(),
    updated_at(),
    UniqueConstraint("maker_id", "name"),
    CheckConstraint("price > 0", name="price_positive"),
)
# Beside the columns that the toolkit advises, two with whatever order the database has.
parcels = Table(
    "parcels",
    metadata,
    Column("id", types.UUID, primary_key=True),
    Column("name", types.sorted_text(100), nullable=False),
    Column("note", String(100)),
    Column("count", Integer, nullable=False),
    Column("cost_cents", BigInteger),
    Column("fragile", Boolean, nullable=False),
    Column("size", SmallInteger, nullable=False),
    Column("state", String(20), nullable=False),
    time_column("created_at", nullable=False),
    time_column("sent_at", nullable=True),
    Column("owner_id", types.UUID),
    Column("labels", types.STRING_MAP),
)
documents = Table("documents", metadata, Column("id", Integer, primary_key=True), Column("body", json_text()))
audit_log.to_metadata(metadata)


class Makers(SqlRepository[Maker, NewMaker]):
    """The table `makers`."""

    table = makers
    entity = Maker
    resource = Resource("makers", (UuidField("id", sortable=True), StringField("name", sortable=True)))


class Instruments(SqlRepository[Instrument, NewInstrument]):
    """The table `instruments`, whose changes are written down."""

    table = instruments
    entity = Instrument
    resource = Resource("instruments", (UuidField("id", sortable=True), StringField("name", sortable=True)))
    audited = True


class Parcels(SqlRepository[Parcel, Parcel]):
    """The table `parcels`."""

    table = parcels
    entity = Parcel
    resource = PARCELS


@dataclass(frozen=True)
class World:
    """A pool, and repositories on it."""

    database: Database

    @cached_property
    def transactions(self) -> SqlTransactions:
        return SqlTransactions(self.database)

    @cached_property
    def makers(self) -> Makers:
        return Makers(self.transactions)

    @cached_property
    def instruments(self) -> Instruments:
        return Instruments(self.transactions)

    @cached_property
    def parcels(self) -> Parcels:
        return Parcels(self.transactions)

    @cached_property
    def audit_log(self) -> SqlAuditLog:
        return SqlAuditLog(self.transactions)

    @property
    def dialect(self) -> str:
        return self.database.dialect.name

    async def add(self, name: str) -> Maker:
        """Stores a maker in the transaction that is open."""
        return await self.makers.create(NewMaker(name=name))

    async def kept(self) -> set[str]:
        """The names of all makers that others see."""
        async with self.database.autocommit() as connection:
            return set((await connection.execute(makers.select().with_only_columns(makers.c.name))).scalars())
