"""Which lists of jobs are found by an index, however long the history is."""

from services.jobs.rules.entities import JobStatus
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
    """Refuse an order for which all jobs in history would have to be sorted.

    Raises:
        InvalidOrderBy: If no index has the order, and the filter is limited neither to one customer nor to live jobs.
    """
    first = query.ordering[0].field
    if first.attribute in INDEXED_ORDERS or only_live(query.specification) or _of_one_customer(query.specification):
        return
    raise InvalidOrderBy(
        f"jobs are ordered by {first.name} only where the filter names a customer_id, or statuses that are not final"
    )


def _of_one_customer(specification: Specification) -> bool:
    match specification:
        case And(parts):
            return any(map(_of_one_customer, parts))
        case Comparison(operand, Operator.EQUAL, _):
            return operand.attribute == "customer_id"
    return False
