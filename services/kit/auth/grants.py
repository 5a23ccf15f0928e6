"""What credentials grant: the kind and the name of a caller, and what it is bound to.

Our own tokens say it themselves. For all others, the file of INNOSYSTEM_AUTH_MAPPING does.
"""

import re
from collections.abc import Callable
from typing import Annotated, Literal, Self, TypeVar
from uuid import UUID

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.kit.auth.principal import Kind, Principal
from services.kit.auth.sources import check_address, is_address

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
_STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
_Queue = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,49}$")]


class Grant(BaseModel):
    """A caller as a token says it, or a mapping.

    What a client or a runner is bound to is never left out: forgetting it must not open everything.

    Attributes:
        kind: `client`, `runner`, `operator` or `service`.
        customers: The customers of a client: their IDs, or `all`.
        queues: The queues of a runner: their names, or `all`.
    """

    model_config = _STRICT

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


def check_keys(where: str) -> str:
    """Return where keys are: a file, or an address where nobody can replace them on their way.

    Raises:
        ValueError: It is another address.
    """
    if is_address(where):
        check_address(where)
    return where


#: A file, or an address, with a JSON Web Key Set.
Keys = Annotated[str, Field(min_length=1), AfterValidator(check_keys)]


class Caller(Grant):
    """One caller of another issuer.

    Attributes:
        name: Its name here; by default its subject, or the last part of its SPIFFE ID.
    """

    name: Name = ""

    def caller(self, default: str, credential: str) -> Principal:
        """Return the caller.

        Args:
            default: Its name if the mapping has none.
            credential: How it has proved itself.
        """
        return self.principal(self.name or default, credential)


class Issuer(BaseModel):
    """Another issuer of tokens.

    Attributes:
        keys: A file or an address with its public keys.
        audience: What its tokens must be for; by default INNOSYSTEM_AUTH_AUDIENCE.
        ca_file: The certificates to trust at the address; by default those of the system.
        token_file: A file with a bearer token for the address.
        subjects: The callers by subject, such as `system:serviceaccount:images:runner`.
    """

    model_config = _STRICT

    keys: Keys
    audience: str = ""
    ca_file: str = ""
    token_file: str = ""
    subjects: dict[str, Caller] = Field(min_length=1)

    @model_validator(mode="after")
    def _names(self) -> Self:
        _check_names(self.subjects, str)
        return self


class Callers(BaseModel):
    """The whole file.

    Attributes:
        issuers: Other issuers of tokens by name, as in the claim `iss`.
        certificates: Callers with certificates by SPIFFE ID.
    """

    model_config = _STRICT

    issuers: dict[str, Issuer] = {}
    certificates: dict[Annotated[str, Field(pattern=r"^spiffe://[^/]+/.+")], Caller] = {}

    @model_validator(mode="after")
    def _names(self) -> Self:
        _check_names(self.certificates, last_part)
        return self


def last_part(spiffe_id: str) -> str:
    """Return the last part of a SPIFFE ID."""
    return spiffe_id.rpartition("/")[2]


def read_callers(data: bytes) -> Callers:
    """Read the file: YAML, or JSON, which is YAML as well.

    Raises:
        ValueError: It is neither, or something in it is wrong; the message names each place.
    """
    try:
        return Callers.model_validate(yaml.safe_load(data) or {})
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise ValueError("; ".join(problems)) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"it is no YAML: {' '.join(str(error).split())}") from None


def _check_names(callers: dict[str, Caller], default: Callable[[str], str]) -> None:
    for key, caller in callers.items():
        if not caller.name:
            try:
                check_name(default(key))
            except ValueError as error:
                raise ValueError(f"{key} needs a `name`: {error}") from None


def _bound(given: Literal["all"] | tuple[T, ...] | None) -> frozenset[T] | None:
    return None if given is None or given == "all" else frozenset(given)
