"""The changes of jobs in SQL: one statement for each class of changes, however many jobs are changed."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import timedelta
from enum import Enum
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Interval,
    Text,
    Update,
    Uuid,
    case,
    cast,
    delete,
    func,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import TableValuedAlias

from services.jobs.rules.entities import JobStatus
from services.jobs.rules.transitions.callbacks import Awaiting, CalledBack
from services.jobs.rules.transitions.changes import Change
from services.jobs.rules.transitions.completion import BillingChange, Ending, GiveBack
from services.jobs.rules.transitions.control import Removal, Retry
from services.jobs.rules.transitions.rescue import Rescue
from services.jobs.store.tables import job_progress, job_types, jobs
from services.kit.data.array_parameters import unnest
from services.kit.data.engine.prepared import Prepared
from services.kit.data.tables import JsonText

#: An expression over the rows of the changes.
Expression = Callable[[TableValuedAlias], ColumnElement[Any]]

# What a change has of an error; the rest is in the row, and in the transaction.
_ERROR: dict[str, Any] = {"error_type": Text, "error_message": Text, "error_retryable": Boolean}


def _statement(kind: type[Change], guard: Expression | None = None, **others: Expression) -> Update:
    """Build the statement of a class of changes.

    Args:
        kind: The class.
        guard: A condition that all jobs of the changes meet, because they are locked.
        others: The columns whose new value depends on more than the change.
    """
    changes = unnest("changes", _parameter_types(kind))
    values = {name: _constant(value) for name, value in kind.constant.items()}
    for name in _columns(kind):
        value = _value(name, changes)
        values[name] = func.coalesce(value, jobs.c[name]) if name in kind.kept else value
    values |= {name: expression(changes) for name, expression in others.items()}
    conditions = [] if guard is None else [guard(changes)]
    return update(jobs).where(jobs.c.id == changes.c.job_id, *conditions).values(**values, version=jobs.c.version + 1)


def _forgetting_progress(statement: Update) -> Update:
    """Remove progress and checkpoints of jobs that SUCCEED, in the same statement: most jobs have none."""
    ended = unnest("ended", {"job_id": Uuid, "status": Text})
    succeeded = select(ended.c.job_id).where(ended.c.status == JobStatus.SUCCEEDED.value)
    forgotten = delete(job_progress).where(job_progress.c.job_id.in_(succeeded))
    return statement.add_cte(forgotten.returning(job_progress.c.job_id).cte("forgotten"))


def _columns(kind: type[Change]) -> list[str]:
    return [field.name for field in fields(kind) if field.name != "job_id"]


def _parameter_types(kind: type[Change]) -> dict[str, Any]:
    types: dict[str, Any] = {"job_id": jobs.c.id.type}
    for name in _columns(kind):
        column_type = jobs.c[name].type
        if name == "error":
            types |= _ERROR
        elif isinstance(column_type, DateTime):
            types[name] = Interval
        else:
            types[name] = Text if isinstance(column_type, JsonText) else column_type
    return types


def _value(name: str, changes: TableValuedAlias) -> ColumnElement[Any]:
    if name == "error":
        error = func.jsonb_build_object(
            *("type", changes.c.error_type),
            *("message", changes.c.error_message),
            *("retryable", changes.c.error_retryable),
            *("attempt", jobs.c.attempt),
            *("at", func.now()),
        )
        return case((changes.c.error_type.is_not(None), error))
    column_type = jobs.c[name].type
    if isinstance(column_type, DateTime):
        return func.now() + changes.c[name]
    return cast(changes.c[name], JSONB) if isinstance(column_type, JsonText) else changes.c[name]


def _constant(value: Any) -> ColumnElement[Any]:
    if isinstance(value, timedelta):
        return func.now() + literal(value, Interval) if value else func.now()
    return null() if value is None else literal(value.value if isinstance(value, Enum) else value)


def _runs_under_lease(changes: TableValuedAlias) -> ColumnElement[bool]:
    return jobs.c.lease_id == changes.c.completed_lease_id


def _is_running(_: TableValuedAlias) -> ColumnElement[bool]:
    return jobs.c.status == JobStatus.RUNNING.value


def _expires_like_a_new_job(_: TableValuedAlias) -> ColumnElement[Any]:
    expires_after = select(job_types.c.expires_after).where(job_types.c.id == jobs.c.job_type_id).scalar_subquery()
    return func.now() + expires_after


def _not_before_the_settlers_choice(changes: TableValuedAlias) -> ColumnElement[Any]:
    chosen = func.greatest(jobs.c.next_try_at, func.now() + changes.c.next_try_at)
    return case((changes.c.next_try_at.is_not(None), chosen))


#: The statement of each class of changes; `parameters` returns what it is executed with.
STATEMENTS = {
    Ending: Prepared(_forgetting_progress(_statement(Ending, _runs_under_lease))),
    Awaiting: Prepared(_statement(Awaiting, _runs_under_lease)),
    CalledBack: Prepared(_statement(CalledBack, _is_running)),
    GiveBack: Prepared(_statement(GiveBack, _runs_under_lease)),
    Rescue: Prepared(_statement(Rescue, _is_running)),
    Removal: Prepared(_statement(Removal)),
    Retry: Prepared(_statement(Retry, expires_at=_expires_like_a_new_job)),
    BillingChange: Prepared(_statement(BillingChange, next_try_at=_not_before_the_settlers_choice)),
}
_COLUMNS: dict[type[Change], list[str]] = {kind: ["job_id", *_columns(kind)] for kind in STATEMENTS}


def parameters(kind: type[Change], changes: Sequence[Change]) -> dict[str, list[Any]]:
    """Return the parameters of the statement of a class of changes.

    Args:
        kind: The class.
        changes: The changes, all of this class.
    """
    arrays = {name: list(map(attrgetter(name), changes)) for name in _COLUMNS[kind]}
    if (errors := arrays.pop("error", None)) is not None:
        arrays["error_type"] = [error and error.type for error in errors]
        arrays["error_message"] = [error and error.message for error in errors]
        arrays["error_retryable"] = [error and error.retryable for error in errors]
    return arrays
