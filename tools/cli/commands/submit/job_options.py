"""The options of one job, which a file has in its lines instead."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import Parameter

from tools.cli.money import Amount
from tools.cli.times import Time


def _option(help_line: str) -> Parameter:
    return Parameter(help=help_line, show_default=False, negative="")


@Parameter(name="*")
@dataclass(frozen=True)
class JobOptions:
    """Options of one job; empty texts and None leave a field out."""

    input: Annotated[str, _option("The input as JSON, by default null.")] = ""
    input_file: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            show_default=False,
            help="A file with the input as JSON, or - for standard input.",
        ),
    ] = ""
    label: Annotated[
        Sequence[str], _option("A note by which the job can be found, such as team=blue; may be repeated.")
    ] = ()
    run_at: Annotated[
        Time, _option("The earliest time at which the job may run: 2026-01-31T12:00:00Z, or 2026-01-31 (in UTC).")
    ] = None
    expires_at: Annotated[Time, _option("When the job is cancelled unless it has started, likewise.")] = None
    max_cost: Annotated[Amount, _option("The highest price that you agree to, with its currency, such as 0.10EUR.")] = (
        None
    )
    job_id: Annotated[str, _option("The UUID of the job; by default it follows from the other options.")] = ""


NONE: Final = JobOptions()
"""No options."""
