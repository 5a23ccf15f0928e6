"""Which lists of jobs are found by an index, however long the history is."""

from services.jobs.rules.entities import JobStatus
from services.jobs.rules.resources import COMPLETED_AT
from services.kit.errors import InvalidOrderBy
from services.kit.query.page import ListQuery
from services.kit.query.specification import And, Comparison, OneOf, Operator, Or, Specification

_LIVE = frozenset({JobStatus.SCHEDULED, JobStatus.PENDING, JobStatus.RUNNING})
_DEAD = frozenset({JobStatus.FAILED, JobStatus.CANCELLED})
INDEXED_ORDERS = frozenset({"created_at", "id"})
"""The fields by which an index orders all jobs."""


def only_live(specification: Specification) -> bool:
    """Return whether only jobs that are not final meet a condition."""
    match specification:
        case And(parts):
            return any(map(only_live, parts))
        case Or(parts):
            return all(map(only_live, parts))
        case Comparison(operand, Operator.EQUAL, value):
            return operand.attribute == "status" and value in _LIVE
        case OneOf(operand, values):
            return operand.attribute == "status" and _LIVE.issuperset(values)
    return False


def only_dead(comparison: Comparison) -> bool:
    """Return whether a comparison is for one of the statuses of jobs that ended without success."""
    is_status = comparison.operand.attribute == "status" and comparison.operator is Operator.EQUAL
    return is_status and comparison.value in _DEAD


def check_order(query: ListQuery) -> None:
    """Refuse an order for which all jobs in history would have to be sorted, or which has no place for some jobs.

    Raises:
        InvalidOrderBy: If no index has the order, and the filter is limited neither to one customer nor to live jobs;
            or if jobs without a completed_at would have to be sorted by it.
    """
    if any(order.field.attribute == COMPLETED_AT.attribute for order in query.ordering):
        _check_completed(query)
        return
    first = query.ordering[0].field
    if first.attribute in INDEXED_ORDERS or only_live(query.specification) or _of_one_customer(query.specification):
        return
    raise InvalidOrderBy(
        f"jobs are ordered by {first.name} only where the filter names a customer_id, or statuses that are not final"
    )


def _check_completed(query: ListQuery) -> None:
    """Refuse an order by completed_at that its index does not have, or that includes jobs that are not final."""
    specification = query.specification
    parts = specification.parts if isinstance(specification, And) else (specification,)
    first = query.ordering[0].field.attribute == COMPLETED_AT.attribute
    if not (first and any(map(_bounds_completed_at, parts))):
        raise InvalidOrderBy(
            "jobs are ordered by completed_at only as the first field, and where the filter bounds it, such as"
            " completed_at > 2026-01-31"
        )


def _bounds_completed_at(part: Specification) -> bool:
    if not isinstance(part, Comparison) or part.operator is Operator.NOT_EQUAL:
        return False
    return part.operand.attribute == COMPLETED_AT.attribute


def _of_one_customer(specification: Specification) -> bool:
    match specification:
        case And(parts):
            return any(map(_of_one_customer, parts))
        case Comparison(operand, Operator.EQUAL, _):
            return operand.attribute == "customer_id"
    return False
