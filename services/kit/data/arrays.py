"""Many rows in one statement: arrays go over as parameters and become a table by `unnest`.

One statement with an array a column costs far less than one statement a row, and its text does not grow with the rows,
so that it is built, compiled and prepared once.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, bindparam, cast, column, func
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine

Types = Mapping[str, TypeEngine[Any] | type[TypeEngine[Any]]]


def any_of(name: str, kind: TypeEngine[Any] | type[TypeEngine[Any]]) -> ColumnElement[Any]:
    """Makes the other side of a comparison that holds for any of many values.

    It is used as in `table.c.id == any_of("ids", Uuid)`.

    Args:
        name: The parameter, which takes a list when the statement is executed.
        kind: The SQL type of a value.
    """
    return func.any(cast(bindparam(name, type_=ARRAY(kind)), ARRAY(kind)))


def unnest(name: str, types: Types) -> TableValuedAlias:
    """Makes a table out of arrays that are handed over when the statement is executed.

    Args:
        name: The table's name in the statement.
        types: The SQL type of each column. The parameter of a column has its name and takes a list; all lists of one
            execution have the same length.
    """
    arrays = [cast(bindparam(label, type_=ARRAY(kind)), ARRAY(kind)) for label, kind in types.items()]
    return (
        func.unnest(*arrays)
        .table_valued(*(column(label, kind) for label, kind in types.items()), name=name)
        .render_derived()
    )
