"""Options that several benchmarks have."""

from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

FiguresFile: TypeAlias = Annotated[Path | None, Parameter(help="Where to write the figures as JSON.")]
Quick: TypeAlias = Annotated[
    bool, Parameter(negative=(), help="Small runs, to check that everything works; the figures say little.")
]
