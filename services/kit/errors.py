"""The base of every error that a caller of a service can receive.

Domain errors are independent of gRPC. A subclass names its reason (a value of the contract's `ErrorReason`); its
docstring is the message; typed attributes hold the values that vary, which are formatted into the message and returned
to the caller as metadata. `services.kit.rpc.status` alone converts them to a `google.rpc.Status`.
"""

import inspect
import re
from dataclasses import dataclass, field, fields
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self


@dataclass(frozen=True)
class FieldViolation:
    """One field that breaks a rule.

    Attributes:
        field: The path of the field in the request, such as `customer.email` or `requests[3].job_id`.
        description: What is wrong, and what would be right.
    """

    field: str
    description: str


#: `field(metadata=HIDDEN)` keeps an attribute of an error that only its subject needs out of the metadata for callers.
HIDDEN: Final = MappingProxyType({"hidden": True})


@dataclass(eq=False)
class DomainError(Exception):
    """A refusal of a request, for a reason that the contract documents.

    Attributes:
        reason: The name of the `ErrorReason`, without its prefix.
        retry_after_seconds: How long a caller should wait before a retry; None where waiting does not help.
        about: The subject of a failed precondition, a format of the attributes: `jobs/{job_id}`.
    """

    reason: ClassVar[str]
    retry_after_seconds: ClassVar[float | None] = None
    about: ClassVar[str] = ""

    @property
    def metadata(self) -> dict[str, str]:
        """The values of the attributes as text, under their names; None values are left out."""
        return {name: _text(value) for name, value, hidden in self._attributes() if not hidden and value is not None}

    @property
    def subject(self) -> str:
        """The subject of a failed precondition, such as `jobs/<its ID>`."""
        return self.about.format_map({name: _text(value) for name, value, _ in self._attributes()})

    def at_fault(self) -> tuple[FieldViolation, ...]:
        """Return the fields of the request that are at fault."""
        return ()

    def within(self, _path: str) -> "DomainError":
        """Return the error for a part of a request, such as `requests[3]`."""
        return self

    @property
    def message(self) -> str:
        """The first paragraph of the docstring, formatted with the attributes."""
        docstring = inspect.cleandoc(type(self).__doc__ or type(self).__name__)
        return " ".join(docstring.partition("\n\n")[0].split()).format_map(self.metadata)

    def __str__(self) -> str:
        return self.message

    def _attributes(self) -> list[tuple[str, Any, bool]]:
        return [(one.name, getattr(self, one.name), one.metadata.get("hidden", False)) for one in fields(self)]


class FieldError(DomainError):
    """An error of one field of the request, or of several.

    Attributes:
        field: The path of the field in a request that is not part of a batch.
    """

    field: ClassVar[str]
    _within = ""

    def at_fault(self) -> tuple[FieldViolation, ...]:
        """Return the fields with their whole paths."""
        return tuple(FieldViolation(_path(self._within, one), self.message) for one in self._fields())

    def within(self, path: str) -> Self:
        """Return a copy of the error for a part of a request; other items may share this object."""
        placed = type(self).__new__(type(self), *self.args)
        placed.__dict__.update(self.__dict__, _within=_path(path, self._within))
        return placed

    def _fields(self) -> tuple[str, ...]:
        return (self.field,)


def _path(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple | list | frozenset):
        return ",".join(str(item) for item in value)
    return str(value)


@dataclass(eq=False)
class InvalidField(DomainError):
    """The request has invalid fields; the details name each of them."""

    reason = "INVALID_FIELD"
    violations: tuple[FieldViolation, ...]

    def at_fault(self) -> tuple[FieldViolation, ...]:
        """Return the violations."""
        return self.violations

    @classmethod
    def of(cls, field: str, description: str) -> "InvalidField":
        """Return the error for one field."""
        return cls((FieldViolation(field, description),))

    def within(self, path: str) -> "InvalidField":
        """Return the error for a part of a request, such as `requests[3]`."""
        return InvalidField(tuple(FieldViolation(_path(path, one.field), one.description) for one in self.violations))

    @property
    def metadata(self) -> dict[str, str]:
        """The names of the fields."""
        return {"fields": ",".join(violation.field for violation in self.violations)}

    @property
    def message(self) -> str:
        """All violations in words, so that a log line suffices to see what was wrong."""
        return "; ".join(f"{v.field}: {v.description}" for v in self.violations)


@dataclass(eq=False)
class BatchTooLarge(FieldError):
    """The batch has {items} items and may have {items_max}: send several smaller ones."""

    reason = "BATCH_TOO_LARGE"
    field = ""
    items: int
    items_max: int


@dataclass(eq=False)
class InvalidFilter(FieldError):
    """The filter is not understood: {problem}."""

    reason = "INVALID_FILTER"
    field = "filter"
    problem: str


@dataclass(eq=False)
class InvalidOrderBy(FieldError):
    """The order_by is not understood: {problem}."""

    reason = "INVALID_ORDER_BY"
    field = "order_by"
    problem: str


@dataclass(eq=False)
class InvalidPageToken(FieldError):
    """The page token is not one of this list's, or filter, order_by or parent changed since: start again without it."""

    reason = "INVALID_PAGE_TOKEN"
    field = "page_token"


@dataclass(eq=False)
class IdempotencyKeyReused(FieldError):
    """The ID or idempotency key was used before with other parameters ({fields}): a new one is for something else.

    Attributes:
        fields: The parameters that differ, under their names in the request.
    """

    reason = "IDEMPOTENCY_KEY_REUSED"
    fields: tuple[str, ...]

    def _fields(self) -> tuple[str, ...]:
        return self.fields


@dataclass(eq=False)
class EtagMismatch(DomainError):
    """The resource changed since it was read: read it again and repeat the update on what it is now."""

    reason = "ETAG_MISMATCH"


@dataclass(eq=False)
class ConcurrentUpdate(DomainError):
    """Another request changed the same data at the same moment and nothing was written: send the request again."""

    reason = "CONCURRENT_UPDATE"
    retry_after_seconds = 0.05


@dataclass(eq=False)
class RowLocked(DomainError):
    """Another request has locked what this request needs, and nothing was written: send it again under the same ID.

    The database is available: rows that are not locked are served as usual.
    """

    reason = "ROW_LOCKED"
    retry_after_seconds = 0.5


@dataclass(eq=False)
class DatabaseUnavailable(DomainError):
    """The database can't be reached or did not respond in time: send the request again under the same ID."""

    reason = "DATABASE_UNAVAILABLE"
    retry_after_seconds = 0.5
    # Of a failure to connect, for logs and commands: the address without the password, and the driver's reason.
    where = ""
    said = ""


@dataclass(eq=False)
class DependencyUnavailable(DomainError):
    """The {dependency} service can't be reached or did not respond in time: send it again under the same ID."""

    reason = "DEPENDENCY_UNAVAILABLE"
    dependency: str
    retry_seconds: float = field(default=0.5, metadata=HIDDEN)

    @property
    def retry_after_seconds(self) -> float | None:  # type: ignore[override] # only here it depends on the case
        """The wait, which grows while the service is unavailable."""
        return self.retry_seconds


@dataclass(eq=False)
class NoCredentials(DomainError):
    """The call has no credentials: send `authorization: Bearer <token or API key>`, or use a client certificate."""

    reason = "NO_CREDENTIALS"


@dataclass(eq=False)
class BadCredentials(DomainError):
    """The credentials are unknown, expired or revoked: check them, or replace them by new ones."""

    reason = "BAD_CREDENTIALS"


@dataclass(eq=False)
class NotAllowed(DomainError):
    """A caller of this kind ({kind}), with these customers, queues and scopes, may not call {method}."""

    reason = "NOT_ALLOWED"
    method: str
    kind: str


@dataclass(eq=False)
class RateLimited(DomainError):
    """The limit {limit} ({allowed}) is used up: wait as long as the details say, and send the request again.

    Attributes:
        limit: The name of the limit: that of the setting INNOSYSTEM_LIMITS_*, in lower case.
        allowed: The limit itself, such as `200/400` (a second/burst).
    """

    reason = "RATE_LIMITED"
    limit: str
    allowed: str
    retry_seconds: float = field(metadata=HIDDEN)

    @property
    def retry_after_seconds(self) -> float | None:  # type: ignore[override] # it depends on the case
        """When there will be room, if nothing else is sent."""
        return self.retry_seconds


@dataclass(eq=False)
class Overloaded(DomainError):
    """The server has as many requests as it can handle: wait a moment and send the request again."""

    reason = "OVERLOADED"
    retry_after_seconds = 0.2


@dataclass(eq=False)
class Draining(DomainError):
    """This server is shutting down and takes no new requests: send the request again, another one will take it."""

    reason = "DRAINING"
    retry_after_seconds = 0.2


@dataclass(eq=False)
class DataCorrupt(DomainError):
    """A stored value is not understood: {entity} {entity_id}, {field} = {value}. An operator has to look at it."""

    reason = "DATA_CORRUPT"
    entity: str
    entity_id: str
    field: str
    value: str


@dataclass(eq=False)
class Unforeseen(DomainError):
    """Something went wrong inside the service; see its log.

    It has no reason: it stands for an unforeseen exception in the result of one item of a batch.
    """


_ADVICE: Final = re.compile(r"[:.] send (it|the request) again.*", re.IGNORECASE)


def without_advice(text: str) -> str:
    """Return the text of an error in one line, without the advice to callers: readers of a log cannot follow it."""
    return _ADVICE.sub("", " ".join(text.split()))


def explained(error: BaseException) -> str:
    """Return an error with its chain of causes, such as the driver's reason, in one line; for logs, not for callers."""
    causes: list[str] = []
    current: BaseException | None = error
    while current is not None:
        if isinstance(current, DatabaseUnavailable) and current.said:
            return " <- ".join([*causes, f"{type(current).__name__}: {current.where}: {current.said}"])
        text = without_advice(str(current))
        causes.append(f"{type(current).__name__}: {text}".rstrip(": "))
        current = current.__cause__
    return " <- ".join(causes)
