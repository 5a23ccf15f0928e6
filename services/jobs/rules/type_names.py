"""Filters by the name of the job type: jobs have its ID, so conditions on names become conditions on IDs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from services.jobs.rules.job_types import JobType
from services.jobs.rules.resources import JOB_TYPE, JOB_TYPE_ID, JOB_TYPE_NAME
from services.kit.query.specification import (
    ALWAYS,
    And,
    Comparison,
    Not,
    Operator,
    Or,
    Pattern,
    Present,
    Specification,
    all_of,
    any_of,
)


def wanted_types(specification: Specification) -> Specification | None:
    """Return the condition on job types of which a condition on jobs depends; None if it names no job type."""
    conditions = [_on_name(leaf) for leaf in _leaves(specification)]
    return any_of(*conditions) if conditions else None


def by_type_id(specification: Specification, job_types: Sequence[JobType]) -> Specification:
    """Return the condition with the IDs of job types in place of conditions on their names.

    Args:
        specification: A condition on jobs.
        job_types: The job types that `wanted_types` finds.
    """
    match specification:
        case And(parts):
            return all_of(*(by_type_id(part, job_types) for part in parts))
        case Or(parts):
            return any_of(*(by_type_id(part, job_types) for part in parts))
        case Not(inner):
            return Not(by_type_id(inner, job_types))
        case Present(operand) if operand == JOB_TYPE:
            return ALWAYS  # every job has one
        case Comparison(operand, Operator.NOT_EQUAL) if operand == JOB_TYPE:
            return Not(by_type_id(replace(specification, operator=Operator.EQUAL), job_types))
        case Comparison(operand) | Pattern(operand) if operand == JOB_TYPE:
            named = _on_name(specification)
            return JOB_TYPE_ID.is_in(one.id for one in job_types if named.matches(one))
    return specification


def _leaves(specification: Specification) -> Iterator[Comparison | Pattern]:
    match specification:
        case And(parts) | Or(parts):
            for part in parts:
                yield from _leaves(part)
        case Not(inner):
            yield from _leaves(inner)
        case Comparison(operand) | Pattern(operand) if operand == JOB_TYPE:
            yield specification


def _on_name(leaf: Comparison | Pattern) -> Specification:
    if isinstance(leaf, Comparison) and leaf.operator is Operator.NOT_EQUAL:
        return JOB_TYPE_NAME.is_(leaf.value)
    return replace(leaf, operand=JOB_TYPE_NAME)
