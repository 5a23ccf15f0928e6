"""Judges the rows of a table where they are: read-only, page by page, and only what is wrong leaves the database.

A page is one statement, and what is written in one transaction is compared with what was written in the same one: so no
suspect has to be read again.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Interval, TextClause, Uuid, bindparam, text

from services.kit.data.transactions.sql import SqlTransactions
from tools.verify.findings import Kind, Limits
from tools.verify.lines import FIRST_ID, RowPage, WrongRow
from tools.verify.store.walking import WALK

# The first position in the order of either key.
_FIRST = f"-infinity {FIRST_ID}"


@dataclass(frozen=True)
class Rule:
    """What is wrong with the rows of a table.

    Attributes:
        kind: What a wrong row is.
        subject: What a row is.
        columns: What of a row the page reads.
        source: The table.
        joined: What else is looked at, by an index for each row of `page`.
        unknown: SQL for the value that this release does not understand, or null.
        wrong: SQL for what contradicts, or null.
        customer: The column that says whose a row is; empty where rows are nobody's.
        by_age: Whether there is an index of (created_at, id), and the IDs are not in the order of age.
    """

    kind: Kind
    subject: str
    columns: str
    source: str
    wrong: str
    unknown: str = "NULL"
    joined: str = ""
    customer: str = ""
    by_age: bool = False

    @property
    def statement(self) -> TextClause:
        """The statement of a page: the wrong rows, and the last one for the position."""
        key, after, moment = "id", ":id", "'-infinity'"
        if self.by_age:
            key, after, moment = "created_at, id", "CAST(:created_at AS timestamptz), :id", "created_at"
        # What is put in are constants.
        page = f"""
        WITH page AS MATERIALIZED (
            SELECT {self.columns} FROM {self.source} WHERE ({key}) > ({after}) ORDER BY {key} LIMIT :limit
        ), judged AS (
            SELECT page.id, {self.unknown} AS unknown, {self.wrong} AS wrong FROM page {self.joined}
        )
        SELECT id, unknown, wrong, NULL AS position, NULL AS customer_ids FROM judged
        WHERE unknown IS NOT NULL OR wrong IS NOT NULL
        UNION ALL
        SELECT NULL, NULL, NULL, CASE WHEN count(*) = :limit
            THEN (SELECT {moment} || ' ' || id FROM page ORDER BY {key.replace(",", " DESC,")} DESC LIMIT 1) END,
            {f"array_agg(DISTINCT {self.customer})" if self.customer else "NULL"}
        FROM page
        """  # noqa: S608
        parameters: list[BindParameter[Any]] = [bindparam("id", type_=Uuid())]
        parameters += [bindparam(name, type_=Interval()) for name in ("late", "holds_kept") if f":{name}" in page]
        return text(page).bindparams(*parameters)


class SqlRowBooks:
    """The rows of one table.

    Args:
        transactions: Of its database.
        rule: What is wrong with them.
        limits: What may be apart, and what is kept.
    """

    def __init__(self, transactions: SqlTransactions, rule: Rule, limits: Limits) -> None:
        self.kind = rule.kind
        self.subject = rule.subject
        self._transactions = transactions
        self._statement = rule.statement
        given = {"late": limits.late, "holds_kept": limits.holds_kept}
        asked = self._statement.text
        self._limits: dict[str, Any] = {name: value for name, value in given.items() if f":{name}" in asked}
        self._by_age = rule.by_age

    async def page(self, after: str | None, limit: int) -> RowPage:
        """Walk the key."""
        moment, _, last_id = (after or _FIRST).rpartition(" ")
        parameters = {**self._limits, "id": last_id, "limit": limit}
        if self._by_age:
            parameters["created_at"] = moment
        async with self._transactions.begin(read_only=True):
            connection = self._transactions.resource
            await connection.execute(WALK)
            rows = (await connection.execute(self._statement, parameters)).all()
        # The one without an ID is about the page.
        wrong = [WrongRow(row.id, row.unknown, row.wrong) for row in rows if row.id is not None]
        [end] = [row for row in rows if row.id is None]
        return RowPage(wrong, end.customer_ids or (), end.position)
