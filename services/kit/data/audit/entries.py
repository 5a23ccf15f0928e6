"""The audit trail: the author, call and transaction of each change to a row, and the row before and after it.

Repositories whose class has `audited = True` write it, in the transaction of the change; use cases write it for manual
changes to jobs, queues and money. It covers what people administer; changes to a job or a balance that happen a
thousand times a second have a history of their own.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from enum import Enum, StrEnum
from hashlib import sha256
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from services.kit.observability.caller import Caller, caller
from services.kit.query.fields import EnumField, StringField, TimestampField, UuidField
from services.kit.query.resource import Resource

_DIGEST_CHARACTERS = 16


class Action(StrEnum):
    """What was done to a row."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, kw_only=True)
class NewAuditEntry:
    """A change that is about to be recorded.

    Attributes:
        actor: The author of the call, see `Caller`; empty for work of the process itself.
        method: The RPC; empty outside of a call.
        transaction_id: The ID in the log lines of the transaction.
        entity_type: The table.
        before: The row's values, secrets replaced by digests; None for a create.
        after: The row's values after the change; None for a delete.
    """

    id: UUID
    actor: str
    method: str
    request_id: str
    transaction_id: str
    entity_type: str
    entity_id: UUID
    action: Action
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class AuditEntry(NewAuditEntry):
    """A recorded change."""

    created_at: datetime

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Return the values that differ, before and after; None where the row did not exist."""
        before, after = self.before or {}, self.after or {}
        names = [*before, *(name for name in after if name not in before)]
        return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


CREATED_AT = TimestampField("created_at", sortable=True)

AUDIT_LOG = Resource(
    "audit_log",
    (
        UuidField("id", sortable=True),
        CREATED_AT,
        StringField("actor"),
        StringField("method"),
        StringField("request_id"),
        StringField("transaction_id"),
        StringField("entity_type"),
        UuidField("entity_id"),
        EnumField("action", Action),
    ),
    default_order=(CREATED_AT.descending(),),
)


def entry(
    entity_type: str, transaction_id: str, before: Any, after: Any, caused_by: Caller | None = None
) -> NewAuditEntry:
    """Return the entry of a change.

    Args:
        entity_type: The table.
        transaction_id: The ID of the open transaction.
        before: The entity before the change; None for a create.
        after: The entity after the change; None for a delete.
        caused_by: The source of the change; by default the call that is being served.
    """
    caused_by = caused_by or caller.get()
    action = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
    return NewAuditEntry(
        id=uuid7(),
        actor=caused_by.actor,
        method=caused_by.method,
        request_id=caused_by.request_id,
        transaction_id=transaction_id,
        entity_type=entity_type,
        entity_id=(after if before is None else before).id,
        action=action,
        before=_values(before),
        after=_values(after),
    )


def _values(entity: Any) -> dict[str, Any] | None:
    if entity is None:
        return None
    return {field.name: _plain(getattr(entity, field.name)) for field in fields(entity)}


def _plain(value: Any) -> Any:
    """Return a value as JSON. Bytes are hashes of secrets, of which the trail shows only that they changed."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return f"sha256:{sha256(value).hexdigest()[:_DIGEST_CHARACTERS]}"
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if dataclasses.is_dataclass(value):
        return _values(value)
    return value
