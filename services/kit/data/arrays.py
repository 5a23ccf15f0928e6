"""Many rows in one statement: arrays go over as parameters and become a table by `unnest`.

One statement with an array a column costs far less than one statement a row, and its text does not grow with the rows, so
that it is prepared once.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, bindparam, cast, column, func
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine

Columns = dict[str, tuple[TypeEngine[Any] | type[TypeEngine[Any]], Sequence[Any]]]


def unnest(name: str, columns: Columns) -> TableValuedAlias:
    """Makes a table of arrays.

    Args:
        name: The table's name in the statement.
        columns: Name to (SQL type of an element, elements); all of the same length.
    """
    arrays = [
        cast(bindparam(f"{name}_{label}", list(values), ARRAY(kind)), ARRAY(kind))
        for label, (kind, values) in columns.items()
    ]
    return (
        func.unnest(*arrays)
        .table_valued(*(column(label, kind) for label, (kind, _) in columns.items()), name=name)
        .render_derived()
    )
