"""Options of several commands."""

from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter, validators

from tools.cli.money import WHOLE

Json: TypeAlias = Annotated[bool, Parameter(name="--json", negative="", show_default=False, help="Print JSON.")]
Filter: TypeAlias = Annotated[
    str, Parameter(show_default=False, help='An AIP-160 filter, such as `status = FAILED AND labels.team = "a"`.')
]
OrderBy: TypeAlias = Annotated[str, Parameter(show_default=False, help="Fields to sort by, such as `created_at desc`.")]
Limit: TypeAlias = Annotated[
    int, WHOLE, Parameter(validator=validators.Number(gte=1), help="How many to print at most.")
]
PriorityName: TypeAlias = Literal["HIGH", "MEDIUM", "LOW"]
