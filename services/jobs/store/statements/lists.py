"""The statement that lists live jobs, whatever the length of history."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select, text, union_all

from services.jobs.store.tables import jobs
from services.kit.data.repositories import query_sql
from services.kit.query.page import ListQuery

# All live jobs, each arm with the condition of its index.
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
    """Select a page of live jobs by the indexes that have only live jobs; if more exist, one job more.

    The planner has no choice: it does not know that an index in the order of the list would be walked through all
    history before the first live job.
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
