"""A table of notes on real PostgreSQL, and exceptions, for the tests of transactions."""

from dataclasses import dataclass

import psycopg
from sqlalchemy import text

from services.kit.data.transactions.sql import SqlTransactions


class Wrong(Exception):
    """What a test raises."""


class Worse(Wrong):
    """A kind of it."""


@dataclass
class Notes:
    """A table of one column, through a repository of one's own."""

    transactions: SqlTransactions
    url: str

    async def add(self, note: str) -> None:
        await self.transactions.resource.execute(text("INSERT INTO notes VALUES (:note)"), {"note": note})

    async def ask(self, question: str) -> object:
        return (await self.transactions.resource.execute(text(question))).scalar()

    async def number(self) -> int:
        """The number of the present transaction, which PostgreSQL gives at the first change."""
        number = await self.ask("SELECT pg_current_xact_id()::text::bigint")
        assert isinstance(number, int)
        return number

    def kept(self) -> set[str]:
        """What others see."""
        with psycopg.connect(self.url) as connection:
            return {note for (note,) in connection.execute("SELECT note FROM notes").fetchall()}


class HookCalls:
    """Remembers what was called."""

    def __init__(self, notes: Notes) -> None:
        self.names: list[str] = []
        for name in ("commit", "rollback", "end"):
            register = getattr(notes.transactions, f"after_{name}")
            register(lambda name=name: self.names.append(name))
