"""What a credential grants: the kind and the name of a caller, and what it is bound to."""

import re
from typing import Annotated, Literal, Self, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from services.kit.auth.principal import Kind, Principal

T = TypeVar("T")

#: The defaults of INNOSYSTEM_AUTH_ISSUER and INNOSYSTEM_AUTH_AUDIENCE.
ISSUER = "innosystem"
AUDIENCE = "innosystem"
#: The claim of the platform's own tokens that holds a `Grant`.
CLAIM = "innosystem"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,199}")


def check_name(name: str) -> str:
    """Return a caller's name, which is part of audit entries and log lines.

    Raises:
        ValueError: It can't be one.
    """
    if not _NAME.fullmatch(name):
        raise ValueError("a name has up to 200 letters, digits and . _ : @ - and begins with a letter or a digit")
    return name


#: The name of a caller among those of its kind.
Name = Annotated[str, AfterValidator(check_name)]
_Queue = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,49}$")]


class Grant(BaseModel):
    """A caller as a token says it, or a mapping.

    What a client or a runner is bound to is never left out: forgetting it must not open everything.

    Attributes:
        kind: `client`, `runner`, `operator` or `service`.
        customers: The customers of a client: their IDs, or `all`.
        queues: The queues of a runner: their names, or `all`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Literal["client", "runner", "operator", "service"]
    customers: Literal["all"] | Annotated[tuple[UUID, ...], Field(min_length=1)] | None = None
    queues: Literal["all"] | Annotated[tuple[_Queue, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _binds_what_its_kind_has(self) -> Self:
        for name, kind, value in (("customers", "client", self.customers), ("queues", "runner", self.queues)):
            if self.kind == kind and value is None:
                raise ValueError(f"a {kind} needs {name}: a list, or `all`")
            if self.kind != kind and value is not None:
                raise ValueError(f"{name} are for a {kind}")
        return self

    def principal(self, name: str, credential: str) -> Principal:
        """Return the caller.

        Args:
            name: Its name among those of its kind.
            credential: How it has proved itself: `certificate` or `token`.
        """
        return Principal(
            kind=Kind(self.kind.upper()),
            name=name,
            customers=_bound(self.customers),
            queues=_bound(self.queues),
            credential=credential,
        )


def _bound(given: Literal["all"] | tuple[T, ...] | None) -> frozenset[T] | None:
    return None if given is None or given == "all" else frozenset(given)
