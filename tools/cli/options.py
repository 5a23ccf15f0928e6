"""Options of several commands."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, TypeAlias

from cyclopts import Parameter, Token, convert, validators

from tools.cli.money import WHOLE

Json: TypeAlias = Annotated[bool, Parameter(name="--json", negative="", show_default=False, help="Print JSON.")]


def filter_such_as(example: str) -> Parameter:
    """Return the option --filter of a list.

    Args:
        example: A filter on fields of that list.
    """
    return Parameter(show_default=False, help=f"An AIP-160 filter, such as `{example}`.")


Filter: TypeAlias = Annotated[str, filter_such_as('status = FAILED AND labels.team = "a"')]
OrderBy: TypeAlias = Annotated[str, Parameter(show_default=False, help="Fields to sort by, such as `created_at desc`.")]
Limit: TypeAlias = Annotated[
    int, WHOLE, Parameter(validator=validators.Number(gte=1), help="How many to print at most.")
]


def _upper(type_: Any, tokens: Sequence[Token]) -> Any:
    return convert(type_, [token.value.upper() for token in tokens])


PriorityName: TypeAlias = Literal["HIGH", "MEDIUM", "LOW"]
ANY_CASE: Final = Parameter(converter=_upper)
"""Names in upper or lower case, as in files."""
Etag: TypeAlias = Annotated[
    str, Parameter(show_default=False, help="Change nothing unless this is the present `etag`, as --json prints it.")
]
