"""The judgement of a table's rows within the database, page by page; only wrong rows leave the database.

A page is one statement, and rows are compared only with rows of the same transaction, so no suspect needs a second
reading.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Interval, TextClause, Uuid, bindparam, text
from typing_extensions import override

from services.kit.data.transactions.sql import SqlTransactions
from tools.verify.findings import Kind, Limits
from tools.verify.lines import FIRST_ID, Contradiction, RowBooks, RowPage, UnknownValue, WrongRow
from tools.verify.store.walking import WALK

# The first position in the order of either key.
_FIRST = f"-infinity {FIRST_ID}"


@dataclass(frozen=True)
class Rule:
    """The rules of a table.

    Attributes:
        kind: The kind of finding that a wrong row is.
        subject: The kind of object that a row is.
        columns: The columns that the page reads.
        source: The table.
        joined: Joins to related rows, by an index for each row of `page`.
        unknown: SQL for the value that this release does not understand, or null.
        wrong: SQL for the column that contradicts others, or null.
        customer: The column with the customer of a row; empty where rows have none.
        by_age: Whether to walk the index of (created_at, id), because the IDs are not in the order of age.
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
        """  # noqa: S608 - only constants are interpolated
        parameters: list[BindParameter[Any]] = [bindparam("id", type_=Uuid())]
        parameters += [bindparam(name, type_=Interval()) for name in ("late", "holds_kept") if f":{name}" in page]
        return text(page).bindparams(*parameters)


class SqlRowBooks(RowBooks):
    """The rows of one table, read by its key.

    Args:
        transactions: Transactions of its database.
        rule: The rules of the table.
        limits: The tolerance between clocks, and how long holds are kept.
    """

    def __init__(self, transactions: SqlTransactions, rule: Rule, limits: Limits) -> None:
        self._rule = rule
        self._transactions = transactions
        self._statement = rule.statement
        given = {"late": limits.late, "holds_kept": limits.holds_kept}
        asked = self._statement.text
        self._limits: dict[str, Any] = {name: value for name, value in given.items() if f":{name}" in asked}

    @property
    @override
    def kind(self) -> Kind:
        return self._rule.kind

    @property
    @override
    def subject(self) -> str:
        return self._rule.subject

    @override
    async def page(self, after: str | None, limit: int) -> RowPage:
        moment, _, last_id = (after or _FIRST).rpartition(" ")
        parameters = {**self._limits, "id": last_id, "limit": limit}
        if self._rule.by_age:
            parameters["created_at"] = moment
        async with self._transactions.begin(read_only=True):
            connection = self._transactions.resource
            await connection.execute(WALK)
            rows = (await connection.execute(self._statement, parameters)).all()
        # The row without an ID belongs to the page as a whole.
        wrong = [WrongRow(row.id, _problem(row.unknown, row.wrong)) for row in rows if row.id is not None]
        [end] = [row for row in rows if row.id is None]
        return RowPage(wrong, end.customer_ids or (), end.position)


def _problem(unknown: str | None, wrong: str | None) -> UnknownValue | Contradiction:
    # The rules of this release do not apply to a value of a later one.
    return Contradiction(wrong or "") if unknown is None else UnknownValue(unknown)
