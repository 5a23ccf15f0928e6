"""Finds live jobs, whatever the history."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select, text, union_all

from services.jobs.store.tables import jobs
from services.kit.data.repositories import query_sql
from services.kit.query.page import ListQuery

# Together all live jobs, each in the words of the index that has it.
_ARMS = tuple(
    text(condition)
    for condition in (
        "status = 'RUNNING'",
        "status = 'PENDING' AND dispatched_at IS NOT NULL",
        "status = 'PENDING' AND dispatched_at IS NULL",
        "status = 'SCHEDULED'",
    )
)


def select_live(query: ListQuery, columns: Collection[ColumnElement[Any]]) -> Select[Any]:
    """Select a page of live jobs, one too many if there are more, by the indexes that have live jobs only.

    The planner is not asked: it can't know that an index in the order of the list has to be walked through all history
    before the first live job comes.
    """
    condition = query_sql.where(query.specification, jobs.c)
    if query.cursor is not None:
        condition = and_(condition, query_sql.after(query.cursor, query.ordering, jobs.c))
    sorted_by = [jobs.c[order.field.attribute] for order in query.ordering]
    arms = [select(*sorted_by).where(arm, condition) for arm in _ARMS]
    live = union_all(*arms).cte("live").prefix_with("MATERIALIZED", dialect="postgresql")
    found = select(live.c.id).order_by(*query_sql.order_by(query.ordering, live.c)).limit(query.page_size + 1)
    order = query_sql.order_by(query.ordering, jobs.c)
    return select(*columns).where(jobs.c.id == func.any(func.array(found.scalar_subquery()))).order_by(*order)
